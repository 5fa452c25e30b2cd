//! How many connections each address has open: asked where they are accepted, on whichever reactor.
//!
//! An IPv6 client is its network of 64 bits. Where the table has no room, a connection is let in uncounted;
//! see [`counts`](super::counts).

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Secret;
use super::counts::{Counted, Counts, Seat};

/// See the module.
///
/// ```
/// use myriapod::gateway::guard::{ConnectionCounts, Secret};
///
/// let counts = ConnectionCounts::new(1, 10_000, Secret::of(7));
/// let address = "192.0.2.1".parse()?;
/// let place = counts.admit(address).expect("it is the first");
/// assert!(counts.admit(address).is_none());
/// counts.leave(place);
/// assert!(counts.admit(address).is_some());
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub struct ConnectionCounts {
    counts: Counts,
    secret: Secret,
    max: AtomicU32,
}

/// Where a connection is counted, if it is.
#[derive(Debug, Default)]
#[must_use = "it is given back when the connection is closed"]
pub struct Admission(Option<Seat>);

impl ConnectionCounts {
    /// Lets each address have so many, and counts at least so many addresses at once.
    #[must_use]
    pub fn new(max: u32, addresses_max: u32, secret: Secret) -> ConnectionCounts {
        ConnectionCounts { counts: Counts::new(addresses_max), secret, max: AtomicU32::new(max) }
    }

    /// Lets each address have so many from now on. Those that are open stay.
    pub fn set_max(&self, max: u32) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Counts one more connection of an address. `None`: it has as many as it may.
    pub fn admit(&self, address: IpAddr) -> Option<Admission> {
        let key = self.secret.client(Some(address));
        match self.counts.enter(key, self.max.load(Ordering::Relaxed)) {
            Counted::In(seat) => Some(Admission(Some(seat))),
            Counted::NoRoom => Some(Admission(None)),
            Counted::Over => None,
        }
    }

    /// A connection that was admitted is closed.
    pub fn leave(&self, admission: Admission) {
        if let Some(seat) = admission.0 {
            self.counts.leave(seat);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_connections_and_takes_nobody_elses() {
        let counts = ConnectionCounts::new(2, 100, Secret::of(1));
        let admit = |text: &str| counts.admit(text.parse().unwrap());
        let (one, _two) = (admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap());
        assert!(admit("2001:db8::3").is_none(), "all of one network");
        assert!(admit("192.0.2.1").is_some());
        counts.leave(one);
        assert!(admit("2001:db8::3").is_some());
        counts.set_max(3);
        assert!(admit("2001:db8::3").is_some() && admit("2001:db8::3").is_none());
    }

    #[test]
    fn a_table_without_room_lets_in_and_forgets_nobody() {
        let counts = ConnectionCounts::new(1, 1, Secret::of(1));
        let addresses = (0..100).map(|low| IpAddr::from([192, 0, 2, low]));
        let admissions: Vec<_> = addresses.clone().map(|address| counts.admit(address).unwrap()).collect();
        assert_eq!(addresses.filter(|address| counts.admit(*address).is_none()).count(), 8);
        admissions.into_iter().for_each(|admission| counts.leave(admission));
        assert_eq!((0..8).filter_map(|low| counts.admit(IpAddr::from([10, 0, 0, low]))).count(), 8);
    }
}
