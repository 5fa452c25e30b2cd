//! What may be returned where an answer is wanted.

use std::borrow::Cow;

use crate::gateway::problem::Problem;
use crate::http::{Body, Fields, Response, Status};

/// Becomes an answer. Errors of your own get their status by becoming a [`Problem`], or here.
///
/// ```
/// use myriapod::{IntoResponse, Json, Problem, Response, Status};
///
/// fn answers() -> [Response; 6] {
///     [
///         "text".into_response(),
///         Json([1, 2, 3]).into_response(),
///         (Status::CREATED, "made").into_response(),
///         Some("404 when there is none").into_response(),
///         Err::<(), Problem>(Problem::new(Status::CONFLICT)).into_response(),
///         Response::bytes(Status::OK, "image/png", [0x89]).with("Cache-Control", "no-store"),
///     ]
/// }
/// # answers();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no answer",
    note = "wrap a value in `Json(..)`, or implement `IntoResponse` or, for an error, `From` into `Problem`"
)]
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

impl IntoResponse for Cow<'static, str> {
    fn into_response(self) -> Response {
        match self {
            Cow::Borrowed(text) => text.into_response(),
            Cow::Owned(text) => text.into_response(),
        }
    }
}

impl IntoResponse for &'static [u8] {
    fn into_response(self) -> Response {
        Response::fixed(Status::OK, BYTES, self)
    }
}

impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Response {
        Response { status: Status::OK, fields: Fields::fixed(BYTES), body: Body::Owned(self) }
    }
}

/// The same answer with another status.
impl<T: IntoResponse> IntoResponse for (Status, T) {
    fn into_response(self) -> Response {
        Response { status: self.0, ..self.1.into_response() }
    }
}

/// Nothing is 404.
impl<T: IntoResponse> IntoResponse for Option<T> {
    fn into_response(self) -> Response {
        self.ok_or(Problem::new(Status::NOT_FOUND)).into_response()
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
const BYTES: &str = "Content-Type: application/octet-stream\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answer: impl IntoResponse) -> (u16, String, Option<u64>) {
        let response = answer.into_response();
        let lines = String::from_utf8(response.fields.lines().concat()).expect("text");
        (response.status.code(), lines.trim_end().to_owned(), response.body.len())
    }

    #[test]
    fn values_become_answers() {
        let text = "Content-Type: text/plain; charset=utf-8".to_owned();
        let bytes = "Content-Type: application/octet-stream".to_owned();
        assert_eq!(told("four"), (200, text.clone(), Some(4)));
        assert_eq!(told((Status::CREATED, String::from("four"))), (201, text.clone(), Some(4)));
        assert_eq!(told(Cow::Borrowed("four")), (200, text, Some(4)));
        assert_eq!(told(vec![1, 2]), (200, bytes.clone(), Some(2)));
        assert_eq!(told(&b"123"[..]), (200, bytes, Some(3)));
        assert_eq!(told(()), (204, String::new(), Some(0)));
        assert_eq!(told(Some(())).0, 204);
    }

    #[test]
    fn nothing_and_errors_are_problems() {
        let problem = "Content-Type: application/problem+json";
        let (status, fields, _) = told(None::<()>);
        assert_eq!((status, fields.as_str()), (404, problem));
        let (status, fields, _) = told(Err::<(), Problem>(Status::CONFLICT.into()));
        assert_eq!((status, fields.as_str()), (409, problem));
    }
}
