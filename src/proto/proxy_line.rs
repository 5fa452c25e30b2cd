//! The PROXY protocol, versions 1 and 2: what a balancer in front of us says about the client, before the
//! first byte of HTTP (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).
//!
//! Read as strictly as it is specified, since what it says is believed: only listeners that are told to
//! expect it read it, and there a connection without it is refused. Does no I/O; tells the same however it is
//! cut.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What was said about the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the client is; `None`: the balancer speaks for itself, as in probes, or of a client that has no
    /// address of IP.
    pub source: Option<SocketAddr>,
}

/// How the bytes are no PROXY header. The connection is closed: nothing can be answered to what is no HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadProxyLine {
    /// They begin like neither version.
    NoSignature,
    /// Version 1: no CRLF within 107 bytes.
    LineTooLong,
    /// Version 1: a line end that is none, or a field that is missing, malformed, or one too many.
    BadLine,
    /// Version 2: another version or command.
    BadCommand,
    /// Version 2: a family or transport that does not exist.
    BadFamily,
    /// Version 2: shorter than its family's addresses.
    TooShort,
    /// Version 2: longer than anybody's.
    TooLong,
}

impl BadProxyLine {
    /// Its name in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            BadProxyLine::NoSignature => "no_signature",
            BadProxyLine::LineTooLong => "line_too_long",
            BadProxyLine::BadLine => "bad_line",
            BadProxyLine::BadCommand => "bad_command",
            BadProxyLine::BadFamily => "bad_family",
            BadProxyLine::TooShort => "too_short",
            BadProxyLine::TooLong => "too_long",
        }
    }
}

/// Reads the header that `bytes` begin with, and tells its length. `None`: it is not complete yet.
///
/// # Errors
/// How it is none, as soon as that is seen.
pub fn read(bytes: &[u8]) -> Result<Option<(Header, usize)>, BadProxyLine> {
    if begins(bytes, SIGNATURE) {
        return read_binary(bytes);
    }
    if begins(bytes, LINE_BEGIN) {
        return read_line(bytes);
    }
    Err(BadProxyLine::NoSignature)
}

/// Bytes that a header of either version may have: room for them is all that a caller needs.
pub const HEADER_BYTES_MAX: usize = FIXED_BYTES + BLOCK_BYTES_MAX;

/// Version 2 begins so, on purpose unlike any line of text.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of what follows.
const FIXED_BYTES: usize = 16;
/// Addresses and what is said besides. The length may say 64 KiB; certificates' names are the longest that
/// anybody sends.
const BLOCK_BYTES_MAX: usize = 2048;

/// Version 1 begins so.
const LINE_BEGIN: &[u8] = b"PROXY ";
/// The longest line of version 1, CRLF included.
const LINE_BYTES_MAX: usize = 107;

/// Whether the bytes begin so, as far as they have come.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let len = bytes.len().min(with.len());
    bytes[..len] == with[..len]
}

/// Section 2.1: `PROXY TCP4 source destination port port CRLF`, one space each.
fn read_line(bytes: &[u8]) -> Result<Option<(Header, usize)>, BadProxyLine> {
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr2(b'\r', b'\n', line) else {
        return if line.len() == LINE_BYTES_MAX { Err(BadProxyLine::LineTooLong) } else { Ok(None) };
    };
    match line[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if line.len() == LINE_BYTES_MAX => return Err(BadProxyLine::LineTooLong),
        [b'\r'] => return Ok(None),
        _ => return Err(BadProxyLine::BadLine),
    }
    let text = std::str::from_utf8(&line[LINE_BEGIN.len()..end]).map_err(|_| BadProxyLine::BadLine)?;
    let source = source_of(text).ok_or(BadProxyLine::BadLine)?;
    Ok(Some((Header { source }, end + 2)))
}

