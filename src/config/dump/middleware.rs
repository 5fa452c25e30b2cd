//! What requests pass through, as [`file`](crate::config::file) reads it.

use super::page::{Page, array, key, quoted, table};
use super::route::template;
use super::upstream::key_text;
use crate::config::cidr::Cidr;
use crate::config::file::ALGORITHMS;
use crate::config::site::{Algorithm, BasicAuth, FieldEdit, Jwt, KeySource, Step, StepKind, Template};
use crate::config::units::duration_text;

pub(super) fn write_all(page: &mut Page<'_>, steps: &[Step]) {
    for step in steps {
        page.section(&format!("middleware.{}", step.name), &format!("[middleware.{}]", key(&step.name)));
        let (name, value) = kind(&step.kind);
        page.row(name, &value);
    }
}

fn kind(kind: &StepKind) -> (&'static str, String) {
    let on = || String::from("true");
    match kind {
        StepKind::RateLimit(limit) => {
            let rows = [
                ("requests", limit.requests.to_string()),
                ("per", quoted(&duration_text(limit.per_ms))),
                ("burst", limit.burst.to_string()),
                ("by", quoted(&key_text(&limit.by))),
                ("keys", limit.keys_max.to_string()),
            ];
            ("rate-limit", table(rows))
        }
        StepKind::Concurrency(limit) => {
            let rows = [
                ("requests", limit.requests.to_string()),
                ("by", quoted(&key_text(&limit.by))),
                ("keys", limit.keys_max.to_string()),
            ];
            ("concurrency", table(rows))
        }
        StepKind::Access { allow, deny } => ("access", access(allow, deny)),
        StepKind::Jwt(rules) => ("jwt", jwt(rules)),
        StepKind::Basic(rules) => ("basic", basic(rules)),
        StepKind::Fields { request, response } => {
            ("headers", table([("request", edits(request)), ("response", edits(response))]))
        }
        StepKind::RequestId => ("request-id", on()),
        StepKind::Trace => ("trace", on()),
        StepKind::Cors { origins } => {
            ("cors", table([("origins", array(origins.iter().map(|origin| quoted(origin))))]))
        }
        StepKind::SecureFields => ("secure-headers", on()),
    }
}

fn access(allow: &[Cidr], deny: &[Cidr]) -> String {
    let ranges = |ranges: &[Cidr]| array(ranges.iter().map(|range| quoted(&range.to_string())));
    let rows = [("allow", allow), ("deny", deny)];
    table(rows.into_iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| (name, ranges(list))))
}

fn basic(rules: &BasicAuth) -> String {
    let users = rules.users.iter().map(|user| (user.name.as_str(), quoted(&user.hash)));
    let mut rows = vec![("realm", quoted(&rules.realm)), ("users", table(users))];
    rows.extend(rules.field.as_ref().map(|field| ("field", quoted(field))));
    table(rows)
}

fn jwt(rules: &Jwt) -> String {
    let text = |text: &String| quoted(text);
    let mut rows = vec![("keys", array(rules.keys.iter().map(key_source)))];
    rows.extend(rules.issuer.as_ref().map(|issuer| ("issuer", text(issuer))));
    rows.push(("audience", array(rules.audiences.iter().map(text))));
    rows.push(("leeway", format!("\"{}s\"", rules.leeway_seconds)));
    rows.extend(rules.cookie.as_ref().map(|cookie| ("cookie", text(cookie))));
    rows.push(("claims", table(rules.claims.iter().map(|rule| (rule.claim.as_str(), text(&rule.field))))));
    rows.push(("realm", text(&rules.realm)));
    rows.push(("forward-token", rules.forwards_token.to_string()));
    table(rows)
}

fn key_source(source: &KeySource) -> String {
    let (algorithm, id, bytes) = match source {
        KeySource::Jwks(path) => return table([("jwks", quoted(&path.display().to_string()))]),
        KeySource::Local { algorithm, id, key } => (algorithm, id, key),
    };
    let word = ALGORITHMS.iter().find(|(_, known)| known == algorithm).map_or("", |(word, _)| *word);
    let mut rows = vec![("algorithm", quoted(word))];
    rows.extend(id.as_ref().map(|id| ("id", quoted(id))));
    rows.push(match (algorithm, std::str::from_utf8(bytes)) {
        (Algorithm::Hs256, Ok(text)) => ("secret", quoted(text)),
        (Algorithm::Hs256, Err(_)) => {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            ("secret-hex", quoted(&hex.concat()))
        }
        (_, _) => ("key", quoted(&String::from_utf8_lossy(bytes))),
    });
    table(rows)
}

/// Fields that are added under one name stand in one list.
fn edits(edits: &[FieldEdit]) -> String {
    let (mut remove, mut set) = (Vec::new(), Vec::new());
    let mut add: Vec<(&str, Vec<String>)> = Vec::new();
    let text = |value: &Template| quoted(&template(value, &[]));
    for edit in edits {
        match edit {
            FieldEdit::Remove(name) => remove.push(quoted(name)),
            FieldEdit::Set(name, value) => set.push((name.as_str(), text(value))),
            FieldEdit::Add(name, value) => match add.last_mut().filter(|(last, _)| last == name) {
                Some((_, values)) => values.push(text(value)),
                None => add.push((name, vec![text(value)])),
            },
        }
    }
    table([
        ("remove", array(remove)),
        ("set", table(set)),
        ("add", table(add.into_iter().map(|(name, values)| (name, array(values))))),
    ])
}
