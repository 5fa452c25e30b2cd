//! `[upstream.NAME]`: servers that do the same, how one is chosen, how long things may take.

use toml::de::DeValue;

use super::address;
use super::reader::Reader;
use super::reply;
use super::section::{Entry, Section, Value, unknown};
use super::value::{self, count, duration, duration_or_off, percent, switch};
use crate::config::site::{
    Address, Balance, Breaker, Ejection, Fallback, Health, KeyOf, Retries, ServerSpec, Timeouts, Upstream,
};
use crate::config::values::choose;

const WEIGHT_MAX: u32 = 10_000;
const RETRIES_MAX: u32 = 10;
const CONNECTIONS_MAX: u32 = 1_000_000;

/// What stands here and in no other table.
pub(super) const KEYS: [&str; 21] = [
    "balance",
    "breaker",
    "connect-timeout",
    "eject",
    "fallback",
    "first-byte-timeout",
    "hash-by",
    "health",
    "idle-timeout",
    "keep-alive",
    "keep-alive-timeout",
    "max-connections",
    "queue-timeout",
    "request-timeout",
    "resolve-interval",
    "retries",
    "retry-backoff",
    "retry-budget",
    "servers",
    "total-timeout",
    "tunnel-timeout",
];

/// What is written nowhere: one upstream of one server, as `proxy = "http://..."` makes.
pub(in crate::config) fn usual(name: &str, servers: Vec<ServerSpec>) -> Upstream {
    Upstream {
        name: String::from(name),
        servers,
        balance: Balance::default(),
        timeouts: Timeouts::default(),
        retries: Retries::default(),
        idle_max: 256,
        idle_ms_max: 60_000,
        connections_max: None,
        queue_ms_max: 1_000,
        resolve_ms: 30_000,
        health: None,
        ejection: Some(Ejection::default()),
        breaker: Some(Breaker::default()),
        fallback: None,
    }
}

/// A server that is asked like every other.
pub(in crate::config) fn server(address: Address) -> ServerSpec {
    ServerSpec { address, weight: 1, is_backup: false }
}

/// Reads all of them; `names` in the order written, which is that of their numbers.
pub(super) fn read_all(reader: &mut Reader<'_>, entries: &[Entry<'_>]) -> Vec<Upstream> {
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    let mut upstreams: Vec<Upstream> = Vec::new();
    for entry in entries {
        if let Err(problem) = value::name(entry.name) {
            reader.mistake(entry.span.clone(), problem);
        }
        let path = format!("upstream.{}", entry.name);
        upstreams.push(match Section::of(reader, path, entry.value) {
            Some(section) => read(reader, entry, section, &names),
            None => usual(entry.name, Vec::new()),
        });
    }
    circles(reader, entries, &upstreams);
    upstreams
}

fn read(reader: &mut Reader<'_>, entry: &Entry<'_>, mut section: Section<'_>, names: &[&str]) -> Upstream {
    let usual = usual(entry.name, servers(reader, entry, &mut section));
    let upstream = Upstream {
        balance: balance(reader, &mut section),
        timeouts: timeouts(reader, &mut section),
        retries: retries(reader, &mut section),
        idle_max: section.get(reader, "keep-alive", count(0, 65_535)).unwrap_or(usual.idle_max),
        idle_ms_max: section.get(reader, "keep-alive-timeout", duration).unwrap_or(usual.idle_ms_max),
        connections_max: section.get(reader, "max-connections", count(1, CONNECTIONS_MAX)),
        queue_ms_max: section.get(reader, "queue-timeout", duration).unwrap_or(usual.queue_ms_max),
        resolve_ms: section.get(reader, "resolve-interval", duration).unwrap_or(usual.resolve_ms),
        health: health(reader, &mut section),
        ejection: ejection(reader, &mut section),
        breaker: breaker(reader, &mut section),
        fallback: fallback(reader, &mut section, names),
        ..usual
    };
    section.end(reader, super::settings::elsewhere);
    upstream
}

