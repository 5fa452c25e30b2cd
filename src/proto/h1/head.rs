//! Reading a request head: where it ends, what its parts are, and how the body behind it is framed.
//!
//! The end of a head is the first CRLF CRLF, and only that: a lone LF is refused wherever it stands, so that the
//! resumable scan and the splitter cannot disagree. Every rule stands here by its number, in one pass over the bytes.
//! However a head is cut, each byte is looked at a constant number of times.
//! Our own and not `httparse`, which accepts lone LF and leaves Host, framing and targets to a second pass: half the
//! instructions per head (`benches/head.rs`). `fuzz/fuzz_targets/head.rs` holds the two against each other.

use std::net::Ipv6Addr;

use crate::config::Limits;
use crate::http::path::{self, PlainPath};
use crate::http::{
    FIELDS_MAX, FieldSpan, Framing, HEAD_BYTES_MAX, HeadIndex, KnownHost, Method, Span, Version,
};
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
    match split(bytes, index, limits) {
        Ok(()) => return Ok(Some(())),
        Err(Stop::Broken(violation)) => return Err(violation),
        Err(Stop::Partial) => {}
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

/// Why splitting came to no end.
enum Stop {
    /// The bytes ran out; so far they are sound.
    Partial,
    /// A rule is broken.
    Broken(Violation),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Stop {
        Stop::Broken(violation)
    }
}

/// Splits a head into lines, names and values.
#[inline]
fn split(bytes: &[u8], index: &mut HeadIndex, limits: &Limits) -> Result<(), Stop> {
    let mut facts = Facts::default();
    let mut at = split_request_line(bytes, index, &mut facts)?;
    let mut count = 0;
    while byte_at(bytes, at)? != b'\r' {
        if count == FIELDS_MAX || count == limits.fields_max as usize {
            return Err(Violation::TooManyFields.into());
        }
        let (field, end) = split_field_line(bytes, at)?;
        index.fields[count] = field;
        facts.note(field.name.of(bytes), field.value.of(bytes), field.value, &mut index.known_host)?;
        count += 1;
        at = end;
    }
    let head_len = line_end(bytes, at)?;
    if head_len > limits.head_bytes_max as usize {
        return Err(too_long(bytes, limits).into());
    }
    index.head_len = head_len as u16;
    index.field_count = count as u8;
    Ok(facts.settle(index, limits)?)
}

/// RFC 9112 section 3: `method SP request-target SP HTTP-version CRLF`, one space each. Tells the offset behind it.
#[inline]
fn split_request_line(bytes: &[u8], index: &mut HeadIndex, facts: &mut Facts) -> Result<usize, Stop> {
    let method_end = read_method(bytes, index)?;
    let target_end = read_target(bytes, method_end + 1, index, facts)?;
    match bytes[target_end] {
        b' ' => {}
        b'\r' | b'\n' => return Err(blame_line(bytes).into()),
        _ => return Err(Violation::BadTarget.into()),
    }
    let version = &bytes[target_end + 1..];
    let Some(line) = version.first_chunk::<VERSION_LINE_LEN>() else {
        // Which answer a bad version gets shows at the end of its line.
        return Err(if begins_version(version) { Stop::Partial } else { blame_line(bytes).into() });
    };
    index.version = match line {
        b"HTTP/1.1\r\n" => Version::Http11,
        b"HTTP/1.0\r\n" => Version::Http10,
        // RFC 9112 section 2.3: a well-formed version that is not one of ours is 505, not nonsense.
        _ if begins_version(line) => return Err(Violation::BadVersion.into()),
        _ => return Err(blame_line(bytes).into()),
    };
    let end = target_end + 1 + VERSION_LINE_LEN;
    index.line = Span::new(0, end - 2);
    Ok(end)
}

/// `HTTP/1.1` and its line end.
const VERSION_LINE_LEN: usize = 10;

/// Tells where the method ends; a space stands there.
#[inline]
fn read_method(bytes: &[u8], index: &mut HeadIndex) -> Result<usize, Stop> {
    if bytes.starts_with(b"GET ") {
        index.method = Method::Get;
        return Ok(3);
    }
    let end = run_end(bytes, 0, TOKEN)?;
    if end == 0 || bytes[end] != b' ' {
        return Err(blame_line(bytes).into());
    }
    index.method = Method::from_bytes(&bytes[..end]);
    // RFC 9110 section 9.3.6: only a proxy grants it, and what follows may be anything.
    if index.method == Method::Connect { Err(Violation::ConnectRefused.into()) } else { Ok(end) }
}

/// RFC 9112 section 3.2: the forms of a target, of which authority-form is CONNECT's. Tells where it ends.
#[inline]
fn read_target(bytes: &[u8], start: usize, index: &mut HeadIndex, facts: &mut Facts) -> Result<usize, Stop> {
    match &bytes[start..] {
        [b'/', ..] => read_path(bytes, start, index),
        [b'*', b' ', ..] if index.method == Method::Options => {
            (index.path, index.query, index.plain_path) = (Span::new(start, 1), Span::default(), None);
            Ok(start + 1)
        }
        _ => read_absolute(bytes, start, index, facts),
    }
}

/// RFC 9112 section 3.2.1: path and query. Tells where they end.
#[inline]
fn read_path(bytes: &[u8], start: usize, index: &mut HeadIndex) -> Result<usize, Stop> {
    let (path_len, is_plain) = path::scan(&bytes[start..]);
    let path_end = fitting(start + path_len)?;
    let mut end = path_end;
    index.query = Span::default();
    if byte_at(bytes, path_end)? == b'?' {
        end = fitting(run_end(bytes, path_end + 1, TARGET)?)?;
        index.query = Span::new(path_end + 1, end - path_end - 1);
    }
    index.path = Span::new(start, path_len);
    index.plain_path = None;
    if !is_plain {
        index.plain_path = match path::plain(&bytes[start..path_end]) {
            Ok(PlainPath::AsSent) => None,
            Ok(PlainPath::Decoded(path)) => Some(path),
            Err(_) => return Err(Violation::BadTarget.into()),
        };
    }
    Ok(end)
}

/// RFC 9112 section 3.2.2: `http://authority/path?query`. Tells where it ends.
fn read_absolute(
    bytes: &[u8],
    start: usize,
    index: &mut HeadIndex,
    facts: &mut Facts,
) -> Result<usize, Stop> {
    let end = fitting(run_end(bytes, start, TARGET)?)?;
    let target = &bytes[start..end];
    if target.is_empty() || matches!(bytes[end], b'\r' | b'\n') {
        return Err(blame_line(bytes).into());
    }
    let scheme_len = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)))
        .ok_or(Violation::BadTarget)?
        .len();
    let rest = &target[scheme_len..];
    let authority_len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    if authority_len == 0 || !is_authority(&rest[..authority_len]) {
        return Err(Violation::BadTarget.into());
    }
    facts.authority = Some(Span::new(start + scheme_len, authority_len));
    let path_at = start + scheme_len + authority_len;
    if bytes[path_at] == b'/' {
        return read_path(bytes, path_at, index);
    }
    // RFC 9110 section 4.2.3: an empty path means `/`.
    let query_at = end.min(path_at + 1);
    index.path = Span::new(path_at, 0);
    index.query = Span::new(query_at, end - query_at);
    index.plain_path = Some("/".to_owned());
    Ok(end)
}

