//! A head means the same however it is cut, means what `httparse` says, and keeps to the discipline of lines.
#![no_main]

mod cuts;

use libfuzzer_sys::fuzz_target;
use myriapod::config::Limits;
use myriapod::http::{Framing, HeadIndex, Request, Version};
use myriapod::proto::h1::head::{HeadScan, read};

fuzz_target!(|data: &[u8]| {
    let Some((seed, bytes)) = cuts::split(data) else { return };
    let limits = Limits { head_bytes_max: 1024, fields_max: 16, ..Limits::default() };
    // The machine skips empty lines before it reads.
    if bytes.is_empty() || matches!(bytes[0], b'\r' | b'\n') {
        return;
    }
    let (mut index, mut scan) = (HeadIndex::default(), HeadScan::NEW);
    let whole = read(bytes, &mut scan, &mut index, &limits);

    let (mut cut_index, mut cut_scan, mut seen) = (HeadIndex::default(), HeadScan::NEW, 0);
    let mut cut = Ok(None);
    for part in cuts::parts(seed, bytes) {
        seen += part.len();
        cut = read(&bytes[..seen], &mut cut_scan, &mut cut_index, &limits);
        if cut != Ok(None) {
            break;
        }
    }
    match (whole, cut) {
        (Ok(Some(())), Ok(Some(()))) => {
            assert_eq!(format!("{:?}", view(&index, bytes)), format!("{:?}", view(&cut_index, bytes)));
            is_disciplined(&index, bytes);
            is_what_httparse_says(&index, bytes);
        }
        (Ok(None), Ok(None)) | (Err(_), Err(_)) => {}
        (Err(_), Ok(None)) => assert!(!bytes.windows(4).any(|four| four == b"\r\n\r\n")),
        (whole, cut) => panic!("whole {whole:?}, cut {cut:?}"),
    }
});

/// Everything in an index that says something.
fn view<'a>(
    index: &'a HeadIndex,
    bytes: &'a [u8],
) -> (Request<'a>, [&'a [u8]; 4], Vec<(&'a [u8], &'a [u8])>) {
    let request = Request::new(index, bytes);
    let _ = request.path();
    let parts = [request.raw_path(), request.query(), request.host(), request.line()];
    (request, parts, request.fields().collect())
}

/// A reader that knows nothing but lines.
fn is_disciplined(index: &HeadIndex, bytes: &[u8]) {
    let head = &bytes[..usize::from(index.head_len)];
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    assert_eq!(end, Some(head.len()), "the head ends at the first empty line");
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\n' => assert_eq!(head[at - 1], b'\r'),
            b'\r' => assert_eq!(head[at + 1], b'\n'),
            0 => panic!("NUL"),
            _ => {}
        }
    }
    let text: Vec<u8> = head[..head.len() - 4].to_vec();
    let mut lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let line = lines.next().unwrap_or_default();
    assert_eq!(line.iter().filter(|byte| **byte == b' ').count(), 2, "three words");

    let (mut hosts, mut lengths, mut codings, mut count) = (0, Vec::new(), 0, 0);
    for line in lines {
        count += 1;
        let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
        let name = line[..colon].to_ascii_lowercase();
        assert!(!name.is_empty() && !name.iter().any(|byte| byte.is_ascii_whitespace()));
        let value = line[colon + 1..].trim_ascii();
        match &name[..] {
            b"host" => hosts += 1,
            b"content-length" => lengths.push(value.to_vec()),
            b"transfer-encoding" => {
                codings += 1;
                assert!(value.eq_ignore_ascii_case(b"chunked"));
            }
            _ => {}
        }
    }
    assert_eq!(count, usize::from(index.field_count));
    assert!(hosts <= 1 && (hosts == 1 || index.version == Version::Http10));
    assert!(lengths.len() + codings <= 1, "one framing at most");
    match (index.framing, lengths.first(), codings) {
        (Framing::Chunked, None, 1) => assert_eq!(index.version, Version::Http11),
        (Framing::Length(length), Some(text), 0) => {
            assert!(text.iter().all(u8::is_ascii_digit));
            assert_eq!(std::str::from_utf8(text).unwrap().parse(), Ok(length));
        }
        (Framing::None, None, 0) => {}
        (Framing::None, Some(text), 0) => assert!(!text.is_empty() && text.iter().all(|byte| *byte == b'0')),
        odd => panic!("{odd:?}"),
    }
}

fn is_what_httparse_says(index: &HeadIndex, bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut theirs = httparse::Request::new(&mut fields);
    let len = theirs.parse(bytes).expect("accepted by httparse too").unwrap();
    let ours = Request::new(index, bytes);
    assert_eq!(len, usize::from(index.head_len));
    assert_eq!(theirs.version, Some(u8::from(index.version == Version::Http11)));
    let line = [theirs.method.unwrap(), " ", theirs.path.unwrap(), " HTTP/1."].concat();
    assert!(ours.line().starts_with(line.as_bytes()));
    let theirs: Vec<_> = theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value)).collect();
    assert_eq!(ours.fields().collect::<Vec<_>>(), theirs);
}
