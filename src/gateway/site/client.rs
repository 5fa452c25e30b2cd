//! Who a client is, where proxies that are trusted stand between.
//!
//! `X-Forwarded-For` and `Forwarded` (RFC 7239) grow at their right end, and whoever is farther left may have
//! been made up by the client. So they are read from the right, as long as who wrote a hop is trusted; the
//! first who is not is the client. Where a hop cannot be read, whoever named it last is believed, and nobody
//! behind. Without a trusted peer nothing of it is read at all.
//!
//! Where there is an `X-Forwarded-For`, `Forwarded` is not read: most proxies write the former and let the
//! latter pass as the client sent it. A proxy that writes `Forwarded` alone must take the other out.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::config::Cidr;
use crate::config::site::Trust;
use crate::http::Request;

/// The client's address, and whether the peer is a trusted proxy.
#[must_use]
pub fn of(peer: Option<IpAddr>, request: &Request<'_>, trust: &Trust) -> (Option<IpAddr>, bool) {
    let Some(peer) = peer.filter(|peer| is_among(*peer, &trust.proxies)) else { return (peer, false) };
    // Fields of one name are one list, and the last is its right end.
    let hops = |name| {
        let values: Values<'_> = request.fields_named(name).collect();
        values.into_iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    };
    let client = match request.field("x-forwarded-for") {
        Some(_) => first_untrusted(peer, hops("x-forwarded-for").map(address), &trust.proxies),
        None => first_untrusted(peer, hops("forwarded").map(forwarded_for), &trust.proxies),
    };
    (Some(client), true)
}

/// Hardly ever more than one.
type Values<'a> = Vec<&'a [u8]>;

fn first_untrusted(peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>, trusted: &[Cidr]) -> IpAddr {
    let mut last = peer;
    for hop in hops {
        let Some(hop) = hop else { return last };
        last = hop;
        if !is_among(hop, trusted) {
            return hop;
        }
    }
    last
}

fn is_among(address: IpAddr, ranges: &[Cidr]) -> bool {
    ranges.iter().any(|range| range.contains(address))
}

/// An address as proxies write it: bare, or with a port, IPv6 then in brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = text.parse().ok().or_else(with_port).or_else(bracketed)?;
    Some(address.to_canonical())
}

/// The `for` of one hop of `Forwarded`. `unknown` and made-up names are nobody.
fn forwarded_for(hop: &[u8]) -> Option<IpAddr> {
    let mut named = hop.split(|byte| *byte == b';').filter_map(|pair| {
        let (name, value) = pair.trim_ascii().split_at_checked(4)?;
        name.eq_ignore_ascii_case(b"for=").then_some(value)
    });
    // Of two it is unknown which one is meant.
    let value = named.next().filter(|_| named.next().is_none())?;
    address(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::guard::tests::Asked;
    use proptest::prelude::*;

    fn client(peer: &str, fields: &[(&str, &str)]) -> String {
        let proxies = ["10.0.0.0/8", "2001:db8::/32"].map(|range| range.parse().unwrap()).to_vec();
        let trust = Trust { proxies, ..Trust::default() };
        let asked = fields.iter().fold(Asked::from(peer), |asked, (name, value)| asked.with(name, value));
        let (client, is_trusted) = asked.ask(|exchange| of(peer.parse().ok(), &exchange.request(), &trust));
        assert_eq!(is_trusted, peer.starts_with("10.") || peer.starts_with("2001:db8:"));
        client.map_or("nobody".to_owned(), |client| client.to_string())
    }

    fn forwarded(value: &str) -> String {
        client("10.0.0.1", &[("X-Forwarded-For", value)])
    }

    #[test]
    fn a_stranger_is_who_he_is_whatever_he_says() {
        let lies = [("X-Forwarded-For", "10.0.0.2"), ("Forwarded", "for=10.0.0.3")];
        assert_eq!(client("192.0.2.1", &lies), "192.0.2.1");
        assert_eq!(client("a unix socket", &lies), "nobody");
    }

    #[test]
    fn the_first_who_is_not_trusted_from_the_right_is_the_client() {
        assert_eq!(forwarded("192.0.2.1"), "192.0.2.1");
        assert_eq!(forwarded("1.1.1.1, 192.0.2.1, 10.9.9.9"), "192.0.2.1", "what is left of it he made up");
        assert_eq!(forwarded("10.2.2.2,10.9.9.9"), "10.2.2.2", "all are trusted");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        let two = [("X-Forwarded-For", "1.1.1.1"), ("x-forwarded-for", "192.0.2.1, 2001:db8::5")];
        assert_eq!(client("10.0.0.1", &two), "192.0.2.1", "two fields are one list");
        assert_eq!(client("2001:db8::1", &two), "192.0.2.1");
    }

    #[test]
    fn ports_and_brackets_are_read_over() {
        for (text, expected) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("[2001:db9::1]:80", "2001:db9::1"),
            ("[2001:db9::1]", "2001:db9::1"),
            ("2001:db9::1", "2001:db9::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(forwarded(text), expected);
        }
    }

    #[test]
    fn behind_what_cannot_be_read_nobody_is_believed() {
        for hop in ["", "unknown", "localhost", "192.0.2.1.", "0x7f.1", "192.0.2.1 x", "[192.0.2.1]", "1"] {
            assert_eq!(forwarded(&format!("1.1.1.1, {hop}, 10.9.9.9")), "10.9.9.9", "{hop:?}");
            assert_eq!(forwarded(&format!("1.1.1.1, {hop}")), "10.0.0.1", "{hop:?}");
        }
    }

    #[test]
    fn the_field_of_the_standard_is_read_where_the_other_is_not_there() {
        let of = |value: &str| client("10.0.0.1", &[("Forwarded", value)]);
        assert_eq!(of("for=192.0.2.1;proto=http;by=10.0.0.1"), "192.0.2.1");
        assert_eq!(of(r#"by=x; FOR="[2001:db9::1]:4711""#), "2001:db9::1");
        assert_eq!(of(r#"for=1.1.1.1, for=192.0.2.1, for="10.1.1.1:80""#), "192.0.2.1");
        for hop in ["for=unknown", "for=_hidden", "proto=http", "for=192.0.2.1;for=1.1.1.1", "for=", "for"] {
            assert_eq!(of(&format!("for=1.1.1.1, {hop}, for=10.2.2.2")), "10.2.2.2", "{hop}");
        }
        assert_eq!(of(r#"for="1.1.1.1, for=2.2.2.2, for=192.0.2.1"#), "192.0.2.1", "an open quote");
        let both = [("Forwarded", "for=1.1.1.1"), ("X-Forwarded-For", "192.0.2.1")];
        assert_eq!(client("10.0.0.1", &both), "192.0.2.1");
    }

    proptest! {
        /// Whatever a client sends ahead, it stays who the proxy saw.
        #[test]
        fn nothing_sent_ahead_changes_what_the_proxy_saw(ahead in "[ -~]{0,60}", name in "(X-Forwarded-For|Forwarded)") {
            let seen = if name == "Forwarded" { "for=192.0.2.1" } else { "192.0.2.1" };
            prop_assert_eq!(client("10.0.0.1", &[(&name, &format!("{ahead}, {seen}"))]), "192.0.2.1");
            prop_assert_eq!(client("10.0.0.1", &[(&name, &ahead), (&name, seen)]), "192.0.2.1");
        }
    }
}
