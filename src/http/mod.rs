//! The vocabulary of HTTP: plain values that every layer above speaks.
//!
//! Nothing here reads a stream; parsing lives in [`proto`](crate::proto).

pub mod date;
mod method;
pub mod path;
mod request;
mod response;
mod status;

pub use crate::base::write_queue::FileRange;
pub use method::{Method, MethodSet};
pub use request::{
    FIELDS_MAX, FieldSpan, Framing, HEAD_BYTES_MAX, HeadIndex, KnownHost, Request, Span, Version,
};
pub use response::{Body, BodySource, Fields, FixedAnswer, Piece, Response, Source};
pub use status::Status;
