//! Reading a request head: where it ends, what its parts are, and how the body behind it is framed.
//!
//! The end of a head is the first CRLF CRLF, and only that: a lone LF is refused wherever it stands, so that the
//! resumable scan and the parser cannot disagree. `httparse` splits the lines; the rules it leaves to its users
//! (Host, framing, targets, line ends) are kept here, each by its number.
//! No byte is looked at more than twice for the end of a head, however it is cut.

use std::mem::MaybeUninit;
use std::net::Ipv6Addr;

use crate::config::Limits;
use crate::http::path::{self, PlainPath};
use crate::http::{FIELDS_MAX, FieldSpan, Framing, HeadIndex, Method, Span, Version};
use crate::proto::Violation;

/// How far a head that came in parts was searched for its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    scanned: u32,
}

impl HeadScan {
    /// Nothing was searched yet.
    pub const NEW: HeadScan = HeadScan { scanned: 0 };
}

/// RFC 9112 section 2.2: an empty line before a request is ignored. The length of the one that `bytes` begin with,
/// 0 when there is none; `None` when only its first half has come.
///
/// # Errors
/// [`Violation::BareLineFeed`] for a line that ends in LF alone.
pub fn empty_line(bytes: &[u8]) -> Result<Option<usize>, Violation> {
    match bytes {
        [b'\r', b'\n', ..] => Ok(Some(2)),
        [b'\r'] => Ok(None),
        [b'\n', ..] => Err(Violation::BareLineFeed),
        _ => Ok(Some(0)),
    }
}

/// Reads the head that `bytes` begin with into `index`. `None`: it is not complete yet.
///
/// # Errors
/// The rule that was broken, as soon as it is seen.
pub fn read(
    bytes: &[u8],
    scan: &mut HeadScan,
    index: &mut HeadIndex,
    limits: &Limits,
) -> Result<Option<()>, Violation> {
    // A head mostly comes whole, so the first look is the parser's. Only a head in parts is searched for its end
    // first: parsing it again at each part would cost its square.
    if scan.scanned > 0 && !reaches_end(bytes, scan)? {
        return within_limit(bytes, limits).map(|()| None);
    }
    if split(bytes, index, limits)? {
        return Ok(Some(()));
    }
    if reaches_end(bytes, scan)? {
        return Err(Violation::BadRequestLine);
    }
    within_limit(bytes, limits).map(|()| None)
}

/// Searches on from where the last look ended.
fn reaches_end(bytes: &[u8], scan: &mut HeadScan) -> Result<bool, Violation> {
    let from = scan.scanned as usize;
    for at in memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at) {
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(Violation::BareLineFeed);
        }
        if bytes[..at].ends_with(b"\r\n\r") {
            return Ok(true);
        }
    }
    scan.scanned = bytes.len() as u32;
    Ok(false)
}

/// What is too long, when the end of the head has not come within the limit.
fn within_limit(bytes: &[u8], limits: &Limits) -> Result<(), Violation> {
    if bytes.len() < limits.head_bytes_max as usize {
        return Ok(());
    }
    Err(too_long(bytes, limits))
}

/// What is over the limit, however much of the head has come: the request line alone, or all of it.
#[cold]
fn too_long(bytes: &[u8], limits: &Limits) -> Violation {
    let bytes = &bytes[..bytes.len().min(limits.head_bytes_max as usize)];
    let line_is_complete = memchr::memchr(b'\n', bytes).is_some();
    let has_target = memchr::memchr(b' ', bytes).is_some();
    match (line_is_complete, has_target) {
        (true, _) => Violation::HeadTooLong,
        (false, true) => Violation::TargetTooLong,
        (false, false) => Violation::BadRequestLine,
    }
}

