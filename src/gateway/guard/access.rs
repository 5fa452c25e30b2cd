//! Lets clients in by their address: 403 for others.
//!
//! Who is denied stays out, even if allowed. Where anything is allowed, nobody else is; a client without an
//! address, as on a unix socket, is nobody else's either, so it needs a list that allows nothing.
//! Ranges are merged and sorted when they are read, so asking takes as long for one as for thousands is
//! worth: a search by halves.

use std::net::IpAddr;

use crate::config::Cidr;
use crate::config::cidr::as_v6;
use crate::gateway::Exchange;
use crate::gateway::middleware::{Flow, Middleware};
use crate::http::{Response, Status};

/// See the module.
pub struct Access {
    allow: Ranges,
    deny: Ranges,
}

/// Ranges of addresses, first and last, sorted, and apart from each other.
pub struct Ranges(Vec<(u128, u128)>);

impl Access {
    /// Lets in who is in `allow`, or everybody where that is empty, but never who is in `deny`.
    #[must_use]
    pub fn new(allow: &[Cidr], deny: &[Cidr]) -> Access {
        Access { allow: Ranges::of(allow), deny: Ranges::of(deny) }
    }

    fn lets_in(&self, client: Option<IpAddr>) -> bool {
        let Some(client) = client else { return self.allow.0.is_empty() };
        !self.deny.contains(client) && (self.allow.0.is_empty() || self.allow.contains(client))
    }
}

impl Middleware for Access {
    fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
        match self.lets_in(exchange.arrival().client) {
            true => Flow::On,
            false => Flow::Answer(Response::plain(Status::FORBIDDEN)),
        }
    }
}

impl Ranges {
    /// The addresses that are in any of these.
    #[must_use]
    pub fn of(ranges: &[Cidr]) -> Ranges {
        let mut sorted: Vec<(u128, u128)> = ranges.iter().map(Cidr::bounds).collect();
        sorted.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(sorted.len());
        for (first, last) in sorted {
            match merged.last_mut() {
                Some(known) if known.1.checked_add(1).is_none_or(|next| first <= next) => {
                    known.1 = known.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        Ranges(merged)
    }

    /// Whether an address is in one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = as_v6(address);
        let behind = self.0.partition_point(|(first, _)| *first <= address);
        behind > 0 && address <= self.0[behind - 1].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::guard::tests::Asked;
    use proptest::prelude::*;

    fn ranges(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    fn status(access: &Access, client: &str) -> u16 {
        Asked::from(client).pass(access).1.status.code()
    }

    #[test]
    fn who_is_denied_stays_out_even_if_allowed() {
        let access = Access::new(&ranges(&["10.0.0.0/8", "2001:db8::/32"]), &ranges(&["10.1.0.0/16"]));
        for (client, expected) in
            [("10.2.0.1", 200), ("10.1.2.3", 403), ("192.0.2.1", 403), ("2001:db8::1", 200), ("::1", 403)]
        {
            assert_eq!(status(&access, client), expected, "{client}");
        }
        assert_eq!(status(&access, "::ffff:10.1.2.3"), 403, "the same address");
        assert_eq!(status(&access, "a unix socket"), 403);
    }

    #[test]
    fn where_nothing_is_allowed_everybody_is() {
        let access = Access::new(&[], &ranges(&["192.0.2.0/24"]));
        assert_eq!(
            ["192.0.2.9", "192.0.3.9", "a unix socket"].map(|client| status(&access, client)),
            [403, 200, 200]
        );
    }

    #[test]
    fn neighbours_become_one_range() {
        assert_eq!(Ranges::of(&ranges(&["10.0.1.0/24", "10.0.0.0/24", "10.0.0.5/32"])).0.len(), 1);
        assert_eq!(Ranges::of(&ranges(&["::/0", "10.0.0.0/24"])).0, [(0, u128::MAX)]);
    }

    proptest! {
        #[test]
        fn a_search_by_halves_finds_what_a_look_at_each_finds(
            list in proptest::collection::vec((any::<u8>(), 24u8..=32), 0..60), low in any::<u16>()
        ) {
            let list: Vec<Cidr> = list
                .into_iter()
                .map(|(low, bits)| {
                    let address = (0x0a00_0000 | u32::from(low) << 4) & (u32::MAX << (32 - bits));
                    format!("{}/{bits}", std::net::Ipv4Addr::from(address)).parse().unwrap()
                })
                .collect();
            let address = IpAddr::from((0x0a00_0000 | u32::from(low & 0x1fff)).to_be_bytes());
            let one_by_one = list.iter().any(|range| range.contains(address));
            prop_assert_eq!(Ranges::of(&list).contains(address), one_by_one);
        }
    }
}