/// RFC 9112 section 5: `field-name ":" OWS field-value OWS CRLF`. No space before the colon (5.1), no folding (5.2).
/// Tells the offset behind it as well.
#[inline]
fn split_field_line(bytes: &[u8], at: usize) -> Result<(FieldSpan, usize), Stop> {
    let colon = run_end(bytes, at, TOKEN)?;
    match bytes[colon] {
        b':' if colon > at => {}
        b'\n' => return Err(Violation::BareLineFeed.into()),
        _ => return Err(Violation::BadField.into()),
    }
    let mut start = colon + 1;
    while is_blank(byte_at(bytes, start)?) {
        start += 1;
    }
    let value_end = value_end(bytes, start)?;
    let end = line_end(bytes, value_end)?;
    if end > HEAD_BYTES_MAX {
        return Err(Violation::HeadTooLong.into());
    }
    let mut trimmed = value_end;
    while trimmed > start && is_blank(bytes[trimmed - 1]) {
        trimmed -= 1;
    }
    let field = FieldSpan { name: Span::new(at, colon - at), value: Span::new(start, trimmed - start) };
    Ok((field, end))
}

/// RFC 9110 section 5.6.3: optional white space.
#[inline]
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[inline]
fn byte_at(bytes: &[u8], at: usize) -> Result<u8, Stop> {
    bytes.get(at).copied().ok_or(Stop::Partial)
}

/// An offset that spans can hold.
#[inline]
fn fitting(offset: usize) -> Result<usize, Violation> {
    if offset + VERSION_LINE_LEN < HEAD_BYTES_MAX { Ok(offset) } else { Err(Violation::TargetTooLong) }
}

/// The offset behind the CRLF that must stand at `at`.
#[inline]
fn line_end(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    match &bytes[at..] {
        [b'\r', b'\n', ..] => Ok(at + 2),
        [b'\r'] => Err(Stop::Partial),
        [b'\n', ..] => Err(Violation::BareLineFeed.into()),
        _ => Err(Violation::BadField.into()),
    }
}

/// Where the run of bytes of that class that begins at `from` ends, at a byte that is there.
#[inline]
fn run_end(bytes: &[u8], from: usize, class: u8) -> Result<usize, Stop> {
    let mut at = from;
    while CLASSES[usize::from(byte_at(bytes, at)?)] & class != 0 {
        at += 1;
    }
    Ok(at)
}

