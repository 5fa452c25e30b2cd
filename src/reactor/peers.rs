//! Who is at the other end, by the slot of a connection, where the gateway wants to know; and how many
//! connections each address has, where that is limited.
//!
//! Promises: who is counted in is counted out when its connection closes, by the table that counted it in.
//! Where nobody wants to know, nothing is kept and nothing is asked.

use std::net::IpAddr;
use std::sync::Arc;

use crate::gateway::guard::{Admission, ConnectionCounts};

/// See the module.
#[derive(Default)]
pub(super) struct Peers {
    /// By slot.
    known: Option<Vec<Peer>>,
    /// Shared by all reactors, and the same from the first reload that limits to the end.
    counts: Option<Arc<ConnectionCounts>>,
    /// Whether connections begin with what a balancer says of them.
    are_introduced: bool,
}

#[derive(Default)]
struct Peer {
    address: Option<IpAddr>,
    admission: Option<Admission>,
}

/// An address has as many connections as it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl Peers {
    /// From here on it is remembered who the peers are.
    pub(super) fn remember(&mut self) {
        self.known.get_or_insert_default();
    }

    pub(super) fn are_remembered(&self) -> bool {
        self.known.is_some()
    }

    /// How many connections an address may have from here on; those that are open stay, and are counted in as
    /// far as there is room.
    pub(super) fn count_by(&mut self, counts: Option<(&Arc<ConnectionCounts>, u32)>) {
        let Some((counts, max)) = counts else { return };
        counts.set_max(max);
        if self.counts.replace(Arc::clone(counts)).is_some() {
            return;
        }
        for peer in self.known.iter_mut().flatten() {
            peer.admission = peer.address.and_then(|address| counts.admit(address));
        }
    }

    /// Whether connections that come now begin with what a balancer says of them.
    pub(super) fn introduce(&mut self, are_introduced: bool) {
        self.are_introduced = are_introduced;
    }

    pub(super) fn are_introduced(&self) -> bool {
        self.are_introduced
    }

    /// Says who is at the other end of a connection, and counts it in.
    ///
    /// # Errors
    /// When its address has as many as it may.
    pub(super) fn enter(&mut self, slot: u32, address: Option<IpAddr>) -> Result<(), Crowded> {
        self.leave(slot);
        let Some(known) = &mut self.known else { return Ok(()) };
        let admission = match (&self.counts, address) {
            (Some(counts), Some(address)) => Some(counts.admit(address).ok_or(Crowded)?),
            _ => None,
        };
        if known.len() <= slot as usize {
            known.resize_with(slot as usize + 1, Peer::default);
        }
        known[slot as usize] = Peer { address, admission };
        Ok(())
    }

    /// The connection is closed.
    pub(super) fn leave(&mut self, slot: u32) {
        let Some(peer) = self.known.as_mut().and_then(|known| known.get_mut(slot as usize)) else { return };
        let Peer { admission, .. } = std::mem::take(peer);
        if let (Some(counts), Some(admission)) = (&self.counts, admission) {
            counts.leave(admission);
        }
    }

    pub(super) fn address(&self, slot: u32) -> Option<IpAddr> {
        self.known.as_ref()?.get(slot as usize)?.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::guard::Secret;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    #[test]
    fn nothing_is_kept_of_whom_nobody_asks_about() {
        let mut peers = Peers::default();
        assert_eq!(peers.enter(7, HERE), Ok(()));
        assert_eq!(peers.address(7), None);
        peers.leave(7);
    }

    #[test]
    fn an_address_has_its_connections_and_gets_them_back() {
        let counts = Arc::new(ConnectionCounts::new(1, 16, Secret::of(1)));
        let mut peers = Peers::default();
        peers.remember();
        peers.enter(0, HERE).unwrap();
        peers.enter(1, HERE).unwrap();
        peers.count_by(Some((&counts, 1)));
        assert_eq!(peers.enter(2, HERE), Err(Crowded));
        assert_eq!(peers.enter(2, None), Ok(()), "a unix socket is nobody's");
        peers.leave(2);
        peers.leave(1);
        assert_eq!(peers.enter(2, HERE), Err(Crowded), "for that one there was no room");
        peers.leave(0);
        peers.leave(0);
        assert_eq!((peers.enter(2, HERE), peers.address(2)), (Ok(()), HERE));
        assert_eq!(peers.enter(3, HERE), Err(Crowded));
        peers.count_by(Some((&counts, 2)));
        assert_eq!(peers.enter(3, HERE), Ok(()));
    }
}