/// Splits a complete head into lines, names and values. `false`: it is not complete.
fn split(bytes: &[u8], index: &mut HeadIndex, limits: &Limits) -> Result<bool, Violation> {
    // The parser would skip empty lines; offsets count from the first byte, so the caller has skipped them already.
    if matches!(bytes, [b'\r' | b'\n', ..]) {
        return Err(Violation::BadRequestLine);
    }
    let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let fields_max = (limits.fields_max as usize).min(FIELDS_MAX);
    let mut request = httparse::Request::new(&mut []);
    let head_len = match request.parse_with_uninit_headers(bytes, &mut lines[..fields_max]) {
        Ok(httparse::Status::Complete(len)) if len <= limits.head_bytes_max as usize => len,
        Ok(httparse::Status::Complete(_)) => return Err(too_long(bytes, limits)),
        Ok(httparse::Status::Partial) => return Ok(false),
        // Which answer a bad version gets shows at the end of its line.
        Err(httparse::Error::Version) if !bytes.contains(&b'\r') => return Ok(false),
        Err(error) => return Err(blame(error, bytes)),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Violation::BadRequestLine);
    };
    index.method = Method::from_bytes(method.as_bytes());
    index.version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    index.head_len = head_len as u16;
    index.line = Span::new(0, method.len() + 1 + target.len() + " HTTP/1.1".len());

    let mut facts = Facts::default();
    index.field_count = request.headers.len() as u8;
    for (span, field) in index.fields.iter_mut().zip(request.headers.iter()) {
        let name = span_of(bytes, field.name.as_bytes());
        line_ended_before(bytes, name.start())?;
        *span = FieldSpan { name, value: span_of(bytes, field.value) };
        facts.note(field.name.as_bytes(), field.value, span.value)?;
    }
    // RFC 9112 section 2.2: the empty line, and the end of the line before it.
    line_ended_before(bytes, head_len)?;
    line_ended_before(bytes, head_len - 2)?;

    facts.settle(index, limits)?;
    read_target(target.as_bytes(), method.len() + 1, bytes, index)?;
    Ok(true)
}

fn line_ended_before(bytes: &[u8], at: usize) -> Result<(), Violation> {
    if bytes[..at].ends_with(b"\r\n") { Ok(()) } else { Err(Violation::BareLineFeed) }
}

/// Where a slice that the parser cut out of `bytes` lies.
fn span_of(bytes: &[u8], part: &[u8]) -> Span {
    let start = (part.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    // The parser hands out `&""` of its own for an empty value; it needs no place.
    if start > bytes.len() { Span::default() } else { Span::new(start, part.len()) }
}

fn blame(error: httparse::Error, bytes: &[u8]) -> Violation {
    match error {
        httparse::Error::TooManyHeaders => Violation::TooManyFields,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Violation::BadField,
        httparse::Error::Version if names_other_version(bytes) => Violation::BadVersion,
        _ => Violation::BadRequestLine,
    }
}

/// Whether the request line is whole but for a well-formed version (RFC 9112 section 2.3) that is not one of ours.
fn names_other_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let (version, more) = (words.next().unwrap_or_default(), words.next());
    let is_version = matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit());
    is_version && more.is_none() && !matches!(version, b"HTTP/1.0" | b"HTTP/1.1")
}

