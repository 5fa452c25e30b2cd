//! `jwt = { keys = [{ algorithm = "HS256", secret-file = "..." }, { jwks = "keys.json" }], issuer = "...", ... }`.

use std::path::PathBuf;

use super::basic::{realm, usual_realm};
use super::reader::Reader;
use super::section::{Section, Value};
use super::value::{self, duration, switch};
use crate::config::site::{Algorithm, ClaimRule, Jwt, KeySource, StepKind};
use crate::config::values::choose;

/// RFC 7518 section 3.2: a secret is at least as long as the hash.
const SECRET_BYTES_MIN: usize = 32;
/// Clocks that are further apart are broken; more would let tokens live on.
const LEEWAY_MS_MAX: u32 = 60_000;

/// The ways to give a key.
const WAYS: [&str; 6] = ["secret", "secret-hex", "secret-file", "key", "key-file", "jwks"];

pub(in crate::config) const ALGORITHMS: &[(&str, Algorithm)] = &[
    ("HS256", Algorithm::Hs256),
    ("RS256", Algorithm::Rs256),
    ("ES256", Algorithm::Es256),
    ("EdDSA", Algorithm::EdDsa),
];

pub(super) fn read(reader: &mut Reader<'_>, mut section: Section<'_>) -> StepKind {
    let text = |value| value::text(value).map(String::from);
    let jwt = Jwt {
        keys: keys(reader, &mut section),
        issuer: section.get(reader, "issuer", text),
        audiences: section.list(reader, "audience", text).unwrap_or_default(),
        leeway_seconds: section.get(reader, "leeway", leeway).unwrap_or(0),
        cookie: section.get(reader, "cookie", |value| {
            let name = value::text(value)?;
            value::field_name(name).map(|_| String::from(name))
        }),
        claims: claims(reader, &mut section),
        realm: section.get(reader, "realm", realm).unwrap_or_else(usual_realm),
        forwards_token: section.get(reader, "forward-token", switch).unwrap_or(false),
    };
    section.end(reader, |_| None);
    StepKind::Jwt(jwt)
}

/// Whole seconds; `0` is none.
fn leeway(value: &toml::de::DeValue<'_>) -> Result<u32, String> {
    let none = value::flag_text(value)?;
    if matches!(none.trim(), "0" | "0s" | "off") {
        return Ok(0);
    }
    match duration(value)? {
        ms if ms > LEEWAY_MS_MAX => {
            Err(String::from("clocks may be apart by 60s at most; write that or less"))
        }
        ms if !ms.is_multiple_of(1_000) => Err(String::from("tokens count whole seconds; write 30s")),
        ms => Ok(ms / 1_000),
    }
}

