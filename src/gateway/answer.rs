//! What may be returned where an answer is wanted.

use crate::http::{Body, Fields, Response, Status};

/// Becomes an answer. For errors of your own, this is where they get their status.
pub trait IntoResponse {
    /// The answer.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

/// An answer without a body of its own; errors tell their status as text.
impl IntoResponse for Status {
    fn into_response(self) -> Response {
        if self.code() < 400 { Response::empty(self) } else { Response::plain(self) }
    }
}

impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        Response::fixed(Status::OK, TEXT, self.as_bytes())
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response { status: Status::OK, fields: Fields::fixed(TEXT), body: Body::Owned(self.into_bytes()) }
    }
}

/// 204: it was done, and there is nothing to tell.
impl IntoResponse for () {
    fn into_response(self) -> Response {
        Response::empty(Status::NO_CONTENT)
    }
}

impl<T: IntoResponse, E: IntoResponse> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => error.into_response(),
        }
    }
}

const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";
