//! `[middleware.NAME]`: what requests pass through, one kind in each table.

use toml::de::DeValue;

use super::reader::Reader;
use super::section::{Entry, Section};
use super::upstream::key_of;
use super::value::{self, count, duration, switch};
use super::{basic, edits, jwt};
use crate::config::Cidr;
use crate::config::site::{ConcurrencyLimit, KeyOf, RateLimit, Step, StepKind, Trust};

const KINDS: [&str; 10] = [
    "rate-limit",
    "concurrency",
    "access",
    "jwt",
    "basic",
    "headers",
    "cors",
    "request-id",
    "trace",
    "secure-headers",
];

/// Keys that a limit knows at once, where nothing is said.
pub(in crate::config) const KEYS_USUAL: u32 = 65_536;
const KEYS_MAX: u32 = 16_777_216;
const REQUESTS_MAX: u32 = 1_000_000_000;

/// Reads all of them, in the order written, which is that of their numbers.
pub(super) fn read_all(reader: &mut Reader<'_>, entries: &[Entry<'_>]) -> Vec<Step> {
    let mut steps = Vec::new();
    for entry in entries {
        if let Err(problem) = value::name(entry.name) {
            reader.mistake(entry.span.clone(), problem);
        }
        let section = Section::of(reader, format!("middleware.{}", entry.name), entry.value);
        let kind = section.and_then(|section| read(reader, entry, section));
        // The name is kept for the routes that use it; with a mistake there is no site anyway.
        steps.push(Step { name: String::from(entry.name), kind: kind.unwrap_or(StepKind::Trace) });
    }
    steps
}

fn read(reader: &mut Reader<'_>, entry: &Entry<'_>, mut section: Section<'_>) -> Option<StepKind> {
    section.only_one_of(reader, &KINDS);
    let said = KINDS.into_iter().find(|name| section.is_there(name));
    let kind = match said {
        None => {
            reader.mistake(entry.span.clone(), format!("does nothing; give it one of {}", KINDS.join(", ")));
            None
        }
        Some("rate-limit") => section.inner(reader, "rate-limit").map(|inner| rate_limit(reader, inner)),
        Some("concurrency") => section.inner(reader, "concurrency").map(|inner| concurrency(reader, inner)),
        Some("access") => section.inner(reader, "access").map(|inner| access(reader, inner)),
        Some("jwt") => section.inner(reader, "jwt").map(|inner| jwt::read(reader, inner)),
        Some("basic") => section.inner(reader, "basic").map(|inner| basic::read(reader, inner)),
        Some("headers") => section.inner(reader, "headers").map(|inner| edits::read(reader, inner)),
        Some("cors") => section.inner(reader, "cors").map(|inner| cors(reader, inner)),
        Some("request-id") => flag(reader, &mut section, "request-id", StepKind::RequestId),
        Some("trace") => flag(reader, &mut section, "trace", StepKind::Trace),
        Some(name) => flag(reader, &mut section, name, StepKind::SecureFields),
    };
    section.end(reader, super::settings::elsewhere);
    kind
}

/// What has nothing to be told.
fn flag(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    name: &'static str,
    kind: StepKind,
) -> Option<StepKind> {
    let is_on = section.get(reader, name, switch)?;
    if !is_on {
        reader.mistake(
            section.value_place(name),
            "off is what it is in routes that do not use it; take it out",
        );
    }
    Some(kind)
}

fn requests(reader: &mut Reader<'_>, section: &mut Section<'_>) -> u32 {
    if !section.is_there("requests") {
        reader.mistake(section.span.clone(), "how many? give it requests = 100");
    }
    section.get(reader, "requests", count(1, REQUESTS_MAX)).unwrap_or(1)
}

fn rate_limit(reader: &mut Reader<'_>, mut section: Section<'_>) -> StepKind {
    let requests = requests(reader, &mut section);
    let limit = RateLimit {
        requests,
        per_ms: section.get(reader, "per", duration).unwrap_or(1_000),
        // What a period allows may come at once, as everybody reads "100 a minute".
        burst: section.get(reader, "burst", count(1, REQUESTS_MAX)).unwrap_or(requests),
        by: section.get(reader, "by", key_of).unwrap_or(KeyOf::Client),
        keys_max: section.get(reader, "keys", count(1, KEYS_MAX)).unwrap_or(KEYS_USUAL),
    };
    section.end(reader, |_| None);
    StepKind::RateLimit(limit)
}

fn concurrency(reader: &mut Reader<'_>, mut section: Section<'_>) -> StepKind {
    let limit = ConcurrencyLimit {
        requests: requests(reader, &mut section),
        by: section.get(reader, "by", key_of).unwrap_or(KeyOf::Everybody),
        keys_max: section.get(reader, "keys", count(1, KEYS_MAX)).unwrap_or(KEYS_USUAL),
    };
    section.end(reader, |_| None);
    StepKind::Concurrency(limit)
}

fn range(value: &DeValue<'_>) -> Result<Cidr, String> {
    let text = value::text(value)?;
    text.parse().map_err(|problem| format!("`{text}` {problem}"))
}

fn access(reader: &mut Reader<'_>, mut section: Section<'_>) -> StepKind {
    let allow = section.list(reader, "allow", range);
    let deny = section.list(reader, "deny", range);
    if allow.is_none() && deny.is_none() {
        reader.mistake(section.span.clone(), "lets everybody in; give it allow or deny");
    }
    // Nobody in `allow` would mean everybody.
    if section.several(reader, "allow").is_some_and(|ranges| ranges.is_empty()) {
        reader
            .mistake(section.value_place("allow"), "lets nobody in; to keep all out deny 0.0.0.0/0 and ::/0");
    }
    section.end(reader, |_| None);
    StepKind::Access { allow: allow.unwrap_or_default(), deny: deny.unwrap_or_default() }
}

fn cors(reader: &mut Reader<'_>, mut section: Section<'_>) -> StepKind {
    let origins = section.list(reader, "origins", |value| origin(value::text(value)?));
    let count = section.several(reader, "origins").map_or(0, |origins| origins.len());
    let origins = origins.unwrap_or_default();
    if count == 0 {
        reader.mistake(section.place("origins"), "whose pages may call? give it origins = [\"https://...\"]");
    }
    if count > 1 && origins.iter().any(|origin| origin == "*") {
        reader.mistake(section.value_place("origins"), "`*` is every origin; write it alone");
    }
    section.end(reader, |_| None);
    StepKind::Cors { origins }
}

/// As browsers send it: a scheme, a host, a port that is not the usual, nothing else.
fn origin(text: &str) -> Result<String, String> {
    let host = text.split_once("://").map_or("", |(_, host)| host);
    let is_plain = host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@".contains(&byte));
    match text == "*" || (!host.is_empty() && is_plain) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(String::from("no origin; write https://app.example.com, without a path")),
    }
}

/// `[trust]`
pub(super) fn trust(reader: &mut Reader<'_>, mut section: Section<'_>) -> Trust {
    let trust = Trust {
        proxies: section.list(reader, "proxies", range).unwrap_or_default(),
        proxy_protocol: section.get(reader, "proxy-protocol", switch).unwrap_or(false),
        connections_per_address_max: section.get(reader, "connections-per-address", count(1, 1_000_000)),
    };
    section.end(reader, super::settings::elsewhere);
    trust
}
