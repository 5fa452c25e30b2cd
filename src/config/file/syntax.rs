//! What is no TOML, in fewer and better words than the parser has.
//!
//! The parser goes on after a mistake, which is what we want, and then often stumbles over the same thing
//! again: of each line the first fault is told.

use std::ops::Range;

use super::reader::Reader;

/// Letters of the file that a fix repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// Tells of what the parser has found.
pub(super) fn tell(reader: &mut Reader<'_>, text: &str, mut faults: Vec<(Range<usize>, &str)>) {
    faults.sort_by_key(|(span, _)| span.start);
    let is_open = faults.iter().any(|(_, message)| message.starts_with("unclosed array"));
    let mut line_before = 0;
    for (span, message) in faults {
        let line = reader.line(span.clone());
        // All that follows a list without an end is read as if it were in it.
        if is_open && message.contains("array") {
            reader.mistake(span, "the list above is not closed; write `]` behind it");
            return;
        }
        if line != line_before {
            reader.mistake(span.clone(), words(message, text.get(span).unwrap_or_default()));
        }
        line_before = line;
    }
}

fn words(message: &str, written: &str) -> String {
    if message.starts_with("string values must be quoted") {
        let shown: String = written.chars().take(SHOWN_CHARS_MAX).collect();
        return format!("text stands in quotes; write \"{}\"", shown.escape_debug());
    }
    format!("not TOML: {message}")
}
