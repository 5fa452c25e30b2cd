//! Lets so many requests of a key pass in a time: 429 beyond.
//!
//! Every answer says how much is left (draft-ietf-httpapi-ratelimit-headers-09): `RateLimit-Policy` what is
//! promised in general, `RateLimit` where this client stands. A refusal says besides when to come back.
//! Counted when a request comes, whatever becomes of it. The counting itself is [`RateTable`]'s.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Secret;
use super::rate::{Rate, RateTable};
use crate::config::site::{self, KeyOf};
use crate::gateway::middleware::{Flow, Middleware};
use crate::gateway::notes::Quota;
use crate::gateway::{Exchange, Notes};
use crate::http::{Response, Status};

/// See the module.
pub struct RateLimit {
    table: Arc<RateTable>,
    secret: Secret,
    by: KeyOf,
    /// Tells it apart from others that a request passes.
    id: u64,
    /// Its name, as a string in a structured field.
    name: String,
    policy: String,
}

impl RateLimit {
    /// A limit of that name, whose buckets are in that table, found by keys made with that secret.
    #[must_use]
    pub fn new(name: &str, limit: &site::RateLimit, table: Arc<RateTable>, secret: Secret) -> RateLimit {
        let id = secret.name(name);
        let name = quoted(name);
        let policy = policy(&name, limit);
        RateLimit { table, secret, by: limit.by.clone(), id, name, policy }
    }
}

impl From<&site::RateLimit> for Rate {
    fn from(limit: &site::RateLimit) -> Rate {
        Rate { requests: limit.requests, per_ms: limit.per_ms, burst: limit.burst }
    }
}

impl Middleware for RateLimit {
    fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
        let key = self.secret.key(&self.by, exchange);
        let taken = self.table.take(key, exchange.arrival().now_ns);
        let wait_s = match taken.is_passed {
            // Rounded to tenths first: tables round up, and five seconds are not to be called six.
            true => (taken.wait_ns / 100_000_000).div_ceil(10),
            false => taken.wait_ns.div_ceil(1_000_000_000),
        };
        exchange.notes_mut().add_quota(Quota { id: self.id, remaining: taken.remaining, wait_s });
        match taken.is_passed {
            true => Flow::On,
            false => Flow::Answer(refusal(wait_s)),
        }
    }

    fn leave(&self, notes: &Notes, response: &mut Response) {
        let Some(quota) = notes.quotas().iter().find(|quota| quota.id == self.id) else { return };
        let mut stand = String::with_capacity(self.name.len() + 32);
        let _ = write!(stand, "{};r={};t={}", self.name, quota.remaining, quota.wait_s);
        response.fields.push("RateLimit-Policy", &self.policy);
        response.fields.push("RateLimit", stand);
    }
}

#[cold]
fn refusal(wait_s: u64) -> Response {
    Response::plain(Status::TOO_MANY_REQUESTS).with("Retry-After", wait_s.max(1).to_string())
}

/// `q` requests in `w` seconds, both whole numbers: 5 in 100 ms are 50 in a second.
fn policy(name: &str, limit: &site::RateLimit) -> String {
    let per_ms = u64::from(limit.per_ms.max(1));
    let seconds = per_ms.div_ceil(1_000);
    let requests = u64::from(limit.requests) * seconds * 1_000 / per_ms;
    format!("{name};q={requests};w={seconds}")
}

/// RFC 9651 section 3.3.3: visible ASCII, with two characters escaped.
fn quoted(name: &str) -> String {
    let mut text = String::from('"');
    for letter in name.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            ' '..='~' => text.push(letter),
            _ => text.push('?'),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::guard::tests::{Asked, value};

    const SECOND: u64 = 1_000_000_000;

    fn limit(by: KeyOf) -> RateLimit {
        let limit = site::RateLimit { requests: 2, per_ms: 10_000, burst: 2, by, keys_max: 100 };
        let table = RateTable::new((&limit).into(), limit.keys_max);
        RateLimit::new("per \"user\"", &limit, Arc::new(table), Secret::of(1))
    }

    fn status(limit: &RateLimit, asked: &Asked) -> u16 {
        asked.pass(limit).1.status.code()
    }

    #[test]
    fn who_asks_too_often_is_told_when_to_come_back() {
        let limit = limit(KeyOf::Client);
        let (_, first) = Asked::from("192.0.2.1").at_ns(SECOND).pass(&limit);
        assert_eq!(first.status, Status::OK);
        assert_eq!(value(&first, "RateLimit-Policy"), Some(r#""per \"user\"";q=2;w=10"#));
        assert_eq!(value(&first, "RateLimit"), Some(r#""per \"user\"";r=1;t=5"#));
        assert_eq!(value(&first, "Retry-After"), None);
        assert_eq!(status(&limit, &Asked::from("192.0.2.1").at_ns(SECOND)), 200);
        let (_, refused) = Asked::from("192.0.2.1").at_ns(3 * SECOND + SECOND / 2).pass(&limit);
        assert_eq!(refused.status, Status::TOO_MANY_REQUESTS);
        assert_eq!(value(&refused, "Retry-After"), Some("3"), "2.5 seconds, rounded up");
        assert_eq!(value(&refused, "RateLimit"), Some(r#""per \"user\"";r=0;t=3"#));
        assert_eq!(status(&limit, &Asked::from("192.0.2.2").at_ns(SECOND)), 200, "somebody else");
        assert_eq!(status(&limit, &Asked::from("192.0.2.1").at_ns(7 * SECOND)), 200, "later");
    }

    #[test]
    fn a_field_is_a_key_of_its_own_and_leaving_it_out_is_none() {
        let limit = limit(KeyOf::Header("x-api-key".into()));
        let of = |client, key| Asked::from(client).with("X-Api-Key", key);
        assert_eq!(status(&limit, &of("192.0.2.1", "a")), 200);
        assert_eq!(status(&limit, &of("192.0.2.2", "a")), 200);
        assert_eq!(status(&limit, &of("192.0.2.3", "a")), 429, "from anywhere");
        assert_eq!(status(&limit, &of("192.0.2.3", "b")), 200);
        let without = Asked::from("192.0.2.9");
        assert_eq!((0..3).map(|_| status(&limit, &without)).collect::<Vec<_>>(), [200, 200, 429]);
    }

    #[test]
    fn two_limits_speak_for_themselves() {
        let (one, mut other) = (limit(KeyOf::Client), limit(KeyOf::Everybody));
        (other.id, other.name) = (9, String::from("\"all\""));
        let mut notes = Notes::default();
        let asked = Asked::from("192.0.2.1");
        asked.ask_with(&mut notes, |exchange| (one.enter(exchange), other.enter(exchange)));
        asked.ask(|exchange| other.enter(exchange));
        let mut response = Response::empty(Status::OK);
        other.leave(&notes, &mut response);
        one.leave(&notes, &mut response);
        let said: Vec<_> = response.fields.named("RateLimit").collect();
        assert_eq!(said, [&b"\"all\";r=1;t=5"[..], br#""per \"user\"";r=1;t=5"#]);
    }

    #[test]
    fn a_policy_is_said_in_whole_seconds() {
        let of = |requests, per_ms| {
            let by = KeyOf::Client;
            policy("\"p\"", &site::RateLimit { requests, per_ms, burst: 1, by, keys_max: 1 })
        };
        assert_eq!(of(5, 100), "\"p\";q=50;w=1");
        assert_eq!(of(100, 60_000), "\"p\";q=100;w=60");
        assert_eq!(of(3, 1_500), "\"p\";q=4;w=2");
    }
}
