//! JSON in one call each way.
//!
//! Promises: what a client is told of its mistake is where it is and which member it is about, never the name
//! of a type or a value of somebody else's. Not here: bodies that are streamed.

use serde::{Deserialize, Serialize};
use serde_json::error::Category;

use crate::gateway::answer::IntoResponse;
use crate::gateway::exchange::Exchange;
use crate::gateway::problem::Problem;
use crate::http::{Body, Fields, Response, Status};

/// A value as a JSON answer.
///
/// ```
/// use myriapod::{Exchange, Json, Problem, Status};
///
/// #[derive(serde::Deserialize)]
/// struct Sum { a: u32, b: u32 }
/// #[derive(serde::Serialize)]
/// struct Total { total: u64 }
///
/// fn add(exchange: &mut Exchange) -> Result<Json<Total>, Problem> {
///     let Sum { a, b } = exchange.json()?;
///     Ok(Json(Total { total: u64::from(a) + u64::from(b) }))
/// }
///
/// fn added(_: &mut Exchange) -> (Status, Json<[u8; 2]>) {
///     (Status::CREATED, Json([1, 2]))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        Response::json(Status::OK, &self.0)
    }
}

impl Response {
    /// An answer of this value as JSON.
    ///
    /// # Panics
    /// When the value cannot be said in JSON, as a map whose keys are no text cannot: then the client has
    /// 500, and the log says why.
    #[must_use]
    pub fn json(status: Status, value: &(impl Serialize + ?Sized)) -> Response {
        let body = serde_json::to_vec(value)
            .unwrap_or_else(|error| panic!("an answer cannot be said in JSON: {error}"));
        let fields = Fields::fixed("Content-Type: application/json\r\n");
        Response { status, fields, body: Body::Owned(body) }
    }
}

impl Exchange<'_> {
    /// The collected body, read as JSON.
    ///
    /// # Errors
    /// 415 when it is said to be something else, or nothing; 400 when it is not JSON; 422 when it is other
    /// JSON than `T`. Each says where.
    pub fn json<'s, T: Deserialize<'s>>(&'s self) -> Result<T, Problem> {
        let kind = self.field("content-type").unwrap_or_default();
        if !is_json(kind) {
            return Err(Problem::new(Status::UNSUPPORTED_MEDIA_TYPE)
                .detail("send JSON, and say so: Content-Type: application/json")
                // RFC 9110 section 15.5.16: it is told what would have been taken.
                .field("Accept", "application/json"));
        }
        serde_json::from_slice(self.body()).map_err(|error| explain(&error))
    }
}

/// `application/json` or any type that ends with `+json` (RFC 6839 section 3.1), with parameters or without.
fn is_json(kind: &[u8]) -> bool {
    const SUFFIX: &[u8] = b"+json";
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let ends_so = essence.len().checked_sub(SUFFIX.len()).is_some_and(|at| {
        let (name, suffix) = essence.split_at(at);
        name.contains(&b'/') && suffix.eq_ignore_ascii_case(SUFFIX)
    });
    ends_so || essence.eq_ignore_ascii_case(b"application/json")
}

fn explain(error: &serde_json::Error) -> Problem {
    let (status, what) = match error.classify() {
        Category::Data => {
            let member = about_member(&error.to_string());
            (Status::UNPROCESSABLE_CONTENT, member.unwrap_or("the JSON is not what is expected here".into()))
        }
        Category::Eof => (Status::BAD_REQUEST, "the JSON ends too early".into()),
        Category::Syntax | Category::Io => (Status::BAD_REQUEST, "this is not JSON".into()),
    };
    // Of what was put aside before it was looked at, the place is not known.
    match error.line() {
        0 => Problem::new(status).detail(what),
        line => Problem::new(status)
            .detail(format!("{what}: line {line}, column {}", error.column()))
            .with("line", line)
            .with("column", error.column()),
    }
}

/// What serde says of a member by its name, which the program's author wrote and its clients know. Whatever
/// else it says may name types of the program.
pub(super) fn about_member(message: &str) -> Option<String> {
    let named = ["missing field `", "duplicate field `"].into_iter().find_map(|kind| {
        let name = message.strip_prefix(kind)?.split('`').next()?;
        Some(format!("{kind}{name}`"))
    });
    named.or_else(|| message.starts_with("unknown field `").then(|| "a field is not known here".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::clock::Deadline;
    use crate::gateway::exchange::Incoming;
    use crate::gateway::notes::Notes;
    use crate::http::{FieldSpan, HeadIndex, Request, Span};

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Secret<'a> {
        name: &'a str,
        age: Option<u8>,
    }

    /// What a handler would read, as text: a request whose head is only its content type.
    fn read(kind: &str, body: &str) -> Result<String, Problem> {
        let head = format!("content-type{kind}");
        let mut index = HeadIndex::default();
        if !kind.is_empty() {
            index.fields[0] = FieldSpan { name: Span::new(0, 12), value: Span::new(12, kind.len()) };
            index.field_count = 1;
        }
        let mut notes = Notes::default();
        let exchange = Exchange::new(Request::new(&index, head.as_bytes()), &mut notes);
        let ticket = Arc::default();
        let body = Incoming::Whole(body.as_bytes());
        let exchange = exchange.on_errand(body, Deadline::NEVER, &ticket);
        exchange.json::<Secret>().map(|read| format!("{read:?}"))
    }

    fn refused(kind: &str, body: &str) -> String {
        read(kind, body).expect_err(body).to_string()
    }

    #[test]
    fn json_is_read_without_a_copy() {
        let read = read("application/json", r#"{"name":"Ada"}"#).expect("sound");
        assert_eq!(read, r#"Secret { name: "Ada", age: None }"#);
    }

    #[test]
    fn only_what_is_said_to_be_json_is_read() {
        for kind in ["application/json", "Application/JSON ; charset=utf-8", "application/merge-patch+json"] {
            assert!(read(kind, r#"{"name":"Ada"}"#).is_ok(), "{kind}");
        }
        for kind in
            ["", "text/plain", "application/x-www-form-urlencoded", "+json", "json", "application/jsonx"]
        {
            assert!(refused(kind, r#"{"name":"Ada"}"#).starts_with("415 "), "{kind}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_without_the_inside() {
        for (body, told) in [
            ("", "400 Bad Request: the JSON ends too early: line 1, column 0"),
            ("{\"name\":\n", "400 Bad Request: the JSON ends too early: line 2, column 0"),
            ("{\n name: 1}", "400 Bad Request: this is not JSON: line 2, column 2"),
            ("{\"name\":\"a\"} x", "400 Bad Request: this is not JSON: line 1, column 14"),
            ("{}", "422 Unprocessable Content: missing field `name`: line 1, column 2"),
            (
                r#"{"name":"a","age":256}"#,
                "422 Unprocessable Content: the JSON is not what is expected here: line 1, column 21",
            ),
            (
                r#"{"name":"a","hack":1}"#,
                "422 Unprocessable Content: a field is not known here: line 1, column 18",
            ),
            ("[[1]]", "422 Unprocessable Content: the JSON is not what is expected here: line 1, column 1"),
        ] {
            let told_here = refused("application/json", body);
            assert_eq!(told_here, told, "{body}");
            assert!(!told_here.contains("Secret") && !told_here.contains("u8"), "{told_here}");
        }
    }

    #[test]
    fn depth_has_a_limit() {
        let deep = "[".repeat(100_000);
        assert!(refused("application/json", &deep).starts_with("4"));
    }
}
