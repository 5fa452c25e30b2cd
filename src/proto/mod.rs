//! Sans-IO machines: bytes and limits in, bytes and events out.
//!
//! No sockets, no clock, no routes. The words every protocol speaks are here; each protocol has its own room.

pub mod h1;
pub mod proxy_line;
mod violation;

pub use violation::Violation;

/// What came of looking at the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing can be done before more bytes come.
    Starved,
    /// A head is complete: the index describes it. Answer it before asking again.
    Head,
    /// So many bytes at the front of the input are body. Use and consume them before asking again.
    Body(usize),
    /// So many bytes at the front of the input are one sound trailer line, CRLF included. Use and consume
    /// them before asking again. Told only where [asked for](h1::Machine::tell_trailers).
    Trailer(usize),
    /// The body is complete. Told once, and only for a request that has one.
    Whole,
    /// The request is complete and its answer is not: the next one has to wait.
    Waiting,
    /// The answer was the last on this connection.
    Over,
}

/// What a connection is waiting for, hence which deadline applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Wait {
    /// For the first byte of a request.
    NextRequest,
    /// For the rest of a head.
    Head,
    /// For the rest of a body.
    Body,
    /// For whoever makes the answer.
    Answer,
    /// For the peer to take what is queued.
    Drain,
    /// For the peer to go, after its last answer.
    Linger,
}
