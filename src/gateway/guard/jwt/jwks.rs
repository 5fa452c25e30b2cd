//! A set of keys as a file: JWKS (RFC 7517).
//!
//! What is not for us is passed over, as the standard wants it: keys to encrypt with, curves and algorithms
//! that are not verified here. What contradicts itself is a mistake.

use serde_json::{Map, Value};

use super::json;
use super::keys::{Key, PublicKey, algorithm};
use crate::base::base64::{Alphabet, decode};

/// Reads a set's keys.
///
/// # Errors
/// What is wrong with which key.
pub fn keys(text: &[u8]) -> Result<Vec<Key>, String> {
    let set = json::object(text).ok_or("is no JSON object, or has a name twice")?;
    let Some(Value::Array(list)) = set.get("keys") else {
        return Err("has no member \"keys\" that is a list".to_owned());
    };
    let mut keys = Vec::new();
    for (number, member) in list.iter().enumerate() {
        let of_key = |wrong: String| format!("key {} of the set {wrong}", number + 1);
        let Value::Object(member) = member else { return Err(of_key("is no object".to_owned())) };
        keys.extend(key(member).map_err(of_key)?);
    }
    Ok(keys)
}

/// One key; `None`: it is not for us.
fn key(member: &Map<String, Value>) -> Result<Option<Key>, String> {
    if !is_to_verify(member) {
        return Ok(None);
    }
    let id = match member.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err("has a kid that is no text".to_owned()),
    };
    let key = match (text(member, "kty"), text(member, "crv")) {
        (Some("oct"), _) => Key::secret(id, &bytes(member, "k")?),
        (Some("RSA"), _) => {
            Key::public(id, PublicKey::Rsa { n: bytes(member, "n")?, e: bytes(member, "e")? })
        }
        (Some("EC"), Some("P-256")) => Key::public(id, PublicKey::P256(point(member)?)),
        (Some("OKP"), Some("Ed25519")) => Key::public(id, PublicKey::Ed25519(bytes(member, "x")?)),
        (None, _) => return Err("has no kty".to_owned()),
        _ => return Ok(None),
    };
    // An algorithm of another name than ours was passed over before.
    match (key?, text(member, "alg").and_then(algorithm)) {
        (key, Some(said)) if said != key.algorithm() => {
            Err("has an alg that is not for keys of its kty".to_owned())
        }
        (key, _) => Ok(Some(key)),
    }
}

fn is_to_verify(member: &Map<String, Value>) -> bool {
    let is_to_sign = text(member, "use").is_none_or(|purpose| purpose == "sig");
    let is_known = member.get("alg").is_none_or(|name| name.as_str().and_then(algorithm).is_some());
    let may_verify = match member.get("key_ops") {
        Some(Value::Array(operations)) => operations.iter().any(|operation| operation == "verify"),
        other => other.is_none(),
    };
    is_to_sign && is_known && may_verify
}

fn text<'m>(member: &'m Map<String, Value>, name: &str) -> Option<&'m str> {
    member.get(name)?.as_str()
}

fn bytes(member: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = text(member, name).ok_or_else(|| format!("has no {name}"))?;
    decode(text.as_bytes(), Alphabet::Url).ok_or_else(|| format!("has an {name} that is no base64url"))
}

/// RFC 7518 section 6.2.1: both coordinates in full length.
fn point(member: &Map<String, Value>) -> Result<Vec<u8>, String> {
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = bytes(member, name)?;
        if coordinate.len() != 32 {
            return Err(format!("has an {name} of {} bytes; P-256 has 32", coordinate.len()));
        }
        point.extend(coordinate);
    }
    Ok(point)
}