fn servers(reader: &mut Reader<'_>, entry: &Entry<'_>, section: &mut Section<'_>) -> Vec<ServerSpec> {
    let Some(values) = section.several(reader, "servers") else {
        reader.mistake(entry.span.clone(), "an upstream needs servers = [\"http://127.0.0.1:9000\"]");
        return Vec::new();
    };
    if values.is_empty() {
        reader.mistake(section.place("servers"), "an upstream needs at least one server");
    }
    let mut servers: Vec<ServerSpec> = Vec::new();
    let mut is_sound = true;
    for value in &values {
        let Some(server) = one_server(reader, section, value) else {
            is_sound = false;
            continue;
        };
        if servers.iter().any(|taken| taken.address == server.address) {
            reader.mistake(value.span(), "this server is listed twice; name it once, with a weight");
        }
        servers.push(server);
    }
    if is_sound && !servers.is_empty() {
        let asked = || servers.iter().filter(|server| !server.is_backup);
        if asked().count() == 0 {
            reader.mistake(section.place("servers"), "all are backups, but of none; leave one without");
        } else if asked().all(|server| server.weight == 0) {
            reader.mistake(section.place("servers"), "no server has a weight above 0; who is to be asked?");
        }
    }
    servers
}

fn one_server(reader: &mut Reader<'_>, section: &Section<'_>, value: &Value<'_>) -> Option<ServerSpec> {
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        return server_address(reader, value).map(server);
    }
    let mut inner = Section::of(reader, format!("{}.servers", section.path), value)?;
    let url = inner.take(reader, "url");
    if url.is_none() {
        reader.mistake(value.span(), "a server needs a url = \"http://127.0.0.1:9000\"");
    }
    let address = url.and_then(|url| server_address(reader, url));
    let weight = inner.get(reader, "weight", count(0, WEIGHT_MAX)).unwrap_or(1);
    let is_backup = inner.get(reader, "backup", switch).unwrap_or(false);
    inner.end(reader, |_| None);
    address.map(|address| ServerSpec { address, weight, is_backup })
}

