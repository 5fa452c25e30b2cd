//! Whether a token is good (RFC 7515, RFC 7519, RFC 8725).
//!
//! ```text
//!  bytes --> three parts --> head: which keys --> signature --> claims --> times, issuer, audience
//! ```
//! Nothing of the claims is read before the signature is found good. Of the head, `alg` must be that of a key
//! we have and `kid` is compared with names we know; both choose among our keys. `crit` is refused, since we
//! understand no extension. A key, or where to find one (`jwk`, `jku`, `x5c`, `x5u`), is not looked at.
//! The times are compared with the clock on the wall, give or take the leeway.

use serde_json::{Map, Value};

use super::claims::Claims;
use super::json;
use super::keys::{KeySet, algorithm};
use super::seen::Seen;
use crate::base::base64::{Alphabet, decode};

/// More is refused unread: tokens travel in a field.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// What is asked of a token besides its signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `iss` must be this.
    pub issuer: Option<String>,
    /// `aud` must be, or contain, one of these.
    pub audiences: Vec<String>,
    /// How far clocks may be apart.
    pub leeway_seconds: u32,
}

/// Why a token is not good, as much as its bearer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is none, or more than we understand.
    Malformed,
    /// It was not signed by whom it should be.
    Signature,
    /// It is over.
    Expired,
    /// It has not begun.
    Early,
    /// Another issued it.
    Issuer,
    /// It is for others.
    Audience,
}

impl Fault {
    /// For `error_description` (RFC 6750 section 3): says nothing of our keys.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Fault::Malformed => "The token is malformed",
            Fault::Signature => "The signature is not valid",
            Fault::Expired => "The token has expired",
            Fault::Early => "The token is not valid yet",
            Fault::Issuer => "The issuer is not trusted",
            Fault::Audience => "The token is for another audience",
        }
    }
}

/// Says who bears a token, if it is good at that time.
///
/// # Errors
/// What is wrong with it.
pub fn judge(
    token: &[u8],
    keys: &KeySet,
    seen: &Seen,
    rules: &Rules,
    unix_seconds: u64,
) -> Result<Claims, Fault> {
    let parts = parts(token).ok_or(Fault::Malformed)?;
    let mark = seen.mark(token);
    if !mark.as_ref().is_some_and(|mark| seen.contains(mark)) {
        parts.verify(keys)?;
        if let Some(mark) = mark {
            seen.remember(&mark);
        }
    }
    let claims = read(parts.payload).ok_or(Fault::Malformed)?;
    check(&claims, rules, unix_seconds)?;
    Ok(Claims::new(claims))
}

/// A token in compact form: `head.payload.signature`.
struct Parts<'t> {
    head: &'t [u8],
    payload: &'t [u8],
    signature: &'t [u8],
    /// Head and payload with the dot between.
    signed: &'t [u8],
}

fn parts(token: &[u8]) -> Option<Parts<'_>> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (head, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && ![head, payload, signature].iter().any(|part| part.is_empty());
    let signed = &token[..head.len() + 1 + payload.len()];
    is_whole.then_some(Parts { head, payload, signature, signed })
}

impl Parts<'_> {
    /// Whether one of the keys signed it.
    fn verify(&self, keys: &KeySet) -> Result<(), Fault> {
        let head = read(self.head).ok_or(Fault::Malformed)?;
        let signature = decode(self.signature, Alphabet::Url).ok_or(Fault::Malformed)?;
        if head.contains_key("crit") {
            return Err(Fault::Malformed);
        }
        let algorithm =
            head.get("alg").and_then(Value::as_str).and_then(algorithm).ok_or(Fault::Signature)?;
        let id = match head.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.as_str()),
            Some(_) => return Err(Fault::Malformed),
        };
        match keys.candidates(algorithm, id).any(|key| key.verifies(self.signed, &signature)) {
            true => Ok(()),
            false => Err(Fault::Signature),
        }
    }
}

fn read(part: &[u8]) -> Option<Map<String, Value>> {
    json::object(&decode(part, Alphabet::Url)?)
}

fn check(claims: &Map<String, Value>, rules: &Rules, unix_seconds: u64) -> Result<(), Fault> {
    let (now, leeway) = (unix_seconds as f64, f64::from(rules.leeway_seconds.min(LEEWAY_SECONDS_MAX)));
    // A token that never ends cannot be taken back, so the end must be said.
    let expires = time(claims, "exp")?.ok_or(Fault::Malformed)?;
    if now >= expires + leeway {
        return Err(Fault::Expired);
    }
    for name in ["nbf", "iat"] {
        if time(claims, name)?.is_some_and(|begins| begins > now + leeway) {
            return Err(Fault::Early);
        }
    }
    if let Some(issuer) = &rules.issuer
        && claims.get("iss").and_then(Value::as_str) != Some(issuer)
    {
        return Err(Fault::Issuer);
    }
    let is_ours = |audience: &Value| rules.audiences.iter().any(|own| audience == own.as_str());
    let is_for_us = match claims.get("aud") {
        _ if rules.audiences.is_empty() => true,
        Some(Value::Array(list)) => list.iter().any(is_ours),
        other => other.is_some_and(is_ours),
    };
    if is_for_us { Ok(()) } else { Err(Fault::Audience) }
}

/// Whatever was configured.
const LEEWAY_SECONDS_MAX: u32 = 60;

/// A time in seconds since 1970 (RFC 7519 section 2), if it is said. A number and nothing else is one.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Fault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(Fault::Malformed),
    }
}
