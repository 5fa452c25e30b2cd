//! What comes from the workers: jobs that are done, room for more of a body.

use super::Floor;
use crate::base::slots::Key;
use crate::reactor::client::{Client, tell_of_panic_in};
use crate::reactor::stream::Stream;
use crate::worker::{Errand, Job, ReplyTo};

impl<S: Stream> Floor<S> {
    /// A job came home: its connection goes on, if it still waits for it.
    pub(in crate::reactor) fn take_home(&mut self, job: Box<Job>) {
        self.dispatch.came_home();
        tell_of_panic_in(&job, &self.tally, &self.log);
        let key = Key::from_parts(job.to.slot, job.to.generation);
        match self.clients.get_mut(key) {
            Some(client) if client.awaits(job.to.number) => {
                client.come_home(job);
                self.enqueue(key, true);
            }
            _ => {
                self.tally.late_answers.add(u64::from(!matches!(job.errand, Errand::Unrun)));
                self.dispatch.give_back(job);
            }
        }
        // A permit came home with it, for the first who has waited for one and still does.
        while let Some((slot, generation)) = self.dispatch.next_hungry() {
            let key = Key::from_parts(slot, generation);
            if self.clients.get_mut(key).is_some_and(Client::takes_permit) {
                self.enqueue(key, true);
                break;
            }
        }
    }

    /// The handler of that exchange has room for more of its body. One whose client was given up on may say
    /// so too.
    pub(in crate::reactor) fn make_room(&mut self, to: ReplyTo) {
        let key = Key::from_parts(to.slot, to.generation);
        let Some(client) = self.clients.get_mut(key).filter(|client| client.awaits(to.number)) else {
            return;
        };
        client.has_room();
        self.enqueue(key, true);
    }
}
