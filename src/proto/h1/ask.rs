//! Writing the head of a request to an upstream: anew, from what was understood of a client's.
//!
//! What is written is read back as exactly one request, whatever the client sent: each line is made of a name
//! and a value that our own reader let pass, the framing is said once and by us, and fields that speak for
//! somebody else (who the client is, what this connection does) are left out or replaced.
//! `Via` is not written, though RFC 9110 section 7.6.3 asks gateways for it: some servers send no compressed
//! answers to requests that have one, and nobody here would read it. A client's own passes.
//! Not here: which upstream, what target, which fields a route sets: all are told.

use std::io::Write as _;
use std::net::IpAddr;

use crate::http::{Framing, Method, Request, Version};
use crate::proto::h1::answer::write_line;
use crate::proto::h1::hop::{Named, folded, is_forwarding, is_like};
use crate::proto::h1::lexis::{TARGET, TOKEN, is_all};

/// A request to be written.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// What the client asked.
    pub request: Request<'a>,
    /// The method, a token.
    pub method: &'a [u8],
    /// The target in origin form, or `*`. A byte that no target may have is escaped, so that a path that was
    /// decoded cannot end the line.
    pub target: &'a [u8],
    /// What `Host` says.
    pub host: &'a [u8],
    /// How the body will be sent.
    pub framing: Framing,
    /// Who the client is.
    pub forwarded: Forwarded<'a>,
    /// Field lines that the gateway adds, each with its line end.
    pub added: &'a [u8],
    /// Whether the client's `Upgrade` is passed on, see [`wants_switch`].
    pub upgrade: bool,
    /// Whether the upstream is to say that it wants the body before it is sent.
    pub expects_continue: bool,
}

/// Who the client is, for upstreams that see only us.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// The peer of the connection, or the source that its PROXY line names; `None`: it has no address.
    pub client: Option<IpAddr>,
    /// Whether the peer is a trusted proxy: what it says about who is behind it is kept, and the peer itself
    /// is added to that. Else what it says is dropped.
    pub keeps: bool,
    /// `http` or `https`.
    pub proto: &'static str,
    /// The authority that the client named.
    pub host: &'a [u8],
}

/// Appends the head. `is_taken` tells the client's fields that are left out; for a name with `_` it is asked
/// about the twin with `-` as well.
pub fn write(out: &mut Vec<u8>, ask: &Ask<'_>, is_taken: impl Fn(&[u8]) -> bool) {
    let (index, bytes) = ask.request.parts();
    out.reserve(usize::from(index.head_len) + ask.target.len() + ask.host.len() + ask.added.len() + 256);
    write_begin(out, ask);
    let named = match index.names_options {
        true => Named::of(ask.request.fields_named("connection")),
        false => Named::default(),
    };
    let mut takes_trailers = false;
    for field in index.fields() {
        let name = field.name.of(bytes);
        let passes = match role(name) {
            Role::EndsHere | Role::Chain => false,
            Role::Claims => ask.forwarded.keeps,
            Role::Trailer => ask.framing == Framing::Chunked,
            Role::Te => {
                takes_trailers |= lists_trailers(field.value.of(bytes));
                false
            }
            Role::Passes => !named.contains(name),
        };
        if passes && !is_taken(name) && !is_twin_taken(name, &is_taken) {
            write_line(bytes, field, out);
        }
    }
    write_framing(out, ask);
    match ask.forwarded.keeps {
        true => extend_chain(out, ask),
        false => begin_chain(out, &ask.forwarded),
    }
    out.extend_from_slice(ask.added);
    write_connection(out, ask, takes_trailers);
    out.extend_from_slice(b"\r\n");
}

