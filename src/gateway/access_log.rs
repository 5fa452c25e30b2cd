//! One line per request, in the combined log format or as JSON.
//!
//! Whatever a client sends, it is one line, and a line in which the client cannot pretend to be somebody
//! else: every byte that could end a line, end a quote or steer a terminal is escaped, and so is every byte
//! above ASCII. Escapes can be undone, so nothing is lost either.
//! No clock, no file, no allocation but the growth of `out`; see [`observe::log`](crate::observe::log) for
//! what happens to lines.

use std::io::Write as _;
use std::net::IpAddr;

use crate::config::AccessFormat;
use crate::http::Status;
use crate::observe::calendar::Moment;

/// What is worth a line about one request.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Where the client is, as text.
    pub peer: &'a str,
    /// When the answer was complete, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The request line as sent, without its line end; empty when none was understood.
    pub request_line: &'a [u8],
    /// The authority asked for; may be empty.
    pub host: &'a [u8],
    /// What was answered.
    pub status: Status,
    /// Bytes of the answer behind its head.
    pub body_bytes: u64,
    /// The `Referer` field; may be empty.
    pub referer: &'a [u8],
    /// The `User-Agent` field; may be empty.
    pub agent: &'a [u8],
    /// From the first byte of the request to the last of the answer, in microseconds.
    pub duration_us: u64,
    /// What middleware named it; may be empty.
    pub request_id: &'a str,
    /// The trace it belongs to, if it is known to belong to one.
    pub trace_id: Option<u128>,
    /// Its way through a site, if one of its routes took it.
    pub passage: Option<Passage<'a>>,
}

/// A request's way through a site.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passage<'a> {
    /// Whom trusted proxies say they speak for.
    pub client: Option<IpAddr>,
    /// The route.
    pub route: &'a str,
    /// What on the route's way refused it; may be empty.
    pub refused_by: &'a str,
    /// The upstream it was passed on to; may be empty.
    pub upstream: &'a str,
    /// The server that answered or was asked last; may be empty.
    pub server: &'a str,
    /// How often servers were asked.
    pub tries: u32,
    /// Why no server answered; may be empty.
    pub trouble: &'a str,
    /// Why the fallback answered; may be empty.
    pub fallback: &'a str,
    /// How long what took, where it was passed on.
    pub phases: Option<Phases>,
}

/// How long the parts of an exchange took that was passed on, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// From the accept of the connection to the whole head of its first request, to 10 ms.
    pub accept_us: u64,
    /// From the first byte of a head that came in parts to its last, to 10 ms.
    pub head_us: u64,
    /// Until a server was chosen, the last time, tries that failed included.
    pub queue_us: u64,
    /// Until a new connection stood.
    pub connect_us: u64,
    /// From there to the head of the answer.
    pub first_byte_us: u64,
    /// From there to the last byte of it.
    pub body_us: u64,
    /// From there until the kernel had taken the last byte for the client.
    pub write_us: u64,
}

/// Appends the line, its line end included.
pub fn write_line(out: &mut Vec<u8>, format: AccessFormat, entry: &Entry<'_>) {
    match format {
        AccessFormat::Combined => write_combined(out, entry),
        AccessFormat::Json => write_json(out, entry),
    }
    out.push(b'\n');
}

/// `192.0.2.7 - - [21/Nov/2026:10:26:13 +0000] "GET / HTTP/1.1" 200 13 "-" "curl/8.5.0"`
fn write_combined(out: &mut Vec<u8>, entry: &Entry<'_>) {
    write_hex_escaped(out, entry.peer.as_bytes());
    out.extend_from_slice(b" - - [");
    Moment::from_unix(entry.unix_ms / 1_000).write_combined(out);
    out.extend_from_slice(b"] \"");
    write_hex_escaped(out, entry.request_line);
    out.extend_from_slice(b"\" ");
    write_number(out, u64::from(entry.status.code()));
    out.push(b' ');
    write_number(out, entry.body_bytes);
    for text in [entry.referer, entry.agent] {
        out.extend_from_slice(b" \"");
        write_hex_escaped(out, text);
        out.push(b'"');
    }
}

