//! Fields that every answer is to have, or not to have.
//!
//! What is wrong with a field is said when the server is put together, not in an answer: framing is the
//! protocol's, and no value can begin a second field.

use super::Middleware;
use crate::gateway::notes::Notes;
use crate::http::Response;

/// See the module. Steps are taken in their order.
///
/// ```
/// use myriapod::gateway::Gateway;
/// use myriapod::gateway::middleware::SetFields;
///
/// let fields = SetFields::secure().set("Cache-Control", "no-store").remove("X-Powered-By");
/// let gateway = Gateway::new().with_middleware(fields);
/// ```
#[derive(Clone, Debug, Default)]
pub struct SetFields(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    Add(&'static str, String),
    Set(&'static str, String),
    Fill(&'static str, String),
    Remove(&'static str),
}

/// What the protocol writes itself.
const FRAMING: [&str; 5] = ["connection", "content-length", "date", "server", "transfer-encoding"];

impl SetFields {
    /// Changes nothing yet.
    #[must_use]
    pub fn new() -> SetFields {
        SetFields::default()
    }

    /// What a careful site says to browsers, where the answer does not say otherwise: types are not guessed,
    /// no other site shows ours in a frame or holds on to its windows, and where a visitor comes from is
    /// told to other sites only by the origin.
    ///
    /// Not among them: `Content-Security-Policy`, which depends on the pages, and
    /// `Strict-Transport-Security`, which is for whoever speaks TLS to say.
    #[must_use]
    pub fn secure() -> SetFields {
        SetFields::new()
            .fill("X-Content-Type-Options", "nosniff")
            .fill("X-Frame-Options", "DENY")
            .fill("Referrer-Policy", "strict-origin-when-cross-origin")
            .fill("Cross-Origin-Opener-Policy", "same-origin")
    }

    /// Adds a field beside those of its name.
    ///
    /// # Panics
    /// When the field cannot be sent, or is the protocol's to write: fields are chosen by programmers.
    #[must_use]
    pub fn add(self, name: &'static str, value: impl Into<String>) -> SetFields {
        self.then(Step::Add(checked(name), checked_value(name, value.into())))
    }

    /// Adds a field in place of those of its name.
    ///
    /// # Panics
    /// As [`add`](SetFields::add).
    #[must_use]
    pub fn set(self, name: &'static str, value: impl Into<String>) -> SetFields {
        self.then(Step::Set(checked(name), checked_value(name, value.into())))
    }

    /// Adds a field where the answer has none of its name.
    ///
    /// # Panics
    /// As [`add`](SetFields::add).
    #[must_use]
    pub fn fill(self, name: &'static str, value: impl Into<String>) -> SetFields {
        self.then(Step::Fill(checked(name), checked_value(name, value.into())))
    }

    /// Takes every field of that name out.
    ///
    /// # Panics
    /// As [`add`](SetFields::add).
    #[must_use]
    pub fn remove(self, name: &'static str) -> SetFields {
        self.then(Step::Remove(checked(name)))
    }

    fn then(mut self, step: Step) -> SetFields {
        self.0.push(step);
        self
    }
}

impl Middleware for SetFields {
    fn leave(&self, _: &Notes, response: &mut Response) {
        let fields = &mut response.fields;
        for step in &self.0 {
            match step {
                Step::Add(name, value) => fields.push(name, value),
                Step::Set(name, value) => fields.set(name, value),
                Step::Fill(name, value) if !fields.contains(name) => fields.push(name, value),
                Step::Fill(..) => {}
                Step::Remove(name) => fields.remove(name),
            }
        }
    }
}

fn checked(name: &'static str) -> &'static str {
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    assert!(is_name, "field {name:?}: a name has letters, digits and dashes, as in \"X-Frame-Options\"");
    let is_framing = FRAMING.iter().any(|own| own.eq_ignore_ascii_case(name));
    assert!(!is_framing, "field {name}: the protocol writes it; leave it out here");
    name
}

fn checked_value(name: &str, value: String) -> String {
    let is_line = value.bytes().all(|byte| byte >= b' ' && byte != 0x7f);
    assert!(is_line, "field {name}: the value {value:?} has control characters; one field is one line");
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::middleware::tests::text;
    use crate::http::{Response, Status};

    fn left(middleware: &SetFields, mut response: Response) -> String {
        middleware.leave(&Notes::default(), &mut response);
        text(&response)
    }

    #[test]
    fn steps_are_taken_in_their_order() {
        let middleware =
            SetFields::new().set("X-A", "new").fill("X-B", "default").add("X-C", "second").remove("x-d");
        let response = Response::fixed(Status::OK, "X-A: old\r\nX-A: older\r\nX-D: gone\r\n", b"");
        assert_eq!(left(&middleware, response), "X-A: new\r\nX-B: default\r\nX-C: second\r\n");
        let response = Response::fixed(Status::OK, "X-B: own\r\nX-C: first\r\n", b"");
        assert_eq!(left(&middleware, response), "X-B: own\r\nX-C: first\r\nX-A: new\r\nX-C: second\r\n");
    }

    #[test]
    fn a_handler_knows_better_what_is_secure() {
        let plain = left(&SetFields::secure(), Response::empty(Status::OK));
        assert!(plain.contains("X-Frame-Options: DENY\r\n"), "{plain}");
        assert!(plain.contains("X-Content-Type-Options: nosniff\r\n"), "{plain}");
        let own = Response::empty(Status::OK).with("X-Frame-Options", "SAMEORIGIN");
        let own = left(&SetFields::secure(), own);
        assert!(own.contains("SAMEORIGIN") && !own.contains("DENY"), "{own}");
    }

    #[test]
    #[should_panic(expected = "the protocol writes it")]
    fn framing_is_not_to_be_had() {
        let _ = SetFields::new().set("content-LENGTH", "3");
    }

    #[test]
    #[should_panic(expected = "as in \"X-Frame-Options\"")]
    fn a_name_with_its_colon_is_a_mistake() {
        let _ = SetFields::new().remove("X-A:");
    }

    #[test]
    #[should_panic(expected = "one field is one line")]
    fn a_value_of_two_lines_is_a_mistake() {
        let _ = SetFields::new().add("X-A", "1\r\nX-B: 2");
    }
}