/// What the field lines said about host, connection and body, before it is weighed together.
#[derive(Default)]
struct Facts {
    host: Option<Span>,
    length: Option<u64>,
    chunked: bool,
    coded: bool,
    close: bool,
    keep_alive: bool,
    expects: Option<Expectation>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expectation {
    Continue,
    Other,
}

impl Facts {
    /// Notes a field that the protocol itself must understand. Told apart by length first: most are none of these.
    #[inline]
    fn note(&mut self, name: &[u8], value: &[u8], span: Span) -> Result<(), Violation> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.note_host(value, span),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                let known = value.eq_ignore_ascii_case(b"100-continue");
                self.expects = Some(if known { Expectation::Continue } else { Expectation::Other });
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.note_connection(value);
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.note_coding(value),
            _ => Ok(()),
        }
    }

    /// RFC 9112 section 3.2: exactly one, and a valid one.
    fn note_host(&mut self, value: &[u8], span: Span) -> Result<(), Violation> {
        if self.host.is_some() {
            return Err(Violation::HostTwice);
        }
        self.host = Some(span);
        if is_authority(value) { Ok(()) } else { Err(Violation::BadHost) }
    }

    /// RFC 9112 section 9.3: `close` wins over `keep-alive`; other options are none of ours.
    fn note_connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// RFC 9112 section 6.3, 5. The leave to accept `5, 5` is not taken: it exists only because of broken senders.
    fn note_length(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.length.is_some() {
            return Err(Violation::LengthTwice);
        }
        self.length = Some(decimal(value).ok_or(Violation::BadLength)?);
        Ok(())
    }

    /// RFC 9112 section 6.1: `chunked`, once, and nothing else.
    fn note_coding(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.coded {
            return Err(Violation::BadCoding);
        }
        self.coded = true;
        self.chunked = value.eq_ignore_ascii_case(b"chunked");
        if self.chunked {
            return Ok(());
        }
        let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let is_list =
            codings.clone().all(|coding| !coding.is_empty() && coding.iter().copied().all(is_token_byte));
        let names_chunked_last =
            codings.next_back().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
        let names_chunked_before = codings.any(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        // 501 only for a sound list of codings that end in chunked, or one unknown coding: all else is malformed.
        let is_sound = is_list && !names_chunked_before;
        if is_sound && (names_chunked_last || !value.contains(&b',')) {
            return Err(Violation::UnknownCoding);
        }
        Err(Violation::BadCoding)
    }

    /// Weighs the fields together.
    fn settle(self, index: &mut HeadIndex, limits: &Limits) -> Result<(), Violation> {
        let is_http11 = index.version == Version::Http11;
        // RFC 9112 section 3.2
        if is_http11 && self.host.is_none() {
            return Err(Violation::HostMissing);
        }
        index.host = self.host.unwrap_or_default();
        // RFC 9112 section 6.3, 3: whoever sends both wants two readers to disagree.
        if self.coded && self.length.is_some() {
            return Err(Violation::LengthAndCoding);
        }
        // RFC 9112 section 6.1: HTTP/1.0 has no codings; its framing is faulty.
        if self.coded && !is_http11 {
            return Err(Violation::CodingInHttp10);
        }
        index.framing = match self.length {
            _ if self.chunked => Framing::Chunked,
            None | Some(0) => Framing::None,
            Some(length) if length > limits.body_bytes_max => return Err(Violation::BodyTooLarge),
            Some(length) => Framing::Length(length),
        };
        // RFC 9112 section 9.3
        index.persistent = !self.close && (is_http11 || self.keep_alive);
        // RFC 9110 section 10.1.1: ignored in HTTP/1.0, and where no body follows.
        let expects = self.expects.filter(|_| is_http11);
        if expects == Some(Expectation::Other) {
            return Err(Violation::UnknownExpectation);
        }
        index.expects_continue = expects.is_some() && index.framing != Framing::None;
        Ok(())
    }
}

/// RFC 9112 section 3.2: the four forms of a target, `start` bytes into the request.
#[inline]
fn read_target(target: &[u8], start: usize, bytes: &[u8], index: &mut HeadIndex) -> Result<(), Violation> {
    if index.method == Method::Connect {
        return Err(Violation::ConnectRefused);
    }
    match target {
        [b'/', ..] => read_path(target, start, index),
        b"*" if index.method == Method::Options => {
            index.path = Span::new(start, 1);
            index.query = Span::default();
            index.plain_path = None;
            Ok(())
        }
        _ => read_absolute(target, start, bytes, index),
    }
}

/// RFC 9112 section 3.2.1: path and query.
#[inline]
fn read_path(target: &[u8], start: usize, index: &mut HeadIndex) -> Result<(), Violation> {
    let path_len = memchr::memchr(b'?', target).unwrap_or(target.len());
    index.path = Span::new(start, path_len);
    index.query = match target.get(path_len + 1..) {
        Some(query) if !query.iter().all(|byte| matches!(byte, 0x21..=0x7e) && *byte != b'#') => {
            return Err(Violation::BadTarget);
        }
        Some(query) => Span::new(start + path_len + 1, query.len()),
        None => Span::default(),
    };
    index.plain_path = match path::plain(&target[..path_len]) {
        Ok(PlainPath::AsSent) => None,
        Ok(PlainPath::Decoded(path)) => Some(path),
        Err(_) => return Err(Violation::BadTarget),
    };
    Ok(())
}

/// RFC 9112 section 3.2.2: the authority of the target replaces the one in `Host`.
fn read_absolute(target: &[u8], start: usize, bytes: &[u8], index: &mut HeadIndex) -> Result<(), Violation> {
    let scheme_len = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)))
        .ok_or(Violation::BadTarget)?
        .len();
    let rest = &target[scheme_len..];
    let authority_len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let authority = &rest[..authority_len];
    if authority.is_empty() || !is_authority(authority) {
        return Err(Violation::BadTarget);
    }
    index.host = span_of(bytes, authority);
    let path_start = start + scheme_len + authority_len;
    match &rest[authority_len..] {
        path @ [b'/', ..] => read_path(path, path_start, index),
        // RFC 9110 section 4.2.3: an empty path means `/`.
        query => {
            index.path = Span::new(path_start, 0);
            index.query = Span::new((path_start + 1).min(bytes.len()), query.len().saturating_sub(1));
            index.plain_path = Some("/".to_owned());
            let is_clean = query.iter().all(|byte| matches!(byte, 0x21..=0x7e) && *byte != b'#');
            if is_clean { Ok(()) } else { Err(Violation::BadTarget) }
        }
    }
}

