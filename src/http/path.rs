//! From the path a client sent to the path that is meant.
//!
//! [`plain`] decodes percent escapes exactly once, merges doubled slashes and removes dot segments, in this
//! order, so every layer above sees one spelling of a path. What could mean two things to two readers is
//! refused, not repaired. A plain path begins with `/` and has no empty segment but the last, no dot segment,
//! no control byte and no backslash. Not here: what a path leads to, and which files hide (`gateway`).

use std::fmt::Write as _;

/// What a path comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlainPath {
    /// The path as sent is plain already; the usual case, and it costs no allocation.
    AsSent,
    /// This is what was meant.
    Decoded(String),
}

/// The rule that a refused path broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadPath {
    /// It does not begin with `/`.
    NotAbsolute,
    /// A `%` without two hexadecimal digits behind it.
    BrokenEscape,
    /// A byte that no path may hold as it is: white space, controls, beyond ASCII, `#`, `?`, backslash.
    ForbiddenByte,
    /// An escape that hides a control byte (CWE-158: `%00` would cut the name short).
    EncodedControl,
    /// An escape that hides a separator, `%2f` or `%5c`: some see one segment there, others two.
    EncodedSeparator,
    /// The escapes do not come to UTF-8; overlong forms such as `%c0%ae` are among these.
    NotUtf8,
    /// It climbs above the root.
    AboveRoot,
}

impl BadPath {
    /// A short name for logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            BadPath::NotAbsolute => "path_not_absolute",
            BadPath::BrokenEscape => "path_broken_escape",
            BadPath::ForbiddenByte => "path_forbidden_byte",
            BadPath::EncodedControl => "path_encoded_control",
            BadPath::EncodedSeparator => "path_encoded_separator",
            BadPath::NotUtf8 => "path_not_utf8",
            BadPath::AboveRoot => "path_above_root",
        }
    }
}

/// A byte that means itself.
const ORDINARY: u8 = 0;
/// A slash: worth a second look when a slash or a dot follows it.
const SLASH: u8 = 1;
/// What makes a path worth a second look anywhere: a percent sign, a backslash.
const ODD: u8 = 2;
/// What no path holds as it is, so that it ends there: a query, white space, controls, what is beyond ASCII.
const END: u8 = 3;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [END; 256];
    let mut byte = 0x21;
    while byte <= 0x7e {
        table[byte] = ORDINARY;
        byte += 1;
    }
    table[b'#' as usize] = END;
    table[b'?' as usize] = END;
    table[b'%' as usize] = ODD;
    table[b'\\' as usize] = ODD;
    table[b'/' as usize] = SLASH;
    table
}

/// How long the path is that `bytes` begin with, and whether it is plain as it stands; if not, ask [`plain`].
///
/// Every request passes here, and most paths are plain to their last byte.
#[must_use]
#[inline]
pub fn scan(bytes: &[u8]) -> (usize, bool) {
    let mut is_plain = true;
    let mut at = 0;
    loop {
        let class_of = |byte: &u8| CLASSES[usize::from(*byte)];
        let rest = &bytes[at..];
        let Some(ahead) = rest.iter().position(|byte| class_of(byte) != ORDINARY) else {
            return (bytes.len(), is_plain);
        };
        at += ahead;
        match class_of(&rest[ahead]) {
            END => return (at, is_plain),
            SLASH => is_plain &= !matches!(bytes.get(at + 1), Some(b'/' | b'.')),
            _ => is_plain = false,
        }
        at += 1;
    }
}

/// Finds the plain form of the path part of a target; the query is already cut off.
///
/// ```
/// use myriapod::http::path::{BadPath, PlainPath, plain};
///
/// assert_eq!(plain(b"/a/b"), Ok(PlainPath::AsSent));
/// assert_eq!(plain(b"/a/./%62//c/.."), Ok(PlainPath::Decoded("/a/b/".to_owned())));
/// assert_eq!(plain(b"/%2e%2e/etc/passwd"), Err(BadPath::AboveRoot));
/// ```
///
/// # Errors
/// The rule the path broke; see [`BadPath`].
#[cold]
pub fn plain(raw: &[u8]) -> Result<PlainPath, BadPath> {
    if raw.first() != Some(&b'/') {
        return Err(BadPath::NotAbsolute);
    }
    if scan(raw) == (raw.len(), true) {
        return Ok(PlainPath::AsSent);
    }
    let path = resolve(&decode(raw)?)?;
    // `/.well-known/x` and `/a/.../b` look odd and are not.
    Ok(if path.as_bytes() == raw { PlainPath::AsSent } else { PlainPath::Decoded(path) })
}