pub(super) fn server_address(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Address> {
    let text = match value.get_ref() {
        DeValue::Integer(_) => value::flag_text(value.get_ref()),
        other => value::text(other).map(String::from),
    };
    let read = text.and_then(|text| address::server(&text, &reader.path("")));
    read.map_err(|problem| reader.mistake(value.span(), problem)).ok()
}

fn balance(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Balance {
    let by = section.get(reader, "hash-by", |value| match key_of(value)? {
        KeyOf::Claim(_) => Err(String::from("servers are chosen by client, header:NAME or cookie:NAME")),
        KeyOf::Everybody => Err(String::from("all would go to one server; write client or header:NAME")),
        key => Ok(key),
    });
    let written = section.get(reader, "balance", |value| choose(BALANCES, value::text(value)?));
    match written {
        None if section.has("hash-by") => Balance::Hash(by.unwrap_or(KeyOf::Client)),
        None => Balance::default(),
        Some(HowToBalance::Hash) => Balance::Hash(by.unwrap_or(KeyOf::Client)),
        Some(_) if section.has("hash-by") => {
            let problem = "this says nothing unless balance = \"hash\"; write that, or take this out";
            reader.mistake(section.place("hash-by"), problem);
            Balance::default()
        }
        Some(HowToBalance::RoundRobin) => Balance::RoundRobin,
        Some(HowToBalance::Least) => Balance::Least,
        Some(HowToBalance::TwoChoices) => Balance::TwoChoices,
    }
}

#[derive(Clone, Copy)]
enum HowToBalance {
    RoundRobin,
    Least,
    TwoChoices,
    Hash,
}

const BALANCES: &[(&str, HowToBalance)] = &[
    ("round-robin", HowToBalance::RoundRobin),
    ("least", HowToBalance::Least),
    ("two-choices", HowToBalance::TwoChoices),
    ("hash", HowToBalance::Hash),
];

/// `client`, `everybody`, `header:NAME`, `cookie:NAME` or `claim:NAME`.
pub(super) fn key_of(value: &DeValue<'_>) -> Result<KeyOf, String> {
    let text = value::text(value)?;
    let Some((kind, name)) = text.split_once(':') else {
        return choose(&[("client", true), ("everybody", false)], text)
            .map(|client| if client { KeyOf::Client } else { KeyOf::Everybody })
            .map_err(|problem| format!("{problem}, header:NAME, cookie:NAME, claim:NAME"));
    };
    match (kind, name.trim()) {
        (_, "") => Err(format!("no name; write {kind}:NAME")),
        ("header", name) => value::field_name(name).map(KeyOf::Header),
        ("cookie", name) => value::field_name(name).map(|_| KeyOf::Cookie(String::from(name))),
        ("claim", name) => Ok(KeyOf::Claim(String::from(name))),
        (kind, _) => Err(unknown("key", kind, &["header", "cookie", "claim"], None)),
    }
}

fn timeouts(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Timeouts {
    let usual = Timeouts::default();
    Timeouts {
        connect_ms_max: section.get(reader, "connect-timeout", duration).unwrap_or(usual.connect_ms_max),
        first_byte_ms_max: section
            .get(reader, "first-byte-timeout", duration)
            .unwrap_or(usual.first_byte_ms_max),
        idle_ms_max: section.get(reader, "idle-timeout", duration).unwrap_or(usual.idle_ms_max),
        request_ms_max: section.get(reader, "request-timeout", duration).unwrap_or(usual.request_ms_max),
        total_ms_max: section.get(reader, "total-timeout", duration_or_off).unwrap_or(usual.total_ms_max),
        tunnel_ms_max: section.get(reader, "tunnel-timeout", duration).unwrap_or(usual.tunnel_ms_max),
    }
}

fn retries(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Retries {
    let usual = Retries::default();
    Retries {
        count_max: section.get(reader, "retries", count(0, RETRIES_MAX)).unwrap_or(usual.count_max),
        budget_percent: section.get(reader, "retry-budget", percent).unwrap_or(usual.budget_percent),
        backoff_ms: section.get(reader, "retry-backoff", duration).unwrap_or(usual.backoff_ms),
    }
}

/// A part that may be switched off or on, or be told more of. `None`: nothing is said.
enum Part<'a> {
    Off,
    Usual,
    Said(Section<'a>),
}

fn part<'a>(reader: &mut Reader<'_>, section: &mut Section<'a>, name: &'static str) -> Option<Part<'a>> {
    let value = section.take(reader, name)?;
    if let DeValue::Table(_) = value.get_ref() {
        return Section::of(reader, format!("{}.{name}", section.path), value).map(Part::Said);
    }
    match switch(value.get_ref()) {
        Ok(true) => Some(Part::Usual),
        Ok(false) => Some(Part::Off),
        Err(_) => {
            let problem = format!("{} is true, false or a table {{ ... }}", name);
            reader.mistake(value.span(), problem);
            None
        }
    }
}

fn health(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Health> {
    let usual = Health::default();
    let mut inner = match part(reader, section, "health")? {
        Part::Off => return None,
        Part::Usual => return Some(usual),
        Part::Said(inner) => inner,
    };
    let health = Health {
        path: inner.get(reader, "path", probe_path).unwrap_or(usual.path),
        host: inner
            .get(reader, "host", |value| value::text(value).and_then(value::field_value).map(String::from)),
        statuses: statuses(reader, &mut inner).unwrap_or(usual.statuses),
        interval_ms: inner.get(reader, "interval", duration).unwrap_or(usual.interval_ms),
        timeout_ms: inner.get(reader, "timeout", duration).unwrap_or(usual.timeout_ms),
        rise: inner.get(reader, "rise", count(1, 1_000)).unwrap_or(usual.rise),
        fall: inner.get(reader, "fall", count(1, 1_000)).unwrap_or(usual.fall),
    };
    inner.end(reader, |_| None);
    Some(health)
}

/// What goes on the wire as it is: a target in visible ASCII.
fn probe_path(value: &DeValue<'_>) -> Result<String, String> {
    let text = value::text(value)?;
    match text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        true => Ok(String::from(text)),
        false => Err(String::from("a path begins with a slash and has no spaces; write /healthz")),
    }
}

fn statuses(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Vec<(u16, u16)>> {
    let ranges = section.list(reader, "status", |value| {
        let text = value::flag_text(value)?;
        text.split(',').map(|range| status_range(range.trim())).collect::<Result<Vec<_>, String>>()
    })?;
    Some(ranges.concat()).filter(|ranges| !ranges.is_empty())
}

fn status_range(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let status = |text: &str| text.trim().parse().ok().filter(|code| (100..=599).contains(code));
    match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("`{text}` is no range of statuses; write 200-399 or 200,204")),
    }
}

fn ejection(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Ejection> {
    let usual = Ejection::default();
    let mut inner = match part(reader, section, "eject") {
        Some(Part::Off) => return None,
        Some(Part::Usual) | None => return Some(usual),
        Some(Part::Said(inner)) => inner,
    };
    let ejection = Ejection {
        failures: inner.get(reader, "failures", count(1, 100_000)).unwrap_or(usual.failures),
        slower_than: inner.get(reader, "slower-than", count(2, 1_000)).or(usual.slower_than),
        ms: inner.get(reader, "time", duration).unwrap_or(usual.ms),
        share_max_percent: inner.get(reader, "max", percent).unwrap_or(usual.share_max_percent),
    };
    inner.end(reader, |_| None);
    Some(ejection)
}

fn breaker(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Breaker> {
    let usual = Breaker::default();
    let mut inner = match part(reader, section, "breaker") {
        Some(Part::Off) => return None,
        Some(Part::Usual) | None => return Some(usual),
        Some(Part::Said(inner)) => inner,
    };
    let breaker = Breaker {
        failures: inner.get(reader, "failures", count(1, 100_000)).unwrap_or(usual.failures),
        share_percent: inner.get(reader, "share", percent).unwrap_or(usual.share_percent),
        requests_min: inner.get(reader, "requests", count(1, 1_000_000)).unwrap_or(usual.requests_min),
        window_ms: inner.get(reader, "window", duration).unwrap_or(usual.window_ms),
        open_ms: inner.get(reader, "open", duration).unwrap_or(usual.open_ms),
        probes: inner.get(reader, "probes", count(1, 1_000)).unwrap_or(usual.probes),
    };
    inner.end(reader, |_| None);
    Some(breaker)
}

fn fallback(reader: &mut Reader<'_>, section: &mut Section<'_>, names: &[&str]) -> Option<Fallback> {
    let mut inner = section.inner(reader, "fallback")?;
    let fallback = if let Some(value) = inner.take(reader, "upstream") {
        let name = value::text(value.get_ref());
        let place = name.and_then(|name| {
            let place = names.iter().position(|known| *known == name);
            place.ok_or_else(|| unknown("upstream", name, names, None))
        });
        place.map_err(|problem| reader.mistake(value.span(), problem)).ok().map(Fallback::Upstream)
    } else if inner.has("file") {
        let status = inner.get(reader, "status", value::status(200, 599));
        let file = inner.take(reader, "file").and_then(|value| {
            let path = value::text(value.get_ref()).and_then(|text| value::file(reader.path(text)));
            path.map_err(|problem| reader.mistake(value.span(), problem)).ok()
        });
        reader.files.extend(file.clone());
        file.map(|path| Fallback::File { path, status: status.unwrap_or(reply::UNAVAILABLE) })
    } else {
        Some(Fallback::Respond(reply::fields(reader, &mut inner, reply::UNAVAILABLE)))
    };
    ["upstream", "file", "body"].into_iter().for_each(|name| inner.could_have(name));
    inner.only_one_of(reader, &["upstream", "file", "body"]);
    inner.end(reader, |_| None);
    fallback
}

/// Who falls back to somebody who falls back to him helps nobody.
fn circles(reader: &mut Reader<'_>, entries: &[Entry<'_>], upstreams: &[Upstream]) {
    let next = |place: usize| match upstreams[place].fallback {
        Some(Fallback::Upstream(next)) => Some(next),
        _ => None,
    };
    for (start, entry) in entries.iter().enumerate() {
        let mut way = vec![start];
        let mut at = next(start);
        while let Some(place) = at.filter(|place| *place == start || !way.contains(place)) {
            way.push(place);
            if place == start {
                break;
            }
            at = next(place);
        }
        // Each circle is told once, where its first member stands.
        if way.len() > 1 && way.last() == Some(&start) && way.iter().all(|place| *place >= start) {
            let names: Vec<String> =
                way.iter().map(|place| format!("`{}`", upstreams[*place].name)).collect();
            let problem = format!("falls back in a circle: {}; let one of them end it", names.join(" to "));
            reader.mistake(entry.span.clone(), problem);
        }
    }
}
