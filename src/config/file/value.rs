//! The kinds of values in a file: a reader gives what is meant, or what is wrong and how to write it.
//!
//! Where a flag has a spelling, it is the same here; numbers and truth values may stand without quotes.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use crate::config::resolve::{timeout_ms, timeout_ms_or_off};
use crate::config::{units, values};
use crate::http::Status;

/// How a value of the wrong kind is called.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "this is text",
        DeValue::Integer(_) | DeValue::Float(_) => "this is a number",
        DeValue::Boolean(_) => "this is true or false",
        DeValue::Datetime(_) => "this is a date",
        DeValue::Array(_) => "this is a list",
        DeValue::Table(_) => "this is a table",
    }
}

pub(super) fn text<'a>(value: &'a DeValue<'a>) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("{}, where text is needed; put it in quotes", kind(value)))
}

/// What a flag would have been given.
pub(super) fn flag_text(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(_) => whole(value).map(|number| number.to_string()),
        DeValue::Float(number) => Ok(String::from(number.as_str())),
        DeValue::Boolean(on) => Ok(String::from(values::switch_text(*on))),
        other => Err(format!("{}, where a single value is needed", kind(other))),
    }
}

fn whole(value: &DeValue<'_>) -> Result<i64, String> {
    let DeValue::Integer(number) = value else {
        return Err(format!("{}, where a whole number is needed", kind(value)));
    };
    i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| String::from("too large a number"))
}

/// A whole number; text of digits is one too, since a flag's is.
pub(super) fn count(least: u32, most: u32) -> impl Fn(&DeValue<'_>) -> Result<u32, String> {
    move |value| {
        let fix = format!("write a number from {least} to {most}");
        let number = match value {
            DeValue::String(text) => text.parse().map_err(|_| format!("not a count; {fix}"))?,
            other => whole(other).map_err(|problem| format!("{problem}; {fix}"))?,
        };
        match u32::try_from(number) {
            Ok(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(format!("out of range; {fix}")),
        }
    }
}

pub(super) fn duration(value: &DeValue<'_>) -> Result<u32, String> {
    timeout_ms(&flag_text(value)?)
}

pub(super) fn duration_or_off(value: &DeValue<'_>) -> Result<Option<u32>, String> {
    timeout_ms_or_off(&flag_text(value)?)
}

pub(super) fn size(value: &DeValue<'_>) -> Result<u64, String> {
    units::size_bytes(&flag_text(value)?)
}

/// `"20%"`, or the number alone.
pub(super) fn percent(value: &DeValue<'_>) -> Result<u32, String> {
    const FIX: &str = "write \"0%\" to \"100%\"";
    let text = flag_text(value)?;
    let digits = text.strip_suffix('%').unwrap_or(&text).trim();
    match digits.parse::<u32>() {
        Ok(share) if share <= 100 => Ok(share),
        Ok(_) => Err(format!("more than everything; {FIX}")),
        Err(_) => Err(format!("not a share; {FIX}")),
    }
}

pub(super) fn switch(value: &DeValue<'_>) -> Result<bool, String> {
    match value {
        DeValue::Boolean(on) => Ok(*on),
        DeValue::String(text) => values::switch(text),
        other => Err(format!("{}; write true or false", kind(other))),
    }
}

/// A status that may be sent and is final.
pub(super) fn status(least: u16, most: u16) -> impl Fn(&DeValue<'_>) -> Result<Status, String> {
    move |value| {
        let code = count(u32::from(least), u32::from(most))(value)?;
        let known =
            u16::try_from(code).ok().and_then(Status::from_code).filter(|status| !status.text().is_empty());
        known.ok_or_else(|| {
            let fit = [200, 404, 503].into_iter().filter(|code| (least..=most).contains(code));
            let fit: Vec<String> = fit.map(|code: u16| code.to_string()).collect();
            format!("no status that clients know; write one such as {}", fit.join(", "))
        })
    }
}

/// A name for people, logs and metrics.
pub(super) fn name(text: &str) -> Result<(), String> {
    const CHARS_MAX: usize = 100;
    match text.chars().count() {
        0 => Err(String::from("a name needs at least one letter")),
        chars if chars > CHARS_MAX => Err(format!("{chars} letters are too long a name; use {CHARS_MAX}")),
        _ if text.chars().any(char::is_control) => Err(String::from("a name holds no control characters")),
        _ => Ok(()),
    }
}

/// A field's name, in lower case (RFC 9110 section 5.6.2).
pub(super) fn field_name(text: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_token) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(String::from("no name that a field can have; write letters, digits and dashes")),
    }
}

/// What a field can say: a line break in it would begin another field.
pub(super) fn field_value(text: &str) -> Result<&str, String> {
    match text {
        _ if text.chars().any(char::is_control) => Err(String::from("a field holds no control characters")),
        _ if text.trim() != text => Err(String::from("a field cannot begin or end with a space; drop it")),
        _ => Ok(text),
    }
}

/// A file that can be read now.
pub(super) fn file(path: PathBuf) -> Result<PathBuf, String> {
    bytes(&path).map(|_| path)
}

/// What a file holds.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    const BYTES_MAX: u64 = 16 * 1024 * 1024;
    let shown = path.display();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {shown}; name a file that exists"),
        io::ErrorKind::IsADirectory => format!("{shown} is a folder; name a file"),
        io::ErrorKind::PermissionDenied => format!("{shown} may not be read by this user"),
        _ => format!("{shown} cannot be read: {error}"),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > BYTES_MAX {
        true => Err(format!("{shown} has more than 16 MiB")),
        false => Ok(bytes),
    }
}
