//! Errors as clients read them: problem details for HTTP APIs (RFC 9457).
//!
//! Says what the handler chose to say and nothing else: no internal text gets in by itself.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::gateway::answer::IntoResponse;
use crate::http::{Body, Fields, Response, Status};

/// Why a request was not served, as `application/problem+json`.
///
/// Handlers return `Result<_, Problem>` and use `?`; errors of your own become problems by `From`:
///
/// ```
/// use myriapod::{Exchange, Problem, Status};
///
/// enum Refused { NoSuchUser(u64), Full }
///
/// impl From<Refused> for Problem {
///     fn from(refused: Refused) -> Problem {
///         match refused {
///             Refused::NoSuchUser(id) => {
///                 Problem::new(Status::NOT_FOUND).detail("there is no such user").with("id", id)
///             }
///             Refused::Full => Problem::new(Status::SERVICE_UNAVAILABLE).field("Retry-After", "10"),
///         }
///     }
/// }
///
/// fn find(id: u64) -> Result<String, Refused> {
///     if id == 1 { Ok(String::from("Ada")) } else { Err(Refused::NoSuchUser(id)) }
/// }
///
/// fn show(exchange: &mut Exchange) -> Result<String, Problem> {
///     let id = exchange.parse_param("id")?;
///     Ok(find(id)?)
/// }
///
/// let problem = Problem::from(Refused::NoSuchUser(7));
/// assert_eq!(problem.to_string(), "404 Not Found: there is no such user");
/// ```
// Boxed: what is hardly ever returned should not make every `Result` large.
pub struct Problem(Box<Parts>);

struct Parts {
    status: Status,
    kind: Option<Cow<'static, str>>,
    title: Option<Cow<'static, str>>,
    detail: Option<Cow<'static, str>>,
    instance: Option<Cow<'static, str>>,
    members: Vec<(Cow<'static, str>, Value)>,
    fields: Fields,
}

/// Members with a meaning of their own (RFC 9457 section 3.1).
const KNOWN: [&str; 5] = ["type", "title", "status", "detail", "instance"];

impl Problem {
    /// A problem of which nothing is known but the status.
    #[must_use]
    pub fn new(status: Status) -> Problem {
        let fields = Fields::fixed("Content-Type: application/problem+json\r\n");
        let members = Vec::new();
        Problem(Box::new(Parts {
            status,
            kind: None,
            title: None,
            detail: None,
            instance: None,
            members,
            fields,
        }))
    }

    /// What kind of problem it is, as a URI that programs recognise and people may open: `type`.
    #[must_use]
    pub fn kind(mut self, uri: impl Into<Cow<'static, str>>) -> Problem {
        self.0.kind = Some(uri.into());
        self
    }

    /// What all problems of this kind are called; the status's own words where nothing is said.
    #[must_use]
    pub fn title(mut self, text: impl Into<Cow<'static, str>>) -> Problem {
        self.0.title = Some(text.into());
        self
    }

    /// What is wrong this time, and how it is put right. Clients read it: say nothing of the inside.
    #[must_use]
    pub fn detail(mut self, text: impl Into<Cow<'static, str>>) -> Problem {
        self.0.detail = Some(text.into());
        self
    }

    /// Which occurrence this is, as a URI: to ask about it.
    #[must_use]
    pub fn instance(mut self, uri: impl Into<Cow<'static, str>>) -> Problem {
        self.0.instance = Some(uri.into());
        self
    }

    /// Adds a member of its own, for programs. One of the same name is replaced.
    ///
    /// # Panics
    /// When the name is one that the standard gives a meaning, or the value cannot be said in JSON.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Serialize) -> Problem {
        let name = name.into();
        assert!(!KNOWN.contains(&&*name), "a problem's {name} has a method of its own");
        let value = serde_json::to_value(value)
            .unwrap_or_else(|error| panic!("a problem's {name} cannot be said in JSON: {error}"));
        self.0.members.retain(|(known, _)| *known != name);
        self.0.members.push((name, value));
        self
    }

    /// Adds a field to the answer, such as `Retry-After`.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Problem {
        self.0.fields.push(name, value);
        self
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Problem {
        Problem::new(status)
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Parts { status, kind, title, detail, instance, members, .. } = &*self.0;
        let mut map = serializer.serialize_map(None)?;
        // A problem without a type is `about:blank`, whose title is the status's (RFC 9457 section 4.2.1).
        if let Some(kind) = kind {
            map.serialize_entry("type", kind)?;
        }
        map.serialize_entry("title", title.as_deref().unwrap_or(status.reason()))?;
        map.serialize_entry("status", &status.code())?;
        if let Some(detail) = detail {
            map.serialize_entry("detail", detail)?;
        }
        if let Some(instance) = instance {
            map.serialize_entry("instance", instance)?;
        }
        for (name, value) in members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Text, numbers and values that are JSON already cannot fail to become JSON.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        Response { status: self.0.status, fields: self.0.fields, body: Body::Owned(body) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.status.fmt(out)?;
        let more = self.0.detail.as_deref().or(self.0.title.as_deref());
        more.map_or(Ok(()), |more| write!(out, ": {more}"))
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = self.0.members.iter().map(|(name, value)| (name, value));
        write!(out, "Problem({self}) ")?;
        out.debug_map().entries(members).finish()
    }
}

impl Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(problem: Problem) -> String {
        let Body::Owned(body) = problem.into_response().body else { panic!("made here") };
        String::from_utf8(body).expect("JSON")
    }

    #[test]
    fn says_what_it_was_told_in_the_order_of_the_standard() {
        let problem = Problem::new(Status::NOT_FOUND)
            .with("id", 7)
            .with("near", ["a", "b"])
            .detail("no \"such\" user")
            .kind("https://example.com/absent")
            .title("Absent")
            .instance("/users/7")
            .with("id", 8);
        assert_eq!(problem.status(), Status::NOT_FOUND);
        assert_eq!(
            text(problem),
            r#"{"type":"https://example.com/absent","title":"Absent","status":404,"detail":"no \"such\" user","#
                .to_owned()
                + r#""instance":"/users/7","near":["a","b"],"id":8}"#
        );
    }

    #[test]
    fn a_status_alone_is_a_problem() {
        assert_eq!(text(Status::CONFLICT.into()), r#"{"title":"Conflict","status":409}"#);
        let response = Problem::new(Status::CONFLICT).field("Retry-After", "1").into_response();
        let lines = String::from_utf8(response.fields.lines().concat()).expect("text");
        assert_eq!(lines, "Content-Type: application/problem+json\r\nRetry-After: 1\r\n");
    }

    #[test]
    #[should_panic(expected = "status has a method of its own")]
    fn a_member_of_the_standard_is_not_overwritten() {
        let _ = Problem::new(Status::CONFLICT).with("status", 200);
    }

    #[test]
    fn is_an_error_that_can_be_told() {
        let problem: Box<dyn Error> = Problem::new(Status::CONFLICT).title("Taken").with("name", "a").into();
        assert_eq!(problem.to_string(), "409 Conflict: Taken");
        assert_eq!(format!("{problem:?}"), r#"Problem(409 Conflict: Taken) {"name": String("a")}"#);
    }
}