/// Writes a plain path so that [`plain`] reads it back, with every byte escaped that has a meaning elsewhere.
#[must_use]
pub fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        match byte {
            // RFC 3986 section 3.3: pchar, and the slash between segments.
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'/' | b'!' | b'$' | b'&' | b'(' | b')' | b'*' | b'+' | b','
            | b';' | b'=' | b':' | b'@' => out.push(char::from(byte)),
            _ => {
                // Writing into a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Undoes percent escapes, once: what comes out is never looked at for escapes again (CVE-2021-42013).
fn decode(raw: &[u8]) -> Result<String, BadPath> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else { return Err(BadPath::BrokenEscape) };
                rest = after;
                out.push(unescape(*high, *low)?);
            }
            0..=0x20 | 0x7f..=0xff | b'#' | b'?' | b'\\' => return Err(BadPath::ForbiddenByte),
            plain => out.push(*plain),
        }
    }
    String::from_utf8(out).map_err(|_| BadPath::NotUtf8)
}

/// The byte an escape stands for.
fn unescape(high: u8, low: u8) -> Result<u8, BadPath> {
    let digit = |byte: u8| char::from(byte).to_digit(16).ok_or(BadPath::BrokenEscape);
    match (digit(high)? << 4 | digit(low)?) as u8 {
        0..=0x1f | 0x7f => Err(BadPath::EncodedControl),
        b'/' | b'\\' => Err(BadPath::EncodedSeparator),
        byte => Ok(byte),
    }
}

