//! Lets in who knows a password (RFC 7617): 401 for others.
//!
//! Hashes of passwords are slow by design, and this runs on a reactor. So slow work is rationed:
//!
//! ```text
//!  seen before and good --> in     seen before and bad --> 401
//!  new --> this client's ration --> everybody's ration --> verified, and remembered either way
//!          spent: 429               spent: 503
//! ```
//! A password is verified once, not for each request: what was found out is remembered by the SHA-256 of a
//! secret, the name and the password ([`Seen`]), until the next reload. A client may try ten, then two a
//! second; all together may take a tenth of one reactor. So whoever floods with wrong passwords holds up
//! new ones, and nobody who was in; and no reactor stands still for longer than one hash takes
//! ([`passwords`](super::passwords) has the bound).
//!
//! Who is a user cannot be told from the time it takes: for a name that nobody has, the hash of a user is
//! verified whom the name chooses, so it takes what it takes for one of them, and always the same.
//! The password does not go upstream; the name does where the configuration says so.
//!
//! Not here, and better where costs above bcrypt's 6 are wanted: verifying on a worker. It needs a decision
//! that is taken twice over one head, since a step answers at once.

use std::collections::HashMap;
use std::sync::Arc;

use super::Secret;
use super::jwt::{quoted, seen::Seen};
use super::passwords::{Hash, PASSWORD_BYTES_MAX};
use super::rate::{Rate, RateTable, Taken};
use crate::base::base64::{Alphabet, decode};
use crate::config::site::BasicAuth;
use crate::gateway::Exchange;
use crate::gateway::middleware::{Flow, Middleware};
use crate::http::{Response, Status};

/// Passwords that are remembered: 64 KiB each for good and bad ones.
const SEEN_MAX: usize = 2_048;
/// Clients whose ration is known.
const CLIENTS_MAX: u32 = 16_384;
/// What a client may try.
const PER_CLIENT: Rate = Rate { requests: 2, per_ms: 1_000, burst: 10 };
/// What all may take of each second.
const SHARE_US: u64 = 100_000;

/// See the module.
pub struct Basic {
    /// Of each name, the place of its hash.
    names: HashMap<String, usize>,
    hashes: Vec<Hash>,
    secret: Secret,
    good: Seen,
    bad: Seen,
    clients: RateTable,
    everybody: RateTable,
    field: Option<String>,
    challenge: String,
}

/// What a password turned out to be.
enum Verdict {
    Good,
    Bad,
    /// Nobody looked: there were too many.
    Spent(Status, Taken),
}

/// The user that a request was let in as, kept in its notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(pub Arc<str>);

impl Basic {
    /// Lets in these users.
    ///
    /// # Errors
    /// There are none, two of one name, or one whose hash is of no use.
    pub fn new(config: &BasicAuth, secret: Secret) -> Result<Basic, String> {
        let (mut names, mut hashes) = (HashMap::new(), Vec::new());
        for user in &config.users {
            let of_user = |wrong: String| format!("the password of {:?} {wrong}", user.name);
            if user.name.is_empty() || user.name.contains(|letter: char| letter == ':' || letter.is_control())
            {
                return Err(format!("{:?} cannot be a user's name: it may have no colon", user.name));
            }
            hashes.push(Hash::of(&user.hash).map_err(of_user)?);
            if names.insert(user.name.clone(), hashes.len() - 1).is_some() {
                return Err(format!("has two users called {:?}", user.name));
            }
        }
        let Some(cost_us) = hashes.iter().map(Hash::cost_us).max() else {
            return Err("has no users".to_owned());
        };
        let per_second = (SHARE_US / cost_us.max(1)).clamp(1, 1_000) as u32;
        let all = Rate { requests: per_second, per_ms: 1_000, burst: per_second.max(4) };
        Ok(Basic {
            names,
            hashes,
            secret,
            good: Seen::new(SEEN_MAX),
            bad: Seen::new(SEEN_MAX),
            clients: RateTable::new(PER_CLIENT, CLIENTS_MAX),
            everybody: RateTable::new(all, 1),
            field: config.field.clone(),
            challenge: format!("Basic realm={}, charset=\"UTF-8\"", quoted(&config.realm)),
        })
    }

    fn judge(&self, name: &str, password: &[u8], exchange: &Exchange<'_>) -> Verdict {
        // Where the password begins cannot be mistaken: no name has a colon.
        let salted = [&self.secret.name("passwords").to_le_bytes(), name.as_bytes(), b":", password].concat();
        let Some(mark) = self.good.mark(&salted) else { return Verdict::Bad };
        if self.good.contains(&mark) {
            return Verdict::Good;
        }
        if self.bad.contains(&mark) {
            return Verdict::Bad;
        }
        let (client, now_ns) = (exchange.arrival().client, exchange.arrival().now_ns);
        let own = self.clients.take(self.secret.client(client), now_ns);
        if !own.is_passed {
            return Verdict::Spent(Status::TOO_MANY_REQUESTS, own);
        }
        let all = self.everybody.take(self.secret.name("everybody"), now_ns);
        if !all.is_passed {
            return Verdict::Spent(Status::SERVICE_UNAVAILABLE, all);
        }
        let known = self.names.get(name).copied();
        let place = known.unwrap_or(self.secret.name(name) as usize % self.hashes.len());
        let is_good = self.hashes[place].verifies(password) && known.is_some();
        if is_good {
            self.good.remember(&mark)
        } else {
            self.bad.remember(&mark)
        }
        if is_good { Verdict::Good } else { Verdict::Bad }
    }