/// What a line says behind `PROXY `. `None`: it is malformed.
fn source_of(text: &str) -> Option<Option<SocketAddr>> {
    // Section 2.1: whatever follows `UNKNOWN` is ignored up to the line end.
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let mut words = text.split(' ');
    let family = words.next()?;
    let [source, destination] = [words.next()?, words.next()?].map(|word| match family {
        "TCP4" => word.parse().ok().map(IpAddr::V4),
        "TCP6" => word.parse().ok().map(IpAddr::V6),
        _ => None,
    });
    let [port, to_port] = [words.next()?, words.next()?].map(port);
    if words.next().is_some() {
        return None;
    }
    let (Some(source), Some(_), Some(port), Some(_)) = (source, destination, port, to_port) else {
        return None;
    };
    Some(Some(SocketAddr::new(source, port)))
}

/// Digits without a sign or a leading zero, up to 65535.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if is_plain { word.parse().ok() } else { None }
}

/// Section 2.2: signature, then one byte each of version and command, family and transport, then the length
/// of the addresses and of what is said besides, which is passed over.
fn read_binary(bytes: &[u8]) -> Result<Option<(Header, usize)>, BadProxyLine> {
    let Some(command) = bytes.get(12) else { return Ok(None) };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(BadProxyLine::BadCommand),
    };
    let Some(family) = bytes.get(13) else { return Ok(None) };
    // Section 2.2: all other values must be rejected.
    let Some(addresses_len) = addresses_len(*family) else { return Err(BadProxyLine::BadFamily) };
    let Some(length) = bytes.get(14..FIXED_BYTES) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    if length > BLOCK_BYTES_MAX {
        return Err(BadProxyLine::TooLong);
    }
    // A probe of the balancer's own says nothing of a client, whatever the rest says (section 2.2).
    if !is_local && length < addresses_len {
        return Err(BadProxyLine::TooShort);
    }
    let Some(block) = bytes.get(FIXED_BYTES..FIXED_BYTES + length) else { return Ok(None) };
    let source = if is_local { None } else { source_in(*family, block) };
    Ok(Some((Header { source }, FIXED_BYTES + length)))
}

/// The bytes of the addresses of that family and transport, of those that there are.
fn addresses_len(family: u8) -> Option<usize> {
    match family {
        0x00 => Some(0),
        0x11 | 0x12 => Some(12),
        0x21 | 0x22 => Some(36),
        0x31 | 0x32 => Some(216),
        _ => None,
    }
}

