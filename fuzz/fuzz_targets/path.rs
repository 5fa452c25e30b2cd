//! A path has one plain form, the one a slow and simple reader finds; what has two meanings is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use myriapod::http::path::{PlainPath, encoded, plain};

fuzz_target!(|data: &[u8]| {
    let ours = plain(data).ok().map(|path| match path {
        PlainPath::AsSent => String::from_utf8(data.to_vec()).expect("ASCII"),
        PlainPath::Decoded(path) => path,
    });
    assert_eq!(ours, simple(data));
    let Some(path) = ours else { return };
    let segments: Vec<&str> = path.split('/').collect();
    assert_eq!(segments[0], "");
    assert!(segments.iter().all(|segment| !matches!(*segment, "." | "..")));
    assert!(segments[1..segments.len() - 1].iter().all(|segment| !segment.is_empty()));
    assert!(!path.bytes().any(|byte| byte < 0x20 || byte == 0x7f || byte == b'\\'));
    let again = match plain(encoded(&path).as_bytes()).expect("plain stays plain") {
        PlainPath::AsSent => encoded(&path),
        PlainPath::Decoded(path) => path,
    };
    assert_eq!(again, path);
});

/// The same rules, told by segments and lists.
fn simple(raw: &[u8]) -> Option<String> {
    if !raw.starts_with(b"/") {
        return None;
    }
    let mut stack: Vec<Vec<u8>> = Vec::new();
    let mut is_folder = false;
    for segment in raw[1..].split(|byte| *byte == b'/') {
        let name = unescaped(segment)?;
        is_folder = matches!(&name[..], b"" | b"." | b"..");
        match &name[..] {
            b"" | b"." => {}
            b".." => drop(stack.pop()?),
            _ => stack.push(name),
        }
    }
    let mut path: Vec<u8> = stack.iter().flat_map(|name| [b"/", &name[..]].concat()).collect();
    if is_folder {
        path.push(b'/');
    }
    String::from_utf8(path).ok()
}

fn unescaped(segment: &[u8]) -> Option<Vec<u8>> {
    let mut name = Vec::new();
    let mut at = 0;
    while at < segment.len() {
        let byte = segment[at];
        at += 1;
        if byte != b'%' {
            if !byte.is_ascii_graphic() || b"#?\\".contains(&byte) {
                return None;
            }
            name.push(byte);
            continue;
        }
        let digits = segment.get(at..at + 2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        at += 2;
        let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if byte < 0x20 || matches!(byte, 0x7f | b'/' | b'\\') {
            return None;
        }
        name.push(byte);
    }
    // A segment dropped by a later `..` must be text as well.
    std::str::from_utf8(&name).ok()?;
    Some(name)
}
