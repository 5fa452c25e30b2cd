//! Hosts that routes are for, by number: a request's host is looked up once, whatever the number of routes.

use std::net::Ipv6Addr;

use super::quick::Map;
use crate::config::site::HostPattern;

/// See the module.
///
/// Invariant: what is wider than a suffix is a shorter suffix, so every way ends at `ANY`.
#[derive(Debug)]
pub(super) struct Hosts {
    /// Names as `example.com`, suffixes as `.example.com`; all in lower case.
    numbers: Map,
    /// For each number that of the longest suffix that it lies below.
    wider: Vec<u32>,
}

impl Default for Hosts {
    fn default() -> Hosts {
        Hosts { numbers: Map::default(), wider: vec![Hosts::ANY] }
    }
}

impl Hosts {
    /// That of routes for every host.
    pub(super) const ANY: u32 = 0;
    /// Names are no longer (RFC 1035 section 2.3.4, and room for brackets).
    const BYTES_MAX: usize = 256;

    /// The number of a pattern; its own, if it is new.
    pub(super) fn number(&mut self, pattern: &HostPattern) -> u32 {
        let key = match pattern {
            HostPattern::Exact(name) => canonical(name),
            HostPattern::Below(suffix) => suffix.trim_end_matches('.').to_ascii_lowercase(),
        };
        let next = self.wider.len() as u32;
        let number = self.numbers.get_or_insert(key.as_bytes(), next);
        if number == next {
            self.wider.push(Hosts::ANY);
        }
        number
    }

    /// Finds for each pattern what it lies below, once all are there.
    pub(super) fn settle(&mut self) {
        for (key, number) in self.numbers.iter() {
            // A suffix does not lie below itself.
            let name = key.strip_prefix(b".").unwrap_or(key);
            self.wider[number as usize] = self.below(name);
        }
    }

    /// The number of the pattern that says most about a host, with or without a port.
    pub(super) fn find(&self, host: &[u8]) -> u32 {
        if self.numbers.is_empty() {
            return Hosts::ANY;
        }
        let host = without_port(host);
        // Most are written as the pattern is. What a suffix is known by is no name.
        let as_sent = self.numbers.get(host).filter(|_| !host.starts_with(b"."));
        as_sent.unwrap_or_else(|| self.find_folded(host))
    }

    /// Whatever the case of its letters, and of an IPv6 address whatever its spelling.
    fn find_folded(&self, host: &[u8]) -> u32 {
        let mut room = [0; Hosts::BYTES_MAX];
        let Some(name) = room.get_mut(..host.len()) else { return Hosts::ANY };
        name.copy_from_slice(host);
        name.make_ascii_lowercase();
        if name.starts_with(b"[") {
            let literal = std::str::from_utf8(name).map(canonical).unwrap_or_default();
            return self.numbers.get(literal.as_bytes()).unwrap_or(Hosts::ANY);
        }
        // What a suffix is known by is no name.
        let exact = self.numbers.get(name).filter(|_| !name.starts_with(b"."));
        exact.unwrap_or_else(|| self.below(name))
    }

    /// A number and those of all suffixes that its pattern lies below, the longest first, [`Hosts::ANY`]
    /// last.
    pub(super) fn and_wider(&self, number: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(number), |number| {
            (*number != Hosts::ANY).then(|| self.wider[*number as usize])
        })
    }

    /// The number of the longest suffix that the name lies below. Its labels are few: 127 at most.
    fn below(&self, name: &[u8]) -> u32 {
        let dots = memchr::memchr_iter(b'.', name).filter(|dot| *dot > 0);
        dots.filter_map(|dot| self.numbers.get(&name[dot..])).next().unwrap_or(Hosts::ANY)
    }
}

/// The host of an authority, without the dot that names may end with.
fn without_port(authority: &[u8]) -> &[u8] {
    if authority.starts_with(b"[") {
        let end = memchr::memchr(b']', authority).map_or(authority.len(), |end| end + 1);
        return &authority[..end];
    }
    let host = memchr::memchr(b':', authority).map_or(authority, |colon| &authority[..colon]);
    host.strip_suffix(b".").unwrap_or(host)
}

/// One spelling for each host: an address of IPv6 has many.
fn canonical(name: &str) -> String {
    let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    match literal.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => name.trim_end_matches('.').to_ascii_lowercase(),
    }
}
