//! A name for every request, by which its client, its log lines and its handler speak of the same one.
//!
//! The caller's `X-Request-Id` where it is a sane one, else one made here; noted, answered as `X-Request-Id`
//! and passed on as such to servers behind. What a client sends ends up in logs and in other servers' fields,
//! so it is bounded and of few characters. Not here: where the name is told (`access_log`, the log of panics
//! and stuck handlers).

use std::str;

use super::numbers::{Numbers, mix, random};
use super::{Flow, Middleware};
use crate::gateway::exchange::Exchange;
use crate::gateway::notes::Notes;
use crate::http::{Request, Response};

const FIELD: &str = "X-Request-Id";
/// Longer ones are not taken over: room for a UUID, a trace's id or an id of a proxy's with its prefix.
const LEN_MAX: usize = 64;
/// Of an id made here: 7 characters are the process's, 13 the request's, of five bits each.
const LEN: usize = 20;
const PREFIX_LEN: usize = 7;

/// See the module. The first of a chain, so that every answer has an id.
///
/// ```
/// use myriapod::gateway::middleware::RequestId;
/// use myriapod::gateway::{Exchange, Gateway};
///
/// let gateway = Gateway::new().with_middleware(RequestId::new());
///
/// fn handler(exchange: &mut Exchange) -> String {
///     format!("when you ask for help, say {}", exchange.notes().request_id())
/// }
/// ```
pub struct RequestId {
    prefix: [u8; PREFIX_LEN],
    numbers: Numbers,
    is_from_caller: bool,
}

impl RequestId {
    /// Ids that begin differently in each process.
    #[must_use]
    pub fn new() -> RequestId {
        RequestId::with_seed(random())
    }

    /// The ids of this seed, one after the other: for tests that want to know them.
    #[must_use]
    pub fn with_seed(seed: u64) -> RequestId {
        let mut prefix = [0; PREFIX_LEN];
        write_letters(mix(!seed), &mut prefix);
        RequestId { prefix, numbers: Numbers::with_seed(seed), is_from_caller: true }
    }

    /// Takes over no id of a caller's: for a server whom strangers call, who could give two requests one id.
    #[must_use]
    pub fn always_anew(self) -> RequestId {
        RequestId { is_from_caller: false, ..self }
    }

    fn next(&self) -> [u8; LEN] {
        let mut id = [0; LEN];
        let (prefix, number) = id.split_at_mut(PREFIX_LEN);
        prefix.copy_from_slice(&self.prefix);
        write_letters(self.numbers.next(), number);
        id
    }
}

impl Default for RequestId {
    fn default() -> RequestId {
        RequestId::new()
    }
}

impl Middleware for RequestId {
    fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
        let sent = if self.is_from_caller { sane(&exchange.request()) } else { None };
        let own;
        let id = match sent {
            Some(id) => id,
            None => {
                own = self.next();
                str::from_utf8(&own).unwrap_or_default()
            }
        };
        let notes = exchange.notes_mut();
        notes.set_request_id(id);
        notes.upstream_mut().set(FIELD, id);
        Flow::On
    }

    fn leave(&self, notes: &Notes, response: &mut Response) {
        response.fields.set(FIELD, notes.request_id());
    }
}

/// The id that the caller gave, if it gave one that can be written anywhere.
fn sane<'a>(request: &Request<'a>) -> Option<&'a str> {
    let mut ids = request.fields_named(FIELD);
    // Of two ids it is unknown which one the caller will ask about.
    let id = ids.next().filter(|_| ids.next().is_none())?;
    let is_sane = (1..=LEN_MAX).contains(&id.len()) && id.iter().all(|byte| is_safe(*byte));
    str::from_utf8(id).ok().filter(|_| is_sane)
}

/// What UUIDs, base64 and the ids of common proxies are made of: nothing that quotes, separates or escapes.
const fn is_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'+' | b'/' | b'=')
}

/// The lowest bits of a number, five to a letter. Without `i`, `l`, `o` and `u`, which are misread aloud.
fn write_letters(number: u64, out: &mut [u8]) {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut rest = number;
    for letter in out.iter_mut().rev() {
        *letter = LETTERS[(rest % 32) as usize];
        rest /= 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::middleware::tests::{Head, value};
    use std::collections::HashSet;

    fn id(middleware: &RequestId, sent: &[&str]) -> String {
        let fields: Vec<(&str, &str)> = sent.iter().map(|id| ("x-request-id", *id)).collect();
        let (notes, response) = Head::get("/", &fields).pass(middleware);
        assert_eq!(value(&response, "X-Request-Id"), Some(notes.request_id()));
        let passed_on = format!("X-Request-Id: {}\r\n", notes.request_id());
        assert_eq!(notes.upstream().lines(), passed_on.as_bytes());
        assert!(notes.upstream().takes(b"x-request-id"), "instead of the client's");
        notes.request_id().to_owned()
    }

    #[test]
    fn a_sane_id_of_the_callers_is_kept() {
        let middleware = RequestId::with_seed(1);
        for sent in ["a", "6f1ed002-ab5e-4e4c-8b0c-2d3c9d3a2f11", "Root=1-67a/b+c:d_e.f", &"x".repeat(64)] {
            assert_eq!(id(&middleware, &[sent]), sent);
        }
    }

    #[test]
    fn any_other_is_replaced() {
        let middleware = RequestId::with_seed(1);
        for sent in ["", "a b", "a\"b", "a,b", "a;b", "<b>", "a%0a", "\u{e9}", "a\\b", &"x".repeat(65)] {
            let id = id(&middleware, &[sent]);
            assert!(id != sent && id.len() == LEN, "{sent:?}");
        }
        assert_ne!(id(&middleware, &["one", "two"]), "one", "nobody knows which");
        assert_ne!(id(&middleware.always_anew(), &["a"]), "a");
    }

    #[test]
    fn ids_made_here_are_all_different_and_may_come_from_a_caller() {
        let middleware = RequestId::new();
        let ids: HashSet<String> = (0..1_000).map(|_| id(&middleware, &[])).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|made| id(&middleware, &[made]) == *made), "from one such server to another");
        assert_ne!(id(&RequestId::new(), &[])[..PREFIX_LEN], id(&RequestId::new(), &[])[..PREFIX_LEN]);
    }

    #[test]
    fn a_seed_repeats_its_ids() {
        assert_eq!(id(&RequestId::with_seed(3), &[]), id(&RequestId::with_seed(3), &[]));
        assert_ne!(id(&RequestId::with_seed(3), &[]), id(&RequestId::with_seed(4), &[]));
    }

    #[test]
    fn a_handlers_own_id_does_not_stand_beside_ours() {
        let mut response = Response::empty(crate::http::Status::OK).with("x-request-id", "mine");
        let mut notes = Notes::default();
        notes.set_request_id("ours");
        RequestId::with_seed(1).leave(&notes, &mut response);
        assert_eq!(response.fields.named(FIELD).collect::<Vec<_>>(), [b"ours"]);
    }
}