/// Whether the request asks for a WebSocket and nothing else (RFC 6455 section 4.1): of the protocols that
/// may be upgraded to, only that one is tunnelled. `h2c` would let a client speak past every rule of the
/// gateway.
#[must_use]
pub fn wants_switch(request: &Request<'_>) -> bool {
    let mut protocols = request.fields_named("upgrade");
    request.method() == Method::Get
        && request.version() == Version::Http11
        && request.framing() == Framing::None
        && protocols.next().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
        && request
            .fields_named("connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// Appends a path that was decoded, with what a path may not have escaped (RFC 3986 section 3.3).
pub fn push_path(out: &mut Vec<u8>, path: &[u8]) {
    for byte in path {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => out.push(*byte),
            b'-' | b'.' | b'_' | b'~' | b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' => out.push(*byte),
            b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => out.push(*byte),
            _ => push_escape(out, *byte),
        }
    }
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Request line and `Host`.
#[inline]
fn write_begin(out: &mut Vec<u8>, ask: &Ask<'_>) {
    debug_assert!(!ask.method.is_empty() && is_all(ask.method, TOKEN));
    debug_assert!(!ask.target.is_empty());
    out.extend_from_slice(ask.method);
    out.push(b' ');
    if is_all(ask.target, TARGET) {
        out.extend_from_slice(ask.target);
    } else {
        for byte in ask.target {
            if is_all(&[*byte], TARGET) { out.push(*byte) } else { push_escape(out, *byte) }
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(ask.host);
    out.extend_from_slice(b"\r\n");
}

/// What becomes of a client's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It is for whoever is at the far end.
    Passes,
    /// It is for this connection, or said anew.
    EndsHere,
    /// Which trailers will follow.
    Trailer,
    /// Which codings the client takes.
    Te,
    /// Who the client is, as a list that each proxy on the way extends, or a word of the first one.
    Chain,
    /// Who the client is, in other words.
    Claims,
}

#[inline]
fn role(name: &[u8]) -> Role {
    let is = |wanted: &[u8]| is_like(name, wanted);
    let role = match (name.len(), name[0] | 0x20) {
        (2, b't') if is(b"te") => Role::Te,
        (4, b'h') if is(b"host") => Role::EndsHere,
        // Programs behind CGI take it for the proxy that they are to use themselves.
        (5, b'p') if is(b"proxy") => Role::EndsHere,
        (6, b'e') if is(b"expect") => Role::EndsHere,
        (7, b'u') if is(b"upgrade") => Role::EndsHere,
        (7, b't') if is(b"trailer") => Role::Trailer,
        (9, b'f') if is(b"forwarded") => Role::Chain,
        (9, b'x') if is(b"x-real-ip") => Role::Claims,
        (10, b'c') if is(b"connection") => Role::EndsHere,
        (10, b'k') if is(b"keep-alive") => Role::EndsHere,
        (14, b'c') if is(b"content-length") => Role::EndsHere,
        (14, b'h') if is(b"http2-settings") => Role::EndsHere,
        (15, b'x') if is(b"x-forwarded-for") => Role::Chain,
        (16, b'x') if is(b"x-forwarded-host") => Role::Chain,
        (16, b'p') if is(b"proxy-connection") => Role::EndsHere,
        (17, b'x') if is(b"x-forwarded-proto") => Role::Chain,
        (17, b't') if is(b"transfer-encoding") => Role::EndsHere,
        (19, b'p') if is(b"proxy-authorization") => Role::EndsHere,
        (_, b'x') if is_forwarding(name) => Role::Claims,
        _ => return Role::Passes,
    };
    // A twin of a field that is ours to say would be heard as that one by some.
    if name.contains(&b'_') { Role::EndsHere } else { role }
}

/// A field that the gateway takes out is not to come back in disguise.
#[inline]
fn is_twin_taken(name: &[u8], is_taken: impl Fn(&[u8]) -> bool) -> bool {
    name.contains(&b'_') && is_taken(&name.iter().copied().map(folded).collect::<Vec<u8>>())
}

/// RFC 9110 section 10.1.4: whether `trailers` is among the codings.
fn lists_trailers(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

#[inline]
fn write_framing(out: &mut Vec<u8>, ask: &Ask<'_>) {
    let length = match ask.framing {
        // RFC 9110 section 8.6: said for methods whose body means something; some servers answer 411 else.
        Framing::None if matches!(ask.method, b"POST" | b"PUT" | b"PATCH") => 0,
        Framing::None => return,
        Framing::Length(length) => length,
        Framing::Chunked => return out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    };
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Nobody in front of us is to be believed: all is said anew.
#[inline]
fn begin_chain(out: &mut Vec<u8>, forwarded: &Forwarded<'_>) {
    let client = forwarded.client.map(AddressText::of);
    if let Some(client) = &client {
        out.extend_from_slice(b"X-Forwarded-For: ");
        out.extend_from_slice(client.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    write_proto_and_host(out, forwarded, true, true);
    out.extend_from_slice(b"Forwarded: ");
    push_element(out, forwarded, client.as_ref());
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn write_proto_and_host(out: &mut Vec<u8>, forwarded: &Forwarded<'_>, proto: bool, host: bool) {
    if proto {
        out.extend_from_slice(b"X-Forwarded-Proto: ");
        out.extend_from_slice(forwarded.proto.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if host && !forwarded.host.is_empty() {
        out.extend_from_slice(b"X-Forwarded-Host: ");
        out.extend_from_slice(forwarded.host);
        out.extend_from_slice(b"\r\n");
    }
}

/// A trusted proxy has begun the lists: they are extended, and what it says about scheme and host stands.
#[cold]
fn extend_chain(out: &mut Vec<u8>, ask: &Ask<'_>) {
    let (request, forwarded) = (&ask.request, &ask.forwarded);
    let client = forwarded.client.map(AddressText::of);
    let mut has_any = push_list(out, b"X-Forwarded-For: ", request.fields_named("x-forwarded-for"));
    if let Some(client) = &client {
        out.extend_from_slice(if has_any { b", " } else { b"X-Forwarded-For: " });
        out.extend_from_slice(client.as_bytes());
        has_any = true;
    }
    out.extend_from_slice(if has_any { b"\r\n" } else { b"" });
    let [proto, host] =
        [("x-forwarded-proto", "X-Forwarded-Proto: "), ("x-forwarded-host", "X-Forwarded-Host: ")].map(
            |(name, begin)| {
                let said = push_list(out, begin.as_bytes(), request.fields_named(name));
                out.extend_from_slice(if said { b"\r\n" } else { b"" });
                said
            },
        );
    write_proto_and_host(out, forwarded, !proto, !host);
    let has_elements = push_list(out, b"Forwarded: ", request.fields_named("forwarded"));
    out.extend_from_slice(if has_elements { b", " } else { b"Forwarded: " });
    push_element(out, forwarded, client.as_ref());
    out.extend_from_slice(b"\r\n");
}

/// The values as one list behind `begin`, without a line end; `false`: there are none, and nothing was
/// written.
fn push_list<'v>(out: &mut Vec<u8>, begin: &[u8], values: impl Iterator<Item = &'v [u8]>) -> bool {
    let mut has_any = false;
    for value in values.filter(|value| !value.is_empty()) {
        out.extend_from_slice(if has_any { b", " } else { begin });
        out.extend_from_slice(value);
        has_any = true;
    }
    has_any
}

/// RFC 7239 section 4: one element, of who asked, for what host and how.
#[inline]
fn push_element(out: &mut Vec<u8>, forwarded: &Forwarded<'_>, client: Option<&AddressText>) {
    match client {
        None => out.extend_from_slice(b"for=unknown"),
        // RFC 7239 section 6: brackets around it, and quotes because of them.
        Some(client) if client.is_v6 => {
            out.extend_from_slice(b"for=\"[");
            out.extend_from_slice(client.as_bytes());
            out.extend_from_slice(b"]\"");
        }
        Some(client) => {
            out.extend_from_slice(b"for=");
            out.extend_from_slice(client.as_bytes());
        }
    }
    if !forwarded.host.is_empty() {
        out.extend_from_slice(b";host=");
        push_word(out, forwarded.host);
    }
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(forwarded.proto.as_bytes());
}

/// RFC 9110 section 5.6.4: as a token where it is one, else quoted.
fn push_word(out: &mut Vec<u8>, text: &[u8]) {
    if is_all(text, TOKEN) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// An address as text. A V4 address that came by a V6 socket is one of V4.
struct AddressText {
    bytes: [u8; AddressText::LEN_MAX],
    len: u8,
    is_v6: bool,
}

impl AddressText {
    /// Eight groups of four digits.
    const LEN_MAX: usize = 39;

    #[inline]
    fn of(address: IpAddr) -> AddressText {
        let mut text = AddressText { bytes: [0; AddressText::LEN_MAX], len: 0, is_v6: false };
        match address.to_canonical() {
            IpAddr::V4(address) => {
                for octet in address.octets() {
                    text.push(itoa::Buffer::new().format(octet).as_bytes());
                    text.push(b".");
                }
                text.len -= 1;
            }
            IpAddr::V6(address) => {
                let mut room = &mut text.bytes[..];
                // It has room for the longest.
                let _ = write!(room, "{address}");
                text.len = (AddressText::LEN_MAX - room.len()) as u8;
                text.is_v6 = true;
            }
        }
        text
    }

    #[inline]
    fn push(&mut self, part: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + part.len()].copy_from_slice(part);
        self.len += part.len() as u8;
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// What this connection is to do: RFC 9110 sections 7.8, 10.1.1 and 10.1.4.
#[inline]
fn write_connection(out: &mut Vec<u8>, ask: &Ask<'_>, takes_trailers: bool) {
    if ask.expects_continue && ask.framing != Framing::None {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    let protocol = ask.request.field("upgrade").filter(|_| ask.upgrade);
    let connection: &[u8] = match (protocol, takes_trailers) {
        (None, false) => return,
        (None, true) => b"TE: trailers\r\nConnection: TE\r\n",
        (Some(_), false) => b"Connection: Upgrade\r\n",
        (Some(_), true) => b"TE: trailers\r\nConnection: Upgrade, TE\r\n",
    };
    out.extend_from_slice(connection);
    if let Some(protocol) = protocol {
        out.extend_from_slice(b"Upgrade: ");
        out.extend_from_slice(protocol);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests;
