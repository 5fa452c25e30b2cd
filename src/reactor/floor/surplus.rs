//! What is left over after a burst is given back a little at a time: buffers, jobs, slots, places in queues.
//!
//! Promises: what is needed again and again stays; a reactor with nothing left over is not woken for it.

use super::Floor;
use crate::reactor::stream::Stream;

/// How often it is looked at.
const TRIM_MS: u32 = 100;
/// Places that a queue keeps.
const QUEUE_KEPT: usize = 64;

impl<S: Stream> Floor<S> {
    /// Gives something back if the time has come, and sees to it that it comes while there is something.
    pub(super) fn tend_surplus(&mut self) {
        let now = self.clock.now();
        if self.trim_at.is_some_and(|tick| now.has_reached(tick)) {
            self.trim();
        }
        if self.trim_at.is_none() && self.has_surplus() {
            self.trim_at = Some(now.after_ms(TRIM_MS));
        }
    }

    fn has_surplus(&self) -> bool {
        self.pool.has_surplus()
            || self.clients.has_surplus()
            || self.dispatch.has_surplus()
            || self.lines.has_surplus()
            || self.owes_memory
    }

    /// Slots go back at once; the allocator passes the rest on to the system once all of it is there.
    fn trim(&mut self) {
        self.trim_at = None;
        let trimmed = self.pool.trim() + self.clients.trim(self.discard) + self.dispatch.trim();
        let trimmed = trimmed + self.lines.trim();
        if trimmed > 0 {
            self.owes_memory = true;
        } else if std::mem::take(&mut self.owes_memory) {
            self.ready.shrink_to(QUEUE_KEPT);
            self.unfinished.shrink_to(QUEUE_KEPT);
            self.thirsty.shrink_to(QUEUE_KEPT);
            self.due.shrink_to(QUEUE_KEPT);
            (self.release_memory)();
        }
    }
}