/// `{"time":"2026-11-21T10:26:13.042Z","peer":"192.0.2.7","host":"example.org","request":"GET /
/// HTTP/1.1","status":200,"bytes":13,"referer":"","agent":"curl/8.5.0","duration_us":42}`, all on one line.
/// Behind that `"request_id"` and `"trace_id"`, where they were noted.
fn write_json(out: &mut Vec<u8>, entry: &Entry<'_>) {
    out.extend_from_slice(b"{\"time\":\"");
    Moment::from_unix(entry.unix_ms / 1_000).write_iso(out);
    let ms = (entry.unix_ms % 1_000) as u16;
    let digits = [ms / 100, ms / 10 % 10, ms % 10].map(|digit| b'0' + digit as u8);
    out.push(b'.');
    out.extend_from_slice(&digits);
    out.extend_from_slice(b"Z\"");
    write_json_text(out, ",\"peer\":", entry.peer.as_bytes());
    write_json_text(out, ",\"host\":", entry.host);
    write_json_text(out, ",\"request\":", entry.request_line);
    write_json_number(out, ",\"status\":", u64::from(entry.status.code()));
    write_json_number(out, ",\"bytes\":", entry.body_bytes);
    write_json_text(out, ",\"referer\":", entry.referer);
    write_json_text(out, ",\"agent\":", entry.agent);
    write_json_number(out, ",\"duration_us\":", entry.duration_us);
    if !entry.request_id.is_empty() {
        write_json_text(out, ",\"request_id\":", entry.request_id.as_bytes());
    }
    if let Some(trace_id) = entry.trace_id {
        // As `traceparent` has it.
        let _ = write!(out, ",\"trace_id\":\"{trace_id:032x}\"");
    }
    if let Some(passage) = &entry.passage {
        write_passage(out, passage);
    }
    out.push(b'}');
}

/// `"route"` always, the others where there is something to say.
fn write_passage(out: &mut Vec<u8>, passage: &Passage<'_>) {
    write_json_text(out, ",\"route\":", passage.route.as_bytes());
    if let Some(client) = passage.client {
        let _ = write!(out, ",\"client\":\"{client}\"");
    }
    for (key, text) in [
        (",\"refused_by\":", passage.refused_by),
        (",\"upstream\":", passage.upstream),
        (",\"server\":", passage.server),
        (",\"trouble\":", passage.trouble),
        (",\"fallback\":", passage.fallback),
    ] {
        if !text.is_empty() {
            write_json_text(out, key, text.as_bytes());
        }
    }
    let Some(phases) = passage.phases else { return };
    write_json_number(out, ",\"tries\":", u64::from(passage.tries));
    for (key, us) in [
        (",\"accept_us\":", phases.accept_us),
        (",\"head_us\":", phases.head_us),
        (",\"queue_us\":", phases.queue_us),
        (",\"connect_us\":", phases.connect_us),
        (",\"first_byte_us\":", phases.first_byte_us),
        (",\"body_us\":", phases.body_us),
        (",\"write_us\":", phases.write_us),
    ] {
        write_json_number(out, key, us);
    }
}

fn write_json_text(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    write_escaped(out, value, |out, byte| match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        // A byte above ASCII is written as the character of its number: always valid JSON, even when the
        // bytes are no UTF-8, and they can be had back.
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&hex(byte));
        }
    });
    out.push(b'"');
}

fn write_json_number(out: &mut Vec<u8>, key: &str, value: u64) {
    out.extend_from_slice(key.as_bytes());
    write_number(out, value);
}

fn write_number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `\xNN`, as nginx has it; nothing at all is written as `-`.
fn write_hex_escaped(out: &mut Vec<u8>, value: &[u8]) {
    if value.is_empty() {
        out.push(b'-');
    }
    write_escaped(out, value, |out, byte| {
        out.extend_from_slice(b"\\x");
        out.extend_from_slice(&hex(byte));
    });
}

/// Copies plain bytes by the run, and leaves each of the others to `escape`.
fn write_escaped(out: &mut Vec<u8>, mut value: &[u8], escape: impl Fn(&mut Vec<u8>, u8)) {
    loop {
        let (run, rest) = value.split_at(plain_run(value));
        out.extend_from_slice(run);
        let Some((byte, rest)) = rest.split_first() else { return };
        escape(out, *byte);
        value = rest;
    }
}

/// How many plain bytes come first. Whole chunks are judged without a branch per byte, which compiles to
/// vectors.
fn plain_run(value: &[u8]) -> usize {
    let (chunks, _) = value.as_chunks::<16>();
    let plain = |chunk: &&[u8; 16]| chunk.iter().fold(true, |plain, byte| plain & is_plain(*byte));
    let start = chunks.iter().take_while(plain).count() * 16;
    value[start..].iter().position(|byte| !is_plain(*byte)).map_or(value.len(), |at| start + at)
}

/// Printable ASCII but for the quote and the escape character itself.
const fn is_plain(byte: u8) -> bool {
    (byte >= b' ') & (byte <= b'~') & (byte != b'"') & (byte != b'\\')
}

fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENTRY: Entry<'static> = Entry {
        peer: "192.0.2.7",
        unix_ms: 1_795_256_773_042,
        request_line: b"GET / HTTP/1.1",
        host: b"example.org",
        status: Status::OK,
        body_bytes: 13,
        referer: b"",
        agent: b"curl/8.5.0",
        duration_us: 42,
        request_id: "",
        trace_id: None,
        passage: None,
    };

    fn line(format: AccessFormat, entry: &Entry<'_>) -> String {
        let mut out = Vec::new();
        write_line(&mut out, format, entry);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn combined_is_what_other_servers_write() {
        assert_eq!(
            line(AccessFormat::Combined, &ENTRY),
            "192.0.2.7 - - [21/Nov/2026:10:26:13 +0000] \"GET / HTTP/1.1\" 200 13 \"-\" \"curl/8.5.0\"\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        assert_eq!(
            line(AccessFormat::Json, &ENTRY),
            "{\"time\":\"2026-11-21T10:26:13.042Z\",\"peer\":\"192.0.2.7\",\"host\":\"example.org\",\
             \"request\":\"GET / HTTP/1.1\",\"status\":200,\"bytes\":13,\"referer\":\"\",\"agent\":\"curl/8.5.0\",\
             \"duration_us\":42}\n"
        );
    }

    #[test]
    fn json_names_the_request_and_its_trace_where_they_are_noted() {
        let named = Entry { request_id: "abc", trace_id: Some(0x1f), ..ENTRY };
        let expected = ",\"duration_us\":42,\"request_id\":\"abc\",\
                        \"trace_id\":\"0000000000000000000000000000001f\"}\n";
        assert!(line(AccessFormat::Json, &named).ends_with(expected));
        assert_eq!(line(AccessFormat::Combined, &named), line(AccessFormat::Combined, &ENTRY));
    }

    #[test]
    fn a_client_cannot_write_lines_of_its_own() {
        let forged = Entry { agent: b"x\"\n10.0.0.1 - - \x1b[2J\\ \x7f\xff", ..ENTRY };
        assert!(
            line(AccessFormat::Combined, &forged)
                .ends_with("\"x\\x22\\x0A10.0.0.1 - - \\x1B[2J\\x5C \\x7F\\xFF\"\n")
        );
        assert!(
            line(AccessFormat::Json, &forged)
                .contains("\"x\\\"\\u000A10.0.0.1 - - \\u001B[2J\\\\ \\u007F\\u00FF\"")
        );
    }

    #[test]
    fn a_line_of_usual_length_grows_no_buffer_that_has_room() {
        let mut out = Vec::with_capacity(512);
        let before = (out.as_ptr(), out.capacity());
        write_line(&mut out, AccessFormat::Json, &ENTRY);
        write_line(&mut out, AccessFormat::Combined, &ENTRY);
        assert_eq!((out.as_ptr(), out.capacity()), before);
    }

    /// Undoes `\xNN`.
    fn plain(text: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("\\x") {
            bytes.extend_from_slice(before.as_bytes());
            bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
            rest = &after[2..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        bytes
    }

    fn or_dash(bytes: &[u8]) -> &[u8] {
        if bytes.is_empty() { b"-" } else { bytes }
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            "[ -~\\n\\r\"\\\\é\u{1b}]{0,40}".prop_map(Vec::from)
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_make_exactly_one_line_that_can_be_read_back(
            request_line in value(), host in value(), referer in value(), agent in value(),
            peer in ".{0,20}", unix_ms in 0..=u64::MAX, body_bytes: u64, duration_us: u64,
            request_id in ".{0,20}", trace_id in proptest::option::of(any::<u128>()),
        ) {
            let entry = Entry {
                peer: &peer, unix_ms, request_line: &request_line, host: &host, status: Status::NOT_FOUND,
                body_bytes, referer: &referer, agent: &agent, duration_us, request_id: &request_id, trace_id,
                passage: None,
            };
            for format in [AccessFormat::Combined, AccessFormat::Json] {
                let line = line(format, &entry);
                prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
                prop_assert!(line[..line.len() - 1].bytes().all(|byte| matches!(byte, b' '..=b'~')));
            }
            let combined = line(AccessFormat::Combined, &entry);
            let quoted: Vec<&str> = combined.split('"').collect();
            prop_assert_eq!(quoted.len(), 7, "three quoted texts, no more");
            prop_assert_eq!(plain(quoted[1]), or_dash(&request_line));
            prop_assert_eq!(plain(quoted[3]), or_dash(&referer));
            prop_assert_eq!(plain(quoted[5]), or_dash(&agent));

            let json: serde_json::Value = serde_json::from_str(&line(AccessFormat::Json, &entry)).unwrap();
            let noted = usize::from(!request_id.is_empty()) + usize::from(trace_id.is_some());
            prop_assert_eq!(json.as_object().unwrap().len(), 9 + noted);
            let trace_read = json["trace_id"].as_str().map(|hex| u128::from_str_radix(hex, 16).unwrap());
            prop_assert_eq!(trace_read, trace_id);
            prop_assert_eq!(&json["bytes"], body_bytes);
            prop_assert_eq!(&json["duration_us"], duration_us);
            for (key, bytes) in [
                ("request", &request_line), ("host", &host), ("referer", &referer), ("agent", &agent),
                ("peer", &peer.into_bytes()), ("request_id", &request_id.into_bytes()),
            ] {
                let read: Vec<u32> = json[key].as_str().unwrap_or_default().chars().map(u32::from).collect();
                prop_assert!(read.iter().eq(bytes.iter().map(|byte| u32::from(*byte)).collect::<Vec<_>>().iter()));
            }
        }
    }
}