/// Merges slashes and removes dot segments (RFC 3986 section 5.2.4). The path begins with a slash.
fn resolve(path: &str) -> Result<String, BadPath> {
    let mut out = String::with_capacity(path.len());
    let mut ends_open = false;
    for segment in path.split('/') {
        ends_open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            // RFC 3986 lets `..` at the root pass silently; nobody honest sends it.
            ".." => out.truncate(out.rfind('/').ok_or(BadPath::AboveRoot)?),
            name => {
                out.push('/');
                out.push_str(name);
            }
        }
    }
    // `/a/b/..` names the folder, like `/a/`, not a file `/a`.
    if ends_open {
        out.push('/');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The plain path as text, whichever way it came.
    fn meant(raw: &[u8]) -> Result<String, BadPath> {
        plain(raw).map(|path| match path {
            PlainPath::AsSent => String::from_utf8(raw.to_vec()).unwrap(),
            PlainPath::Decoded(path) => path,
        })
    }

    #[test]
    fn usual_paths_pass_as_sent() {
        for path in ["/", "/a", "/a/", "/a/b.html", "/a..b/c.", "/~x/y;z=1,2/@:!$&'()*+", "/a|b^`{}\"<>"] {
            assert_eq!(plain(path.as_bytes()), Ok(PlainPath::AsSent), "{path}");
            assert!(scan(path.as_bytes()) == (path.len(), true), "{path}");
        }
        for path in ["/.well-known/x", "/...", "/a/..b", "/.a."] {
            assert_eq!(plain(path.as_bytes()), Ok(PlainPath::AsSent), "{path}");
        }
    }

    #[test]
    fn escapes_slashes_and_dots_are_resolved() {
        let table = [
            ("/%41", "/A"),
            ("/a%20b", "/a b"),
            ("/%c3%a4", "/ä"),
            ("/a%3Fb%23", "/a?b#"),
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/.", "/"),
            ("/./", "/"),
            ("/a/.", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../", "/a/"),
            ("/a/b/../c", "/a/c"),
            ("/a//../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/%2e/a", "/a"),
            ("/a/...//", "/a/.../"),
            ("//host.example/..", "/"),
        ];
        for (raw, path) in table {
            assert_eq!(meant(raw.as_bytes()).as_deref(), Ok(path), "{raw}");
        }
    }

    #[test]
    fn escapes_are_undone_once_only() {
        assert_eq!(meant(b"/%252e%252e/a").as_deref(), Ok("/%2e%2e/a"));
        assert_eq!(meant(b"/%25%32%65").as_deref(), Ok("/%2e"));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let table: [(&[u8], BadPath); 31] = [
            (b"", BadPath::NotAbsolute),
            (b"*", BadPath::NotAbsolute),
            (b"a/b", BadPath::NotAbsolute),
            (b"/%", BadPath::BrokenEscape),
            (b"/%4", BadPath::BrokenEscape),
            (b"/%4g", BadPath::BrokenEscape),
            (b"/%+1", BadPath::BrokenEscape),
            (b"/%u0041", BadPath::BrokenEscape),
            (b"/%%41", BadPath::BrokenEscape),
            (b"/a b", BadPath::ForbiddenByte),
            (b"/a\tb", BadPath::ForbiddenByte),
            (b"/a\0", BadPath::ForbiddenByte),
            (b"/a\x7f", BadPath::ForbiddenByte),
            (b"/\xc3\xa4", BadPath::ForbiddenByte),
            (b"/a#b", BadPath::ForbiddenByte),
            (b"/a?b", BadPath::ForbiddenByte),
            (b"/..\\..", BadPath::ForbiddenByte),
            (b"/%00", BadPath::EncodedControl),
            (b"/a%00.html", BadPath::EncodedControl),
            (b"/%0d%0aX:1", BadPath::EncodedControl),
            (b"/%7F", BadPath::EncodedControl),
            (b"/..%2f..", BadPath::EncodedSeparator),
            (b"/a%2Fb", BadPath::EncodedSeparator),
            (b"/..%5c", BadPath::EncodedSeparator),
            (b"/%c0%ae%c0%ae/", BadPath::NotUtf8),
            (b"/..%c0%af", BadPath::NotUtf8),
            (b"/%ff", BadPath::NotUtf8),
            (b"/..", BadPath::AboveRoot),
            (b"/%2e%2e/a", BadPath::AboveRoot),
            (b"/a/../../b", BadPath::AboveRoot),
            (b"/.//..", BadPath::AboveRoot),
        ];
        for (raw, rule) in table {
            assert_eq!(plain(raw), Err(rule), "{:?}", String::from_utf8_lossy(raw));
        }
    }

    #[test]
    fn the_table_and_the_decoder_agree_on_every_byte() {
        for byte in 0..=255 {
            let passes = decode(&[b'/', byte]).is_ok();
            assert_eq!(CLASSES[usize::from(byte)] & ODD == 0, passes, "{byte:#x}");
        }
    }

    #[test]
    fn an_encoded_path_has_no_byte_with_a_meaning_elsewhere() {
        assert_eq!(encoded("/a b?c#d%e\"<>\\é"), "/a%20b%3Fc%23d%25e%22%3C%3E%5C%C3%A9");
        assert_eq!(encoded("/a-b/c.html;v=1"), "/a-b/c.html;v=1");
    }

    /// Paths out of the pieces that matter, far more telling than random bytes.
    fn paths() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "/",
            "//",
            ".",
            "..",
            "/..",
            "/.",
            "a",
            "bc",
            "%2e",
            "%2E",
            "%41",
            "%25",
            "%c3%a4",
            "%2f",
            "%00",
            "%c0%ae",
            "%",
            "#",
            "\\",
            "~",
            "index.html",
            "%3f",
        ]);
        prop::collection::vec(piece, 0..16).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn a_plain_path_has_nothing_left_to_resolve(raw in paths()) {
            if let Ok(path) = meant(raw.as_bytes()) {
                prop_assert!(path.starts_with('/'));
                prop_assert!(!path.contains("//"));
                prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(!path.bytes().any(|byte| byte < 0x20 || byte == 0x7f || byte == b'\\'));
            }
        }

        #[test]
        fn a_plain_path_stays_when_encoded_and_read_again(raw in paths()) {
            if let Ok(path) = meant(raw.as_bytes()) {
                prop_assert_eq!(meant(encoded(&path).as_bytes()), Ok(path));
            }
        }

        #[test]
        fn the_fast_way_agrees_with_the_slow_one(raw in paths()) {
            if scan(raw.as_bytes()) == (raw.len(), true) {
                prop_assert_eq!(resolve(&decode(raw.as_bytes()).unwrap()).unwrap(), raw);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut raw in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = plain(&raw);
            raw.insert(0, b'/');
            if scan(&raw) == (raw.len(), true) {
                prop_assert_eq!(resolve(&decode(&raw).unwrap()).unwrap().into_bytes(), raw);
            }
        }
    }
}
