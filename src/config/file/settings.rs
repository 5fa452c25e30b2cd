//! Settings that stand at the top of the file, under the names of their flags.

use std::path::Path;

use toml::de::DeValue;

use super::reader::Reader;
use super::section::{Section, Value};
use super::value::{flag_text, kind};
use crate::config::raw::{Place, Raw, Written};

/// Words that stand where a file's name may.
const NO_FILES: [&str; 5] = ["off", "stderr", "stdout", "on", "-"];

/// Takes every setting out of the file. What flags and the environment said already stays.
pub(super) fn read(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Raw {
    let mut raw = Raw::default();
    for (name, slot) in raw.slots() {
        *slot = section.take(reader, name).and_then(|value| written(reader, name, value));
    }
    let listen = section.several(reader, "listen");
    if listen.as_ref().is_some_and(Vec::is_empty) {
        reader
            .mistake(section.value_place("listen"), "this listens nowhere; name an address, or take it out");
    }
    for value in listen.unwrap_or_default() {
        let Some(written) = written(reader, "listen", value) else { continue };
        // One text may name several, as behind the flag.
        let texts = written.text.to_string_lossy().into_owned();
        let each = texts.split(',').map(|text| from_folder(reader, "listen", text));
        raw.listen.extend(each.map(|text| Written { text: text.into(), place: written.place }));
    }
    raw
}

fn written(reader: &mut Reader<'_>, name: &str, value: &Value<'_>) -> Option<Written> {
    let text = match value.get_ref() {
        DeValue::Array(_) if name == "pin" => list_text(value.get_ref()),
        other => flag_text(other),
    };
    let text = text.map_err(|problem| reader.mistake(value.span(), problem)).ok()?;
    let text = if name == "listen" { text } else { from_folder(reader, name, &text) };
    Some(Written { text: text.into(), place: Place::File(reader.spot(value.span())) })
}

/// `pin = [0, 2]`
fn list_text(value: &DeValue<'_>) -> Result<String, String> {
    let DeValue::Array(list) = value else { return Err(String::from(kind(value))) };
    let texts: Result<Vec<String>, String> = list.iter().map(|value| flag_text(value.get_ref())).collect();
    texts.map(|texts| texts.join(","))
}

/// Paths in a file begin where it stands, and not where the server was started.
fn from_folder(reader: &Reader<'_>, name: &str, text: &str) -> String {
    let whole = |path: &str| reader.path(path).to_string_lossy().into_owned();
    match name {
        "root" if !text.is_empty() => whole(text),
        "access-log" if !NO_FILES.contains(&text) && !text.is_empty() && is_path(text) => whole(text),
        "listen" | "admin" => match text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            Some(path) => format!("unix:{}", whole(path)),
            None => String::from(text),
        },
        _ => String::from(text),
    }
}

/// A word alone may be a slip for `stderr`, which is for the resolver to say.
fn is_path(text: &str) -> bool {
    text.contains(['/', '.']) || Path::new(text).is_absolute()
}

/// What to say of a key that stands in a table and is a setting of the server.
pub(super) fn elsewhere(name: &str) -> Option<String> {
    let is_setting = name == "listen" || Raw::default().slots().iter().any(|(known, _)| *known == name);
    is_setting.then(|| String::from("a setting of the server stands above the first [table]"))
}
