//! An answer that is written in the file: `{ status = 503, body = "Back soon", content-type = "text/plain" }`.

use super::reader::Reader;
use super::section::Section;
use super::value;
use crate::config::site::FixedReply;
use crate::http::Status;

pub(super) const UNAVAILABLE: Status = Status::SERVICE_UNAVAILABLE;
const PLAIN: &str = "text/plain; charset=utf-8";

/// Text alone.
pub(super) fn plain(status: Status, body: &str) -> FixedReply {
    FixedReply { status, content_type: String::from(PLAIN), body: body.as_bytes().to_vec() }
}

/// The keys of an answer, in a table that may have others.
pub(super) fn fields(reader: &mut Reader<'_>, section: &mut Section<'_>, usual: Status) -> FixedReply {
    let status = section.get(reader, "status", value::status(200, 599)).unwrap_or(usual);
    let body = section.get(reader, "body", value::text).unwrap_or_default();
    let content_type = section.get(reader, "content-type", |value| {
        let text = value::text(value).and_then(value::field_value)?;
        match text.contains('/') && text.is_ascii() {
            true => Ok(text),
            false => Err(String::from("no type of content; write text/html or application/json")),
        }
    });
    if status.is_bodiless() && !body.is_empty() {
        reader.mistake(section.place("body"), format!("an answer with {} has no body", status.code()));
    }
    FixedReply {
        status,
        content_type: String::from(content_type.unwrap_or(PLAIN)),
        body: body.as_bytes().to_vec(),
    }
}
