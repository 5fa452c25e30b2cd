//! `headers = { request = { set = { x-a = "b" }, add = { ... }, remove = ["x-b"] }, response = { ... } }`.

use toml::de::DeValue;

use super::pattern;
use super::reader::Reader;
use super::section::{Entry, Section};
use super::value;
use crate::config::site::{FieldEdit, StepKind, Template};

/// Fields that frame a message or belong to one connection: nobody else may write them.
const OURS: [&str; 10] = [
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
];

pub(super) fn read(reader: &mut Reader<'_>, mut section: Section<'_>) -> StepKind {
    if !section.is_there("request") && !section.is_there("response") {
        reader.mistake(
            section.span.clone(),
            "changes nothing; give it request = { set = { ... } } or response",
        );
    }
    let request = section.inner(reader, "request").map(|inner| edits(reader, inner)).unwrap_or_default();
    let response = section.inner(reader, "response").map(|inner| edits(reader, inner)).unwrap_or_default();
    section.end(reader, |_| None);
    StepKind::Fields { request, response }
}

/// First what is taken out, then what is set, then what is added.
fn edits(reader: &mut Reader<'_>, mut section: Section<'_>) -> Vec<FieldEdit> {
    let remove = section.list(reader, "remove", |value| name(value::text(value)?)).unwrap_or_default();
    let mut edits: Vec<FieldEdit> = remove.into_iter().map(FieldEdit::Remove).collect();
    let mut set: Vec<String> = Vec::new();
    for entry in entries(reader, &mut section, "set") {
        let Some((name, value)) = pair(reader, &entry, entry.value.get_ref()) else { continue };
        if set.iter().any(|taken| taken.eq_ignore_ascii_case(&name)) {
            reader.mistake(entry.span, format!("`{name}` is set twice; case does not matter in names"));
        }
        set.push(name.clone());
        edits.push(FieldEdit::Set(name, value));
    }
    for entry in entries(reader, &mut section, "add") {
        let values: Vec<&DeValue<'_>> = match entry.value.get_ref() {
            DeValue::Array(list) => list.iter().map(toml::Spanned::get_ref).collect(),
            value => vec![value],
        };
        for value in values {
            let pair = pair(reader, &entry, value);
            edits.extend(pair.map(|(name, value)| FieldEdit::Add(name, value)));
        }
    }
    section.end(reader, |_| None);
    edits
}

fn entries<'a>(reader: &mut Reader<'_>, section: &mut Section<'a>, name: &'static str) -> Vec<Entry<'a>> {
    section.inner(reader, name).map(|inner| inner.entries(reader)).unwrap_or_default()
}

fn pair(reader: &mut Reader<'_>, entry: &Entry<'_>, value: &DeValue<'_>) -> Option<(String, Template)> {
    let name = name(entry.name).map_err(|problem| reader.mistake(entry.span.clone(), problem));
    // It stands in many routes, whose paths have other parameters.
    let text = value::flag_text(value).and_then(|text| {
        value::field_value(&text)?;
        pattern::template(&text, &[])
    });
    let text = text.map_err(|problem| reader.mistake(entry.value.span(), problem));
    Some((name.ok()?, text.ok()?))
}

fn name(text: &str) -> Result<String, String> {
    match value::field_name(text)?.as_str() {
        "host" => Err(String::from("the Host upstream is the route's: write host-header there")),
        "server" => Err(String::from(
            "`Server` of an upstream is never passed on; for ours write server-header above the tables",
        )),
        name if OURS.contains(&name) => Err(format!("`{name}` is written by the server alone")),
        _ => Ok(String::from(text)),
    }
}
