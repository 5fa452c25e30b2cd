//! What comes from upstreams, and what a reload brings.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Edge, Floor};
use crate::base::slots::Key;
use crate::config::Limits;
use crate::gateway::Gateway;
use crate::gateway::site::Site;
use crate::observe::log::{Level, Log};
use crate::reactor::ENTRANCE_MAIN;
use crate::reactor::client::Client;
use crate::reactor::epoch::Epoch;
use crate::reactor::stream::Stream;

impl<S: Stream> Floor<S> {
    /// An edge was told of a line: whoever uses it goes on.
    #[inline]
    pub(in crate::reactor) fn note_line(&mut self, slot: u32, generation: u32, edge: Edge) {
        let Some((slot, generation)) = self.lines.note((slot, generation), edge) else { return };
        let is_news = edge.readable || edge.ending || edge.broken;
        self.enqueue(Key::from_parts(slot, generation), is_news);
    }

    /// Lines have come free: those who wait for one go on.
    pub(super) fn wake_waiting(&mut self) {
        while let Some(((slot, generation), upstream)) = self.lines.next_woken() {
            let key = Key::from_parts(slot, generation);
            if self.clients.get_mut(key).is_some_and(Client::may_choose_again) {
                self.enqueue(key, true);
            } else {
                // It is gone or served, so it is the turn of the next.
                self.lines.wake_waiting(&upstream);
            }
        }
    }

    /// From here on requests are answered by these and bounded so; those under way by what they were decided
    /// by.
    pub(in crate::reactor) fn reload(&mut self, gateways: Arc<[Gateway]>, limits: Limits) {
        // Opened before the old ones are closed; both by this thread, in whose table they are.
        self.folders = gateways[usize::from(ENTRANCE_MAIN)].open_folders();
        self.epoch = Epoch::new(gateways);
        self.limits = limits;
        let knew_peers = self.wants_peers();
        self.look_at_site();
        if self.wants_peers() && !knew_peers {
            self.ask_peers();
        }
    }

    /// What the site wants to be known and kept.
    pub(super) fn look_at_site(&mut self) {
        let clusters = self.epoch.gateway(ENTRANCE_MAIN).site().map_or(&[][..], Site::clusters);
        let members = clusters.iter().flat_map(|cluster| &cluster.members);
        self.lines.keep_only(members.map(|member| member.endpoint.id));
        if let Some(site) = self.epoch.gateway(ENTRANCE_MAIN).site() {
            self.peers.remember();
            self.peers.count_by(site.connections());
            self.peers.introduce(site.trust().proxy_protocol);
        } else {
            self.peers.introduce(false);
        }
    }

    /// Nobody wanted to know who they were when they came.
    fn ask_peers(&mut self) {
        let keys: Vec<_> = self.clients.keys().collect();
        for key in keys {
            if let Some(client) = self.clients.get_mut(key) {
                let peer = client.stream().peer_address().filter(|_| client.entrance() == ENTRANCE_MAIN);
                // Those that are open stay, however many they are.
                let _ = self.peers.enter(key.index(), peer.map(|peer| peer.to_canonical()));
            }
        }
    }

    /// Whether who comes is to be asked who they are.
    pub(in crate::reactor) fn wants_peers(&self) -> bool {
        self.peers.are_remembered()
    }
}

/// An address has as many connections as it may.
#[cold]
pub(in crate::reactor) fn tell_of_crowd(peer: Option<IpAddr>, log: &Log) {
    let Some(peer) = peer else { return };
    let text = format_args!("{peer} has as many connections as it may; another was closed");
    log.event(Level::Warn, "connections", text);
}