/// RFC 9110 section 8.6: digits, nothing else, within 64 bits.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// RFC 3986 section 3.2.2: a host, and perhaps a port. An empty host is grammatical (RFC 9110 section 7.2).
#[inline]
fn is_authority(text: &[u8]) -> bool {
    if let Some(literal) = text.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', literal) else { return false };
        let is_address =
            std::str::from_utf8(&literal[..end]).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
        return is_address && is_port_suffix(&literal[end + 1..]);
    }
    let host_len = text.iter().position(|byte| !HOST_BYTES[usize::from(*byte)]).unwrap_or(text.len());
    is_port_suffix(&text[host_len..])
}

fn is_port_suffix(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', port @ ..] => port.is_empty() || decimal(port).is_some_and(|port| port <= 65_535),
        _ => false,
    }
}

/// RFC 3986 `reg-name`: unreserved, percent escapes and sub-delims; what only quotes or splits is left out.
const HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'%'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            );
        byte += 1;
    }
    table
};

/// RFC 9110 section 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(head: &str) -> Result<HeadIndex, Violation> {
        let mut index = HeadIndex::default();
        let limits = Limits::default();
        read(head.as_bytes(), &mut HeadScan::default(), &mut index, &limits)?.expect("the head is complete");
        Ok(index)
    }

    fn with(fields: &str) -> Result<HeadIndex, Violation> {
        verdict(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    /// The same verdict, however the head is cut; and the same as when it comes whole, except that what can be
    /// refused early may be refused early.
    #[test]
    fn cutting_a_head_does_not_change_its_verdict() {
        let heads = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        ];
        for head in heads {
            let bytes = head.as_bytes();
            let whole = verdict(head).map(|index| index.head_len);
            for cut in 1..bytes.len() {
                let (mut scan, mut index) = (HeadScan::default(), HeadIndex::default());
                let first = read(&bytes[..cut], &mut scan, &mut index, &Limits::default());
                let then = first.and_then(|none| {
                    assert_eq!(none, None, "{head:?} complete at {cut}");
                    read(bytes, &mut scan, &mut index, &Limits::default())
                });
                assert_eq!(then.is_ok(), whole.is_ok(), "{head:?} cut at {cut}: {then:?}");
            }
        }
    }

    #[test]
    fn lone_line_feeds_are_refused_wherever_they_stand() {
        for head in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: z\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\n\n",
        ] {
            assert_eq!(verdict(head).unwrap_err(), Violation::BareLineFeed, "{head:?}");
        }
    }

    #[test]
    fn lengths_are_digits_once() {
        for bad in ["+5", "-5", "5, 5", "0x5", "5 5", "", "18446744073709551616", "5;", "\u{665}"] {
            assert_eq!(
                with(&format!("Content-Length: {bad}\r\n")).unwrap_err(),
                Violation::BadLength,
                "{bad:?}"
            );
        }
        assert_eq!(with("Content-Length: 5\r\nContent-Length: 5\r\n").unwrap_err(), Violation::LengthTwice);
        assert_eq!(with("Content-Length: 0005\r\n").unwrap().framing, Framing::Length(5));
        assert_eq!(with("Content-Length: 0\r\n").unwrap().framing, Framing::None);
    }

    #[test]
    fn codings_are_chunked_or_refused() {
        assert_eq!(with("Transfer-Encoding: Chunked\r\n").unwrap().framing, Framing::Chunked);
        for (coding, violation) in [
            ("gzip, chunked", Violation::UnknownCoding),
            ("identity", Violation::UnknownCoding),
            ("chunked, gzip", Violation::BadCoding),
            ("chunked, chunked", Violation::BadCoding),
            ("chunked,", Violation::BadCoding),
            ("", Violation::BadCoding),
            ("\u{b}chunked", Violation::BadField),
        ] {
            let got = with(&format!("Transfer-Encoding: {coding}\r\n")).unwrap_err();
            assert_eq!(got, violation, "{coding:?}");
        }
        let both = "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n";
        assert_eq!(with(both).unwrap_err(), Violation::LengthAndCoding);
        let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(with(twice).unwrap_err(), Violation::BadCoding);
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(verdict(old).unwrap_err(), Violation::CodingInHttp10);
    }

    #[test]
    fn hosts_are_hosts() {
        for good in ["a", "a.b:80", "127.0.0.1:8080", "[::1]", "[::1]:80", "", "a:", "xn--a_b~c"] {
            assert!(verdict(&format!("GET / HTTP/1.1\r\nHost: {good}\r\n\r\n")).is_ok(), "{good:?}");
        }
        for bad in [
            "a b",
            "u@a",
            "a/x",
            "a:80:80",
            "a:b",
            "[::1",
            "a<b>",
            "\"a\"",
            "http://a/",
            "a#f",
            "a?q",
            "a\\b",
            "a:65536",
            "é",
        ] {
            let got = verdict(&format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n")).unwrap_err();
            assert_eq!(got, Violation::BadHost, "{bad:?}");
        }
        assert_eq!(verdict("GET / HTTP/1.1\r\n\r\n").unwrap_err(), Violation::HostMissing);
        assert!(verdict("GET / HTTP/1.0\r\n\r\n").is_ok());
    }

    #[test]
    fn targets_have_four_forms_and_three_are_served() {
        let head = |line: &str| verdict(&format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let absolute = head("GET http://b:1/x?y").unwrap();
        let bytes = b"GET http://b:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(
            (absolute.host.of(bytes), absolute.path.of(bytes), absolute.query.of(bytes)),
            (&b"b:1"[..], &b"/x"[..], &b"y"[..])
        );
        assert_eq!(head("GET HTTP://b").unwrap().plain_path.as_deref(), Some("/"));
        assert_eq!(head("GET http://b?q").unwrap().plain_path.as_deref(), Some("/"));
        assert!(head("OPTIONS *").is_ok());
        for bad in [
            "GET *",
            "GET a:80",
            "GET index.html",
            "GET ftp://a/",
            "GET http:///",
            "GET http://[::1/",
            "GET /a#b",
            "GET /?a#b",
        ] {
            assert_eq!(head(bad).unwrap_err(), Violation::BadTarget, "{bad:?}");
        }
        assert_eq!(head("CONNECT a:80").unwrap_err(), Violation::ConnectRefused);
    }

    #[test]
    fn versions_that_are_not_ours_are_told_apart_from_nonsense() {
        let line = |version: &str| verdict(&format!("GET / {version}\r\nHost: a\r\n\r\n")).unwrap_err();
        assert_eq!(line("HTTP/2.0"), Violation::BadVersion);
        assert_eq!(line("HTTP/1.2"), Violation::BadVersion);
        assert_eq!(line("HTTP/1.10"), Violation::BadRequestLine);
        assert_eq!(line("http/1.1"), Violation::BadRequestLine);
    }

    #[test]
    fn what_is_too_long_is_named() {
        let long = "a".repeat(20_000);
        let none = |head: String| {
            read(head.as_bytes(), &mut HeadScan::default(), &mut HeadIndex::default(), &Limits::default())
                .unwrap_err()
        };
        assert_eq!(none(format!("GET /{long}")), Violation::TargetTooLong);
        assert_eq!(none(format!("GET / HTTP/1.1\r\nX: {long}")), Violation::HeadTooLong);
        assert_eq!(none(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")), Violation::HeadTooLong);
        assert_eq!(none(long), Violation::BadRequestLine);
        let many = "X: y\r\n".repeat(101);
        assert_eq!(none(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")), Violation::TooManyFields);
    }

    #[test]
    fn persistence_follows_version_and_options() {
        let head = |version: &str, option: &str| {
            verdict(&format!("GET / HTTP/{version}\r\nHost: a\r\nConnection: {option}\r\n\r\n"))
                .unwrap()
                .persistent
        };
        assert!(head("1.1", "x"));
        assert!(!head("1.1", "keep-alive, Close"));
        assert!(!head("1.0", "x"));
        assert!(head("1.0", "Keep-Alive"));
    }

    #[test]
    fn expectations_are_known_or_refused() {
        assert!(with("Content-Length: 1\r\nExpect: 100-Continue\r\n").unwrap().expects_continue);
        assert!(!with("Expect: 100-continue\r\n").unwrap().expects_continue);
        assert_eq!(with("Expect: 200-maybe\r\n").unwrap_err(), Violation::UnknownExpectation);
        assert!(verdict("POST / HTTP/1.0\r\nExpect: 200-maybe\r\n\r\n").is_ok());
    }
}
