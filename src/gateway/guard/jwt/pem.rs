//! Public keys as PEM: `BEGIN PUBLIC KEY` (RFC 5280) and `BEGIN RSA PUBLIC KEY` (RFC 8017).
//!
//! As much DER as that takes, read strictly: definite lengths in their shortest form, nothing behind the end.

use super::keys::PublicKey;
use crate::base::base64::{Alphabet, decode};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OID: u8 = 0x06;

const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
const ED25519: &[u8] = b"\x2b\x65\x70";

/// Reads a public key.
///
/// # Errors
/// What it is instead.
pub fn public_key(text: &[u8]) -> Result<PublicKey, String> {
    let (label, der) = unwrap(text).ok_or("is no PEM file: it should say BEGIN PUBLIC KEY")?;
    let key = match label {
        "PUBLIC KEY" => subject(&der),
        "RSA PUBLIC KEY" => rsa(&der),
        "CERTIFICATE" => {
            return Err("is a certificate; give its key, as from: openssl x509 -pubkey -noout".to_owned());
        }
        _ if label.contains("PRIVATE KEY") => {
            return Err(
                "is a private key; whoever verifies tokens needs, and should have, the public one".into()
            );
        }
        _ => None,
    };
    key.ok_or_else(|| "is no public key of RSA, P-256 or Ed25519".to_owned())
}

/// Whether it is a key or certificate, so that it can be no secret.
#[must_use]
pub fn looks_like_key(bytes: &[u8]) -> bool {
    let is_pem = bytes.windows(5).any(|window| window == b"-----");
    is_pem
        || subject(bytes).is_some()
        || rsa(bytes).is_some()
        || element(bytes, SEQUENCE).is_some_and(is_whole)
}

fn is_whole((_, rest): (&[u8], &[u8])) -> bool {
    rest.is_empty()
}

/// The label and the bytes of the first and only block.
fn unwrap(text: &[u8]) -> Option<(&str, Vec<u8>)> {
    let text = str::from_utf8(text).ok()?.trim();
    let (label, rest) = text.strip_prefix("-----BEGIN ")?.split_once("-----")?;
    let body = rest.strip_suffix("-----")?.strip_suffix(label)?.strip_suffix("-----END ")?;
    let letters: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    Some((label, decode(&letters, Alphabet::Standard)?))
}

/// `SubjectPublicKeyInfo`.
fn subject(der: &[u8]) -> Option<PublicKey> {
    let info = sole(der, SEQUENCE)?;
    let (algorithm, rest) = element(info, SEQUENCE)?;
    let key = sole(rest, BIT_STRING)?.strip_prefix(&[0])?;
    let (kind, parameters) = element(algorithm, OID)?;
    match kind {
        RSA if parameters == [5, 0] => rsa(key),
        EC if sole(parameters, OID)? == P256 => Some(PublicKey::P256(key.to_owned())),
        ED25519 if parameters.is_empty() => Some(PublicKey::Ed25519(key.to_owned())),
        _ => None,
    }
}

/// `RSAPublicKey`.
fn rsa(der: &[u8]) -> Option<PublicKey> {
    let (n, rest) = element(sole(der, SEQUENCE)?, INTEGER)?;
    let e = sole(rest, INTEGER)?;
    Some(PublicKey::Rsa { n: positive(n)?, e: positive(e)? })
}

/// A number above 0, whose sign has a byte of its own where it needs one.
fn positive(integer: &[u8]) -> Option<Vec<u8>> {
    match integer {
        [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => Some(rest.to_owned()),
        [1..=0x7f, ..] => Some(integer.to_owned()),
        _ => None,
    }
}

/// What is in the one element that there is.
fn sole(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (content, rest) = element(der, tag)?;
    rest.is_empty().then_some(content)
}

/// What is in the first element, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (len, rest) = match der {
        [found, len @ 0..=0x7f, rest @ ..] if *found == tag => (usize::from(*len), rest),
        [found, 0x81, len @ 0x80..=0xff, rest @ ..] if *found == tag => (usize::from(*len), rest),
        [found, 0x82, high @ 1..=0xff, low, rest @ ..] if *found == tag => {
            (usize::from(*high) << 8 | usize::from(*low), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(len)
}
