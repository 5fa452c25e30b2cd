//! What a request is counted by, as a number.
//!
//! SipHash with a secret: whoever chooses addresses, fields or cookies cannot choose which counter they meet,
//! nor find two that share one. Not here: what is counted.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use super::Claims;
use crate::config::site::KeyOf;
use crate::gateway::Exchange;
use crate::http::Request;

/// The secret of one process. It need not be kept over a restart: the tables are not either.
#[derive(Clone, Copy)]
pub struct Secret(u64, u64);

/// Keeps keys of different kinds apart: no field's value is taken for an address.
#[repr(u8)]
enum Kind {
    Everybody,
    Client,
    Header,
    Cookie,
    Claim,
    Name,
}

impl Secret {
    /// Made of a number that nobody outside knows.
    #[must_use]
    pub fn of(seed: u64) -> Secret {
        // Two halves that do not look alike; the hash is not asked to withstand who knows the seed.
        Secret(seed ^ 0x6d79_7269_6170_6f64, seed.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The key of a request. Who leaves out what it is made of shares nothing with others who do, but counts
    /// as a client.
    #[must_use]
    pub fn key(&self, by: &KeyOf, exchange: &Exchange<'_>) -> u64 {
        self.find(by, exchange).unwrap_or_else(|| self.client(exchange.arrival().client))
    }

    /// The key of a request that has what it is made of.
    #[must_use]
    pub fn find(&self, by: &KeyOf, exchange: &Exchange<'_>) -> Option<u64> {
        let request = exchange.request();
        match by {
            KeyOf::Everybody => Some(self.hasher(Kind::Everybody).finish()),
            KeyOf::Client => exchange.arrival().client.map(|address| self.client(Some(address))),
            KeyOf::Header(name) => self.of_fields(&request, name),
            KeyOf::Cookie(name) => cookie(&request, name).map(|value| self.of_bytes(Kind::Cookie, value)),
            KeyOf::Claim(name) => {
                let claim = exchange.notes().kept::<Claims>().and_then(|claims| claims.text(name));
                claim.map(|claim| self.of_bytes(Kind::Claim, claim.as_bytes()))
            }
        }
    }

    /// The key of a client. Of IPv6 its network of 64 bits, since that is the least one subscriber has; the
    /// clients of a unix socket are one.
    #[must_use]
    pub fn client(&self, address: Option<IpAddr>) -> u64 {
        let mut hasher = self.hasher(Kind::Client);
        match address.map(|address| address.to_canonical()) {
            None => {}
            Some(IpAddr::V4(v4)) => hasher.write_u32(v4.to_bits()),
            Some(IpAddr::V6(v6)) => hasher.write_u64((v6.to_bits() >> 64) as u64),
        }
        hasher.finish()
    }

    /// The key of something that has a name.
    #[must_use]
    pub fn name(&self, name: &str) -> u64 {
        self.of_bytes(Kind::Name, name.as_bytes())
    }

    /// All fields of that name: a second one is not a way to another key that keeps the first.
    fn of_fields(&self, request: &Request<'_>, name: &str) -> Option<u64> {
        let mut values = request.fields_named(name).peekable();
        values.peek()?;
        let mut hasher = self.hasher(Kind::Header);
        for value in values {
            hasher.write(value);
            // No value has a line end in it.
            hasher.write_u8(b'\n');
        }
        Some(hasher.finish())
    }

    fn of_bytes(&self, kind: Kind, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher(kind);
        hasher.write(bytes);
        hasher.finish()
    }

    fn hasher(&self, kind: Kind) -> SipHasher13 {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        hasher.write_u8(kind as u8);
        hasher
    }
}

/// The value of the first cookie of that name.
fn cookie<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    cookies(request).find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
}

/// The names and values of all cookies (RFC 6265 section 4.2.1).
pub(super) fn cookies<'a>(request: &Request<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let pairs = request.fields_named("cookie").flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((&pair[..at], &pair[at + 1..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::guard::tests::Asked;
    use std::collections::HashSet;

    const SECRET: Secret = Secret(1, 2);

    fn client(address: &str) -> u64 {
        SECRET.client(Some(address.parse().unwrap()))
    }

    #[test]
    fn an_ipv6_client_is_its_network_and_an_ipv4_client_itself() {
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_ne!(SECRET.client(None), client("0.0.0.0"));
    }

    #[test]
    fn kinds_do_not_meet_and_a_missing_key_is_the_client() {
        let asked = Asked::from("192.0.2.1")
            .with("x-key", "a")
            .with("cookie", "b=1; session=a; session=other")
            .with("cookie", "c=2");
        let header = KeyOf::Header("x-key".into());
        let key = |by: &KeyOf| asked.ask(|exchange| SECRET.key(by, exchange));
        let session = key(&KeyOf::Cookie("session".into()));
        let keys = [key(&KeyOf::Everybody), key(&KeyOf::Client), key(&header), session, SECRET.name("a")];
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        assert_eq!(key(&KeyOf::Header("absent".into())), key(&KeyOf::Client));
        assert_eq!(key(&KeyOf::Cookie("sess".into())), key(&KeyOf::Client));
        assert_eq!(session, SECRET.of_bytes(Kind::Cookie, b"a"), "the first of two");
        let twice = Asked::from("192.0.2.1").with("x-key", "a").with("x-key", "b");
        assert_ne!(twice.ask(|exchange| SECRET.key(&header, exchange)), key(&header));
    }

    #[test]
    fn another_seed_is_another_order() {
        assert_ne!(Secret::of(1).name("a"), Secret::of(2).name("a"));
        assert_eq!(Secret::of(1).name("a"), Secret::of(1).name("a"));
    }
}
