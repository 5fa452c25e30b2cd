//! Entity tags: making them, and finding them in `If-Match` and `If-None-Match` (RFC 9110 section 8.8.3).

use std::fmt::Write as _;

use crate::gateway::handler::files::root::OpenFile;

/// The strong tag of a file: its inode, size and time of writing. Another file of that name has another
/// inode, so a deployment by rename changes the tag even when size and time agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ETag(String);

/// How two tags are compared (RFC 9110 section 8.8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// Both must be strong.
    Strong,
    /// `W/` is overlooked.
    Weak,
}

impl ETag {
    pub(super) fn of(file: &OpenFile) -> ETag {
        let (seconds, nanoseconds) = file.modified;
        let mut text = String::with_capacity(48);
        // Writing into a String cannot fail.
        let _ = write!(text, "\"{:x}-{:x}-{seconds:x}-{nanoseconds:x}\"", file.inode, file.len);
        ETag(text)
    }

    /// Whether a field line names this tag: `*`, or a list with the tag in it. What follows a broken tag is
    /// not looked at.
    pub(super) fn is_in(&self, line: &[u8], comparison: Comparison) -> bool {
        line.trim_ascii() == b"*" || tags(line).any(|tag| self.is(&tag, comparison))
    }

    /// Whether a value is this tag, alone and strong, as `If-Range` demands.
    pub(super) fn is_exactly(&self, value: &[u8]) -> bool {
        value == self.0.as_bytes()
    }

    fn is(&self, tag: &Tag<'_>, comparison: Comparison) -> bool {
        (comparison == Comparison::Weak || !tag.weak) && tag.quoted == self.0.as_bytes()
    }
}

impl AsRef<[u8]> for ETag {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A tag as a client sent it.
struct Tag<'a> {
    weak: bool,
    quoted: &'a [u8],
}

/// The tags of one line, up to the first thing that is none. A comma may be part of a tag, so quotes are
/// counted, not commas.
fn tags(line: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let weak = rest.starts_with(b"W/");
        let text = if weak { &rest[2..] } else { rest };
        let inner = text.strip_prefix(b"\"")?;
        let end = memchr::memchr(b'"', inner)? + 2;
        rest = &text[end..];
        Some(Tag { weak, quoted: &text[..end] })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> ETag {
        ETag("\"1-2-3-4\"".to_owned())
    }

    #[test]
    fn a_tag_is_found_in_any_place_of_a_list() {
        let table: [(&[u8], bool, bool); 14] = [
            (b"\"1-2-3-4\"", true, true),
            (b"*", true, true),
            (b" * ", true, true),
            (b"W/\"1-2-3-4\"", false, true),
            (b"\"a\", \"b,c\" ,\t\"1-2-3-4\" , \"d\"", true, true),
            (b"\"a\",,,W/\"1-2-3-4\"", false, true),
            (b"W/\"a\", \"1-2-3-4\"", true, true),
            (b"\"a,1-2-3-4\"", false, false),
            (b"1-2-3-4", false, false),
            (b"w/\"1-2-3-4\"", false, false),
            (b"\"1-2-3-4", false, false),
            (b"\"a\", b, \"1-2-3-4\"", false, false),
            (b"*, \"a\"", false, false),
            (b"", false, false),
        ];
        for (line, strong, weak) in table {
            let text = String::from_utf8_lossy(line);
            assert_eq!(ours().is_in(line, Comparison::Strong), strong, "{text}");
            assert_eq!(ours().is_in(line, Comparison::Weak), weak, "{text}");
        }
    }

    #[test]
    fn a_range_condition_takes_one_strong_tag() {
        assert!(ours().is_exactly(b"\"1-2-3-4\""));
        assert!(!ours().is_exactly(b"W/\"1-2-3-4\""));
        assert!(!ours().is_exactly(b"*"));
        assert!(!ours().is_exactly(b"\"1-2-3-4\", \"a\""));
    }
}
