//! Where connections come from: a port pair is finite, source addresses are not.
//!
//! One source address has at most 64 512 ports towards one listener, 28 232 as Linux comes. All of
//! 127.0.0.0/8 is this host, so on loopback each thread takes addresses of its own, in turn, and no thread
//! ever needs many ports of one.

use std::net::{IpAddr, Ipv4Addr};

/// The source addresses of one thread, in turn; none leaves the choice to the kernel.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    all: Vec<IpAddr>,
    next: usize,
}

/// Addresses a thread uses in turn: with 20 000 connections, 1250 ports of each.
const PER_THREAD: u32 = 16;
/// 127.1.0.0: nobody expects the first of loopback, 127.0.0.1, to be used up by a load generator.
const FIRST: u32 = 0x7f01_0000;

impl Sources {
    /// The kernel chooses.
    pub fn any() -> Sources {
        Sources::default()
    }

    /// These, in turn.
    pub fn of(all: Vec<IpAddr>) -> Sources {
        Sources { all, next: 0 }
    }

    /// A share of loopback for thread `number`.
    pub fn loopback(number: u32) -> Sources {
        let last_octet = |place: u32| FIRST + number * 256 + 1 + place;
        Sources::of((0..PER_THREAD).map(|place| Ipv4Addr::from_bits(last_octet(place)).into()).collect())
    }

    /// The address the next connection comes from.
    pub fn next(&mut self) -> Option<IpAddr> {
        let address = self.all.get(self.next).copied();
        self.next = (self.next + 1) % self.all.len().max(1);
        address
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_threads_share_an_address() {
        let mut seen = HashSet::new();
        for number in 0..1000 {
            let mut sources = Sources::loopback(number);
            for _ in 0..PER_THREAD {
                let address = sources.next().unwrap();
                assert!(address.is_loopback());
                assert!(seen.insert(address), "{address} twice");
            }
            assert!(seen.contains(&sources.next().unwrap()), "begins again");
        }
    }

    #[test]
    fn without_addresses_the_kernel_chooses() {
        assert_eq!(Sources::any().next(), None);
    }
}
