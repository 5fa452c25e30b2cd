//! Host and port, as they stand in `Host` and in an absolute target (RFC 3986 section 3.2).

use std::net::Ipv6Addr;

use crate::proto::h1::lexis::{HOST, decimal, is_all};

/// RFC 3986 section 3.2.2: a host, and perhaps a port. An empty host is grammatical (RFC 9110 section 7.2).
#[inline(never)]
pub(super) fn is_authority(text: &[u8]) -> bool {
    if let Some(literal) = text.strip_prefix(b"[") {
        let Some(end) = memchr::memchr(b']', literal) else { return false };
        let is_address =
            std::str::from_utf8(&literal[..end]).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
        return is_address && is_port_suffix(&literal[end + 1..]);
    }
    let host_len = text.iter().position(|byte| !is_all(&[*byte], HOST)).unwrap_or(text.len());
    is_port_suffix(&text[host_len..])
}

fn is_port_suffix(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', port @ ..] => port.is_empty() || decimal(port).is_some_and(|port| port <= 65_535),
        _ => false,
    }
}