    fn admit(&self, name: &str, exchange: &mut Exchange<'_>) {
        let notes = exchange.notes_mut();
        notes.upstream_mut().remove("authorization");
        if let Some(field) = &self.field {
            notes.upstream_mut().set(field, name);
        }
        notes.keep(UserName(name.into()));
    }

    #[cold]
    fn refuse(&self) -> Response {
        Response::plain(Status::UNAUTHORIZED).with("WWW-Authenticate", &self.challenge)
    }
}

impl Middleware for Basic {
    fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
        let Some((name, password)) = shown(exchange) else { return Flow::Answer(self.refuse()) };
        match self.judge(&name, &password, exchange) {
            Verdict::Good => {
                self.admit(&name, exchange);
                Flow::On
            }
            Verdict::Bad => Flow::Answer(self.refuse()),
            Verdict::Spent(status, taken) => {
                let wait_s = taken.wait_ns.div_ceil(1_000_000_000).max(1);
                Flow::Answer(Response::plain(status).with("Retry-After", wait_s.to_string()))
            }
        }
    }
}

/// The name and password that a request shows, if it shows one of each and they could be somebody's.
fn shown(exchange: &Exchange<'_>) -> Option<(String, Vec<u8>)> {
    let request = exchange.request();
    let mut values = request.fields_named("authorization");
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, rest) = value.split_at_checked(6)?;
    let encoded = rest.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let bytes = decode(encoded, Alphabet::Standard)?;
    let at = bytes.iter().position(|byte| *byte == b':')?;
    let (name, password) = (str::from_utf8(&bytes[..at]).ok()?, &bytes[at + 1..]);
    let is_possible = !name.contains(char::is_control) && password.len() <= PASSWORD_BYTES_MAX;
    is_possible.then(|| (name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::base64::encode;
    use crate::config::site::User;
    use crate::gateway::guard::tests::{Asked, upstream, value};

    /// As cheap as bcrypt allows.
    fn hash(password: &str) -> String {
        bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().to_string()
    }

    fn user(name: &str, hash: impl Into<String>) -> User {
        User { name: name.into(), hash: hash.into() }
    }

    fn config(users: Vec<User>) -> BasicAuth {
        BasicAuth { realm: "the \"office\"".into(), users, field: Some("X-User".into()) }
    }

    fn gate(users: Vec<User>) -> Basic {
        Basic::new(&config(users), Secret::of(1)).unwrap()
    }

    fn asked(credentials: &str) -> Asked {
        let encoded = encode(credentials.as_bytes(), Alphabet::Standard);
        Asked::from("192.0.2.1").with("Authorization", format!("Basic {encoded}"))
    }

    fn status(gate: &Basic, credentials: &str) -> u16 {
        asked(credentials).pass(gate).1.status.code()
    }

    #[test]
    fn who_knows_the_password_is_let_in_and_named_upstream() {
        let gate = gate(vec![user("alice", hash("sesame")), user("bob", hash("a:b c"))]);
        let (notes, response) = asked("alice:sesame").with("x-user", "root").pass(&gate);
        assert_eq!(response.status, Status::OK);
        assert_eq!(upstream(&notes), "X-User: alice\r\n");
        assert!(notes.upstream().takes(b"x-user") && notes.upstream().takes(b"authorization"));
        assert_eq!(notes.kept::<UserName>(), Some(&UserName("alice".into())));
        assert_eq!(status(&gate, "bob:a:b c"), 200, "a colon in a password");
        for wrong in
            ["alice:", "alice:Sesame", "alice:sesame ", "bob:sesame", "carol:sesame", ":", "alice", ""]
        {
            let (notes, refused) = asked(wrong).pass(&gate);
            assert_eq!(refused.status, Status::UNAUTHORIZED, "{wrong}");
            let challenge = r#"Basic realm="the \"office\"", charset="UTF-8""#;
            assert_eq!(value(&refused, "WWW-Authenticate"), Some(challenge));
            assert!(notes.kept::<UserName>().is_none());
        }
    }

    #[test]
    fn what_is_not_a_name_and_a_password_is_nobodys() {
        let gate = gate(vec![user("alice", hash("sesame"))]);
        let good = encode(b"alice:sesame", Alphabet::Standard);
        let with = |value: &str| Asked::from("192.0.2.1").with("authorization", value);
        assert_eq!(with(&format!("bAsIc  {good}")).pass(&gate).1.status, Status::OK);
        for value in
            ["", "Basic", "Basic ", "Basic !", "Bearer x", &format!("Basic {good}="), &format!("Basic{good}")]
        {
            assert_eq!(with(value).pass(&gate).1.status, Status::UNAUTHORIZED, "{value}");
        }
        let twice = with(&format!("Basic {good}")).with("Authorization", format!("Basic {good}"));
        assert_eq!(twice.pass(&gate).1.status, Status::UNAUTHORIZED);
        let long = format!("alice:sesame{}", "x".repeat(PASSWORD_BYTES_MAX));
        assert_eq!(status(&gate, &long), 401);
        assert_eq!(status(&gate, "alice\r\nX-Admin: 1:sesame"), 401);
    }

    /// Names that nobody has take the same way: they are verified, rationed and remembered.
    #[test]
    fn slow_work_is_rationed_for_each_client_and_what_is_known_costs_nothing() {
        let gate = gate(vec![user("alice", hash("sesame"))]);
        assert_eq!(status(&gate, "alice:sesame"), 200);
        let tries = |name: &str| (0..9).map(|n| status(&gate, &format!("{name}:{n}"))).collect::<Vec<_>>();
        assert_eq!(tries("nobody"), [401; 9]);
        assert_eq!(tries("nobody"), [401; 9], "known to be wrong, and so free");
        let (_, spent) = asked("alice:guess").pass(&gate);
        assert_eq!((spent.status, value(&spent, "Retry-After")), (Status::TOO_MANY_REQUESTS, Some("1")));
        assert_eq!(asked("carol:guess").pass(&gate).1.status, Status::TOO_MANY_REQUESTS);
        assert_eq!(status(&gate, "alice:sesame"), 200, "who was in stays in");
        assert_eq!(asked("alice:guess").at_ns(600_000_000).pass(&gate).1.status, Status::UNAUTHORIZED);
    }

    #[test]
    fn a_flood_from_everywhere_takes_no_more_than_its_share() {
        let gate = gate(vec![user("alice", hash("sesame")), user("bob", hash("open"))]);
        assert_eq!(status(&gate, "alice:sesame"), 200);
        let mut asked_all = 0;
        let refused = (0..10_000).find_map(|number| {
            asked_all += 1;
            let mut asked = asked(&format!("alice:{number}"));
            asked.arrival.client = Some([10, 0, (number >> 8) as u8, number as u8].into());
            let (_, response) = asked.pass(&gate);
            (response.status != Status::UNAUTHORIZED).then_some(response.status)
        });
        assert_eq!(refused, Some(Status::SERVICE_UNAVAILABLE));
        let cost_us = gate.hashes[0].cost_us();
        assert!(asked_all * cost_us <= 2 * SHARE_US, "{asked_all} of {cost_us} us");
        assert_eq!(status(&gate, "alice:sesame"), 200, "who was in stays in");
    }

    #[test]
    fn argon2id_is_taken_and_what_is_too_slow_or_too_weak_is_a_mistake() {
        let mistake = |hash: &str| Hash::of(hash).err().unwrap_or_default();
        let small = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$";
        let argon2 = argon2::Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            argon2::Params::new(64, 1, 1, None).unwrap(),
        );
        let mut out = [0; 32];
        argon2.hash_password_into(b"sesame", b"somesaltsomesalt", &mut out).unwrap();
        let encoded = encode(&out, Alphabet::Standard);
        let good = Hash::of(&format!("{small}{}", encoded.trim_end_matches('='))).unwrap();
        assert!(good.verifies(b"sesame") && !good.verifies(b"Sesame"));
        for broken in [
            small,
            "$argon2id$v=19$m=64",
            "$2b$10$short",
            &hash("a")[..59],
            &hash("a").replace("$2b$", "$2b$x"),
        ] {
            assert!(mistake(broken).contains("no whole"), "{broken}: {}", mistake(broken));
        }
        for other in
            ["", "plain", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA", "$apr1$x$y", "{SHA}x", "$2x$05$a"]
        {
            assert!(mistake(other).contains("bcrypt and argon2id are"), "{other}");
        }
        let slow = hash("a").replace("$04$", "$11$");
        assert!(mistake(&slow).contains("118 ms"), "{}", mistake(&slow));
        let large = "$argon2id$v=19$m=1048576,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI";
        assert!(mistake(large).contains("hold others up"), "{}", mistake(large));
    }

    #[test]
    fn users_that_cannot_be_are_mistakes() {
        let mistake = |users| Basic::new(&config(users), Secret::of(1)).err().unwrap_or_default();
        assert!(mistake(vec![]).contains("no users"));
        assert!(mistake(vec![user("a", hash("b")), user("a", hash("c"))]).contains("two users"));
        assert!(mistake(vec![user("a:b", hash("b"))]).contains("colon"));
        assert!(mistake(vec![user("a", "secret")]).contains("the password of \"a\" is hashed in a way"));
    }
}
