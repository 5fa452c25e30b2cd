//! What comes from upstreams, and what a reload brings.

use std::sync::Arc;

use super::{Edge, Floor};
use crate::base::slots::Key;
use crate::gateway::Gateway;
use crate::reactor::SITE_MAIN;
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

    /// From here on requests are answered by these; those under way by what they were decided by.
    pub(in crate::reactor) fn reload(&mut self, gateways: Arc<[Gateway]>) {
        // Opened before the old ones are closed; both by this thread, in whose table they are.
        self.folders = gateways[usize::from(SITE_MAIN)].open_folders();
        self.epoch = Epoch::new(gateways);
        self.look_at_trust();
    }

    /// Whether the gateway wants to know who its clients are.
    pub(super) fn look_at_trust(&mut self) {
        if self.epoch.gateway(SITE_MAIN).site().is_some() {
            self.lines.remember_peers();
        }
    }

    /// Whether who comes is to be asked who they are.
    pub(in crate::reactor) fn wants_peers(&self) -> bool {
        self.lines.remembers_peers()
    }
}