fn claims(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Vec<ClaimRule> {
    let Some(inner) = section.inner(reader, "claims") else { return Vec::new() };
    let mut rules: Vec<ClaimRule> = Vec::new();
    for entry in inner.entries(reader) {
        let field = value::text(entry.value.get_ref()).and_then(value::field_name);
        match field {
            Ok(field) if rules.iter().any(|rule| rule.field == field) => {
                reader.mistake(entry.value.span(), format!("`{field}` carries another claim already"));
            }
            Ok(field) => rules.push(ClaimRule { claim: String::from(entry.name), field }),
            Err(problem) => reader.mistake(entry.value.span(), problem),
        }
    }
    rules
}

fn keys(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Vec<KeySource> {
    let values = section.several(reader, "keys").unwrap_or_default();
    if values.is_empty() {
        let problem =
            "no token can be good without keys = [{ algorithm = \"HS256\", secret-file = \"...\" }]";
        reader.mistake(section.place("keys"), problem);
    }
    values.into_iter().filter_map(|value| key(reader, section, value)).collect()
}

fn key(reader: &mut Reader<'_>, section: &Section<'_>, value: &Value<'_>) -> Option<KeySource> {
    let mut inner = Section::of(reader, format!("{}.keys", section.path), value)?;
    inner.only_one_of(reader, &WAYS);
    let key = match WAYS.into_iter().find(|way| inner.is_there(way)) {
        None => {
            reader.mistake(value.span(), format!("a key needs one of {}", WAYS.join(", ")));
            ["algorithm", "id"].into_iter().for_each(|name| inner.could_have(name));
            None
        }
        Some("jwks") => {
            let path = file_path(reader, &mut inner, "jwks");
            reader.files.extend(path.clone());
            path.and_then(|path| {
                let is_sound = value::bytes(&path).and_then(|bytes| jwks(&bytes));
                is_sound.map_err(|problem| reader.mistake(inner.value_place("jwks"), problem)).ok()?;
                Some(KeySource::Jwks(path))
            })
        }
        Some(way) => local(reader, &mut inner, way),
    };
    inner.end(reader, |_| None);
    key
}

fn file_path(reader: &mut Reader<'_>, section: &mut Section<'_>, name: &'static str) -> Option<PathBuf> {
    let text = section.get(reader, name, value::text)?;
    Some(reader.path(text))
}

fn local(reader: &mut Reader<'_>, section: &mut Section<'_>, way: &'static str) -> Option<KeySource> {
    if !section.is_there("algorithm") {
        let problem = "a key is good for one algorithm; name it: algorithm = \"HS256\"";
        reader.mistake(section.span.clone(), problem);
    }
    let algorithm = section.get(reader, "algorithm", |value| choose(ALGORITHMS, value::text(value)?));
    let id = section.get(reader, "id", |value| value::text(value).map(String::from));
    let (folder, mut file) = (reader.path(""), None);
    let key = section.get(reader, way, |value| {
        let text = value::text(value)?;
        let bytes = match way {
            "secret" | "key" => text.as_bytes().to_vec(),
            "secret-hex" => from_hex(text)?,
            _ => whole_lines(value::bytes(file.insert(folder.join(text)))?),
        };
        checked(algorithm, way, bytes)
    });
    reader.files.extend(file);
    Some(KeySource::Local { algorithm: algorithm?, id, key: key? })
}

/// Whoever makes a file with a secret ends its line.
fn whole_lines(mut bytes: Vec<u8>) -> Vec<u8> {
    while let Some(b'\n' | b'\r') = bytes.last() {
        bytes.pop();
    }
    bytes
}

/// A secret and a public key must never stand for each other: who knows the public key could sign.
fn checked(algorithm: Option<Algorithm>, way: &str, key: Vec<u8>) -> Result<Vec<u8>, String> {
    let has = |word: &[u8]| key.windows(word.len()).any(|window| window == word);
    let is_pem = has(b"-----BEGIN ");
    match algorithm {
        None => Ok(key),
        Some(Algorithm::Hs256) if !way.starts_with("secret") => {
            Err(String::from("HS256 has a secret and no key; write secret-file, or another algorithm"))
        }
        Some(Algorithm::Hs256) if is_pem => {
            Err(String::from("this is a key and no secret; its algorithm is RS256, ES256 or EdDSA"))
        }
        Some(Algorithm::Hs256) if key.len() < SECRET_BYTES_MIN => {
            let bytes = key.len();
            Err(format!("{bytes} bytes are guessed; use {SECRET_BYTES_MIN} or more: openssl rand -hex 32"))
        }
        Some(Algorithm::Hs256) => Ok(key),
        Some(_) if way.starts_with("secret") => {
            Err(String::from("a public key is no secret; write key-file, or algorithm = \"HS256\""))
        }
        Some(_) if has(b"PRIVATE KEY-----") => {
            Err(String::from("this is a private key, which belongs to who signs; give the public one"))
        }
        Some(_) if !has(b"-----BEGIN PUBLIC KEY-----") => {
            Err(String::from("no public key; it begins with -----BEGIN PUBLIC KEY-----"))
        }
        Some(_) => Ok(key),
    }
}

fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    const WRONG: &str = "no hexadecimal; write two digits for each byte";
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(String::from(WRONG));
    }
    let bytes = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    bytes.collect::<Result<_, _>>().map_err(|_| String::from(WRONG))
}

/// What each key is good for is seen where it is used.
fn jwks(bytes: &[u8]) -> Result<(), String> {
    let set: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?;
    match set.get("keys").and_then(|keys| keys.as_array()).map(Vec::len) {
        None => Err(String::from("no set of keys; it is { \"keys\": [ ... ] } (RFC 7517)")),
        Some(0) => Err(String::from("no token can be good: there is no key in it")),
        Some(_) => Ok(()),
    }
}
