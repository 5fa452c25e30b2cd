//! Lets in who shows a good token: 401 for others, with what RFC 6750 wants said.
//!
//! Promises: a request passes only with a token that [`token::judge`] finds good. Fields in which claims go
//! upstream are never the client's, whether the token has the claim or not. A claim that could not stand in a
//! field as it is, since it has control characters, lets nobody in: changed, it might be another's name.
//!
//! A signature is verified here, on the reactor: 20 to 60 µs, once per token while it is [`seen`].

pub mod claims;
mod json;
pub mod jwks;
pub mod keys;
mod pem;
pub mod seen;
pub mod token;

use crate::config::site::{self, ClaimRule};
use crate::gateway::Exchange;
use crate::gateway::guard::key::cookies;
use crate::gateway::middleware::{Flow, Middleware};
use crate::http::{Request, Response, Status};

pub use claims::Claims;
use keys::KeySet;
use seen::Seen;
use token::{Fault, Rules, judge};

/// Tokens whose signature is remembered: 64 KiB.
const TOKENS_MAX: usize = 2_048;

/// See the module.
pub struct Jwt {
    keys: KeySet,
    seen: Seen,
    rules: Rules,
    cookie: Option<String>,
    claims: Vec<ClaimRule>,
    challenge: String,
    forwards_token: bool,
}

/// What a request shows.
enum Shown<'a> {
    Nothing,
    Token(&'a [u8]),
    /// Several, of which only the devil knows which counts.
    Several,
}

impl Jwt {
    /// Lets in who has a token that one of these keys verifies.
    #[must_use]
    pub fn new(config: &site::Jwt, keys: KeySet) -> Jwt {
        let rules = Rules {
            issuer: config.issuer.clone(),
            audiences: config.audiences.clone(),
            leeway_seconds: config.leeway_seconds,
        };
        Jwt {
            keys,
            seen: Seen::new(TOKENS_MAX),
            rules,
            cookie: config.cookie.clone(),
            claims: config.claims.clone(),
            challenge: format!("Bearer realm={}", quoted(&config.realm)),
            forwards_token: config.forwards_token,
        }
    }

    fn shown<'a>(&self, request: &Request<'a>) -> Shown<'a> {
        match &self.cookie {
            None => {
                let mut fields = request.fields_named("authorization");
                match (fields.next(), fields.next()) {
                    (Some(field), None) => bearer(field).map_or(Shown::Nothing, Shown::Token),
                    (None, _) => Shown::Nothing,
                    _ => Shown::Several,
                }
            }
            Some(name) => {
                let mut named = cookies(request).filter(|(known, _)| *known == name.as_bytes());
                match (named.next(), named.next()) {
                    (Some((_, token)), None) => Shown::Token(token),
                    (None, _) => Shown::Nothing,
                    _ => Shown::Several,
                }
            }
        }
    }

    /// What goes upstream instead of what came.
    fn strip(&self, exchange: &mut Exchange<'_>) {
        let request = exchange.request();
        let edits = exchange.notes_mut().upstream_mut();
        for rule in &self.claims {
            edits.remove(&rule.field);
        }
        match &self.cookie {
            _ if self.forwards_token => {}
            None => edits.remove("authorization"),
            Some(name) => match without(&request, name) {
                rest if rest.is_empty() => edits.remove("cookie"),
                rest => edits.set("cookie", rest),
            },
        }
    }

    fn pass_on(&self, claims: &Claims, exchange: &mut Exchange<'_>) -> Result<(), Fault> {
        for rule in &self.claims {
            let Some(text) = claims.text(&rule.claim) else { continue };
            // Blanks at the ends would be lost, too.
            if text.chars().any(char::is_control) || text.trim() != text {
                return Err(Fault::Malformed);
            }
            exchange.notes_mut().upstream_mut().set(&rule.field, text.as_bytes());
        }
        Ok(())
    }

    fn admit(&self, token: &[u8], exchange: &mut Exchange<'_>) -> Result<(), Fault> {
        let now = exchange.arrival().unix_seconds;
        if now == 0 {
            // Nobody looked at the clock: then no token could ever have expired.
            return Err(Fault::Early);
        }
        let claims = judge(token, &self.keys, &self.seen, &self.rules, now)?;
        self.strip(exchange);
        self.pass_on(&claims, exchange)?;
        exchange.notes_mut().keep(claims);
        Ok(())
    }

    /// RFC 6750 section 3.1: who shows nothing is not told that it is wrong.
    #[cold]
    fn refuse(&self, fault: Option<Fault>) -> Response {
        let challenge = match fault {
            None => self.challenge.clone(),
            Some(fault) => {
                let (challenge, text) = (&self.challenge, fault.text());
                format!("{challenge}, error=\"invalid_token\", error_description=\"{text}\"")
            }
        };
        Response::plain(Status::UNAUTHORIZED).with("WWW-Authenticate", challenge)
    }
}

impl Middleware for Jwt {
    fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
        let fault = match self.shown(&exchange.request()) {
            Shown::Nothing => None,
            Shown::Several => Some(Fault::Malformed),
            Shown::Token(token) => match self.admit(token, exchange) {
                Ok(()) => return Flow::On,
                Err(fault) => Some(fault),
            },
        };
        Flow::Answer(self.refuse(fault))
    }
}

/// The token behind a scheme in any case. Another scheme is not for us.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(6)?;
    let is_ours = scheme.eq_ignore_ascii_case(b"bearer") && token.first().is_none_or(|byte| *byte == b' ');
    is_ours.then(|| token.trim_ascii())
}

/// All cookies but those of that name.
fn without(request: &Request<'_>, name: &str) -> Vec<u8> {
    let mut rest = Vec::new();
    for (known, value) in cookies(request).filter(|(known, _)| *known != name.as_bytes()) {
        if !rest.is_empty() {
            rest.extend_from_slice(b"; ");
        }
        rest.extend_from_slice(known);
        rest.push(b'=');
        rest.extend_from_slice(value);
    }
    rest
}

/// RFC 9110 section 5.6.4.
pub(in crate::gateway::guard) fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if matches!(letter, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