/// Where a field value ends: at a control, but for HTAB (RFC 9110 section 5.5). Eight bytes at a time, since values are
/// most of a head.
#[inline]
fn value_end(bytes: &[u8], from: usize) -> Result<usize, Stop> {
    let mut at = from;
    loop {
        at = match bytes[at..].first_chunk() {
            Some(eight) => match first_control(u64::from_le_bytes(*eight)) {
                Some(ahead) => at + ahead,
                None => at + 8,
            },
            None => at,
        };
        match byte_at(bytes, at)? {
            b'\t' | b' '..=b'~' | 0x80.. => at += usize::from(bytes.len() - at < 8 || bytes[at] == b'\t'),
            _ => return Ok(at),
        }
    }
}

/// Where the first byte below 0x20, or DEL, is among eight.
#[inline]
fn first_control(eight: u64) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = ONES << 7;
    let below_space = eight.wrapping_sub(ONES * 0x20) & !eight;
    let delete = eight ^ (ONES * 0x7f);
    let delete = delete.wrapping_sub(ONES) & !delete;
    // A borrow can mark a byte behind a marked one, never one before it.
    let marked = (below_space | delete) & TOPS;
    (marked != 0).then(|| marked.trailing_zeros() as usize / 8)
}

/// What is wrong with a request line that cannot be split.
#[cold]
fn blame_line(bytes: &[u8]) -> Violation {
    let line = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\n") && !line.ends_with(b"\r\n") {
        return Violation::BareLineFeed;
    }
    Violation::BadRequestLine
}

/// Whether bytes are the line end of some version, or could become it.
#[cold]
fn begins_version(bytes: &[u8]) -> bool {
    let model = b"HTTP/0.0\r\n".iter();
    bytes.iter().zip(model).all(|(byte, model)| byte == model || (*model == b'0' && byte.is_ascii_digit()))
}

/// RFC 9110 section 5.6.2.
const TOKEN: u8 = 1;
/// RFC 9112 section 3.2: visible ASCII, without the fragment that no client may send.
const TARGET: u8 = 2;
/// RFC 3986 `reg-name`: unreserved, percent escapes and sub-delims.
const HOST: u8 = 4;

static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0x21;
    while byte <= 0x7e {
        let b = byte as u8;
        let is_token = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        let is_host = b.is_ascii_alphanumeric()
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
        table[byte] = if is_token { TOKEN } else { 0 }
            | if is_host { HOST } else { 0 }
            | if b == b'#' { 0 } else { TARGET };
        byte += 1;
    }
    table
};

/// What the field lines said about host, connection and body, before it is weighed together.
#[derive(Default)]
struct Facts {
    /// Of a target in absolute form.
    authority: Option<Span>,
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
    fn note(
        &mut self,
        name: &[u8],
        value: &[u8],
        span: Span,
        known: &mut KnownHost,
    ) -> Result<(), Violation> {
        match name.len() {
            4 if is_word(name, *b"host") => self.note_host(value, span, known),
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
    #[inline]
    fn note_host(&mut self, value: &[u8], span: Span, known: &mut KnownHost) -> Result<(), Violation> {
        if self.host.is_some() {
            return Err(Violation::HostTwice);
        }
        self.host = Some(span);
        if known.is(value) {
            return Ok(());
        }
        if !is_authority(value) {
            return Err(Violation::BadHost);
        }
        known.set(value);
        Ok(())
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
        let is_list = codings.clone().all(is_token);
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
        // RFC 9112 section 3.2.2: the target's authority replaces the one in `Host`, which must be there all the same.
        index.host = self.authority.or(self.host).unwrap_or_default();
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

/// Whether a name of four letters is this one, in any case; three instructions for the one field every request has.
#[inline]
fn is_word(name: &[u8], word: [u8; 4]) -> bool {
    const CASE_BITS: u32 = u32::from_le_bytes([0x20; 4]);
    // With this bit set, a byte equals a letter only if it was that letter, small or capital.
    name.first_chunk().is_some_and(|name| u32::from_le_bytes(*name) | CASE_BITS == u32::from_le_bytes(word))
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
fn is_authority(text: &[u8]) -> bool {
    if let Some(literal) = text.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', literal) else { return false };
        let is_address =
            std::str::from_utf8(&literal[..end]).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
        return is_address && is_port_suffix(&literal[end + 1..]);
    }
    let host_len = text.iter().take_while(|byte| CLASSES[usize::from(**byte)] & HOST != 0).count();
    is_port_suffix(&text[host_len..])
}

fn is_port_suffix(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', port @ ..] => port.is_empty() || decimal(port).is_some_and(|port| port <= 65_535),
        _ => false,
    }
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| CLASSES[usize::from(*byte)] & TOKEN != 0)
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