/// The client's address, over a stream: nobody speaks HTTP/1 by datagrams, so then it is not one of ours to
/// know.
fn source_in(family: u8, block: &[u8]) -> Option<SocketAddr> {
    match (family, block) {
        (0x11, [a, b, c, d, _, _, _, _, high, low, ..]) => {
            let address = Ipv4Addr::new(*a, *b, *c, *d);
            Some(SocketAddr::new(address.into(), u16::from_be_bytes([*high, *low])))
        }
        (0x21, _) => {
            let address = Ipv6Addr::from(*block.first_chunk::<16>()?);
            let port = u16::from_be_bytes([*block.get(32)?, *block.get(33)?]);
            Some(SocketAddr::new(address.into(), port))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict when it comes whole, which is to be the same when it comes byte by byte.
    fn verdict(wire: &[u8]) -> Result<Option<(Header, usize)>, BadProxyLine> {
        let whole = read(wire);
        let cut = (0..=wire.len()).map(|len| read(&wire[..len])).find(|verdict| *verdict != Ok(None));
        assert_eq!(whole, cut.unwrap_or(Ok(None)), "{:?}", String::from_utf8_lossy(wire));
        whole
    }

    fn source(wire: &[u8]) -> Result<Option<String>, BadProxyLine> {
        let (header, len) = verdict(&[wire, b"GET /"].concat())?.expect("complete");
        assert_eq!(len, wire.len());
        Ok(header.source.map(|source| source.to_string()))
    }

    fn binary(command: u8, family: u8, length: usize, block: &[u8]) -> Vec<u8> {
        [SIGNATURE, &[command, family], &(length as u16).to_be_bytes(), block].concat()
    }

    #[test]
    fn lines_say_where_the_client_is() {
        let v4 = source(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n");
        assert_eq!(v4, Ok(Some("192.0.2.1:56324".to_owned())));
        let v6 = source(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n");
        assert_eq!(v6, Ok(Some("[2001:db8::1]:1".to_owned())));
        assert_eq!(source(b"PROXY UNKNOWN\r\n"), Ok(None));
        assert_eq!(source(b"PROXY UNKNOWN ff:: what ever\r\n"), Ok(None));
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
        assert_eq!((longest.len(), source(longest.as_bytes())), (LINE_BYTES_MAX, Ok(None)));
    }

    #[test]
    fn malformed_lines_are_refused() {
        for line in [
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r2\r\n",
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 x\r\n",
            "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
            "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP6 [::1] ::1 1 2\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY TCP4 \u{661}.2.3.4 1.2.3.4 1 2\r\n",
        ] {
            assert_eq!(verdict(line.as_bytes()), Err(BadProxyLine::BadLine), "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
        assert_eq!(verdict(long.as_bytes()), Err(BadProxyLine::LineTooLong));
        for wire in ["GET / HTTP/1.1\r\n", "proxy ", "PROXYTCP4", "\r\n\r\nGET", " PROXY "] {
            assert_eq!(verdict(wire.as_bytes()), Err(BadProxyLine::NoSignature), "{wire:?}");
        }
        for partial in ["", "P", "PROXY", "PROXY TCP4 1.2.3.4", "\r\n\r\n\0\r\nQUI"] {
            assert_eq!(verdict(partial.as_bytes()), Ok(None), "{partial:?}");
        }
    }

    #[test]
    fn binary_headers_say_where_the_client_is() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xdc, 0x04, 1, 187];
        assert_eq!(source(&binary(0x21, 0x11, 12, &v4)), Ok(Some("192.0.2.1:56324".to_owned())));
        let with_more = [&v4[..], &[4, 0, 1, 9]].concat();
        assert_eq!(source(&binary(0x21, 0x11, 16, &with_more)), Ok(Some("192.0.2.1:56324".to_owned())));
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[33]) = (0x20, 0x01, 1, 80);
        assert_eq!(source(&binary(0x21, 0x21, 36, &v6)), Ok(Some("[2001::1]:80".to_owned())));
    }

    #[test]
    fn some_clients_have_no_address_to_say() {
        assert_eq!(source(&binary(0x20, 0x00, 0, b"")), Ok(None), "the balancer's own");
        assert_eq!(source(&binary(0x20, 0x11, 3, b"abc")), Ok(None), "its rest is passed over");
        assert_eq!(source(&binary(0x21, 0x00, 5, b"abcde")), Ok(None), "unspecified");
        assert_eq!(source(&binary(0x21, 0x31, 216, &[b'x'; 216])), Ok(None), "a unix socket");
        assert_eq!(source(&binary(0x21, 0x12, 12, &[1; 12])), Ok(None), "datagrams");
    }

    #[test]
    fn malformed_binary_headers_are_refused() {
        for (command, family, length, bad) in [
            (0x11, 0x11, 12, BadProxyLine::BadCommand),
            (0x31, 0x11, 12, BadProxyLine::BadCommand),
            (0x22, 0x11, 12, BadProxyLine::BadCommand),
            (0x21, 0x41, 12, BadProxyLine::BadFamily),
            (0x21, 0x13, 12, BadProxyLine::BadFamily),
            (0x21, 0x10, 12, BadProxyLine::BadFamily),
            (0x20, 0x01, 12, BadProxyLine::BadFamily),
            (0x21, 0x11, 11, BadProxyLine::TooShort),
            (0x21, 0x21, 35, BadProxyLine::TooShort),
            (0x21, 0x32, 215, BadProxyLine::TooShort),
            (0x21, 0x11, BLOCK_BYTES_MAX + 1, BadProxyLine::TooLong),
            (0x20, 0x00, 65_535, BadProxyLine::TooLong),
        ] {
            let wire = binary(command, family, length, &vec![0; length]);
            assert_eq!(verdict(&wire), Err(bad), "{command:#x} {family:#x} {length}");
        }
        assert_eq!(verdict(&binary(0x21, 0x11, 12, &[1; 11])), Ok(None));
    }
}
