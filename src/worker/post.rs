//! What one worker is at: written by it alone, read by anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::observe::WorkerTally;
use crate::worker::job::Job;

/// See the module.
///
/// Invariant: no cache line of it belongs to another worker too: the plate is written with every job.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Post {
    tally: Arc<WorkerTally>,
    plate: Plate,
}

/// A job at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtHand {
    /// When it was begun, in nanoseconds of the machine's clock.
    pub began_ns: u64,
    /// When its answer is due.
    pub due_ns: u64,
    /// Method, pattern and id of the request.
    pub what: String,
}

impl Post {
    /// A post whose worker counts there.
    #[must_use]
    pub fn new(tally: Arc<WorkerTally>) -> Post {
        Post { tally, plate: Plate::default() }
    }

    /// What its worker has done.
    #[must_use]
    pub fn tally(&self) -> &WorkerTally {
        &self.tally
    }

    pub(super) fn begin(&self, job: &Job, began_ns: u64) {
        self.plate.write(job);
        self.tally.due_ns.set(job.deadline.ns());
        self.tally.began_ns.set(began_ns);
    }

    pub(super) fn end(&self, was_unrun: bool, waited_ns: u64, took_ns: u64) {
        let tally = &self.tally;
        tally.began_ns.set(0);
        tally.jobs.add(1);
        tally.busy_ns.add(took_ns);
        tally.wait.record(waited_ns, 1);
        if was_unrun {
            tally.unrun.add(1);
        } else {
            tally.service.record(took_ns, 1);
        }
    }

    /// The job at hand.
    #[must_use]
    pub fn at_hand(&self) -> Option<AtHand> {
        let began_ns = self.tally.began_ns.value();
        let at_hand = AtHand { began_ns, due_ns: self.tally.due_ns.value(), what: self.plate.read() };
        // It may have been finished meanwhile, and the rest be about the next one.
        (began_ns != 0 && self.tally.began_ns.value() == began_ns).then_some(at_hand)
    }
}

/// A short text that one thread writes again and again and others read now and then, without a lock: who
/// finds it changing reads again.
#[derive(Debug, Default)]
struct Plate {
    /// Odd while it is being written.
    version: AtomicU64,
    words: [AtomicU64; Plate::WORDS],
}

impl Plate {
    const WORDS: usize = 12;
    const BYTES: usize = Plate::WORDS * 8;

    fn write(&self, job: &Job) {
        let mut text = [0; Plate::BYTES];
        let mut room = &mut text[..];
        let pattern = job.route.as_ref().map_or("", |route| route.pattern());
        let method = job.index.method.as_str();
        let (id, mut number) = (job.notes.request_id(), itoa::Buffer::new());
        for part in [method, " ", pattern, " "] {
            put(&mut room, part);
        }
        if id.is_empty() {
            let to = job.to;
            for (at, part) in [to.reactor, to.slot, to.generation, to.number].into_iter().enumerate() {
                put(&mut room, if at == 0 { "" } else { "-" });
                put(&mut room, number.format(part));
            }
        } else {
            put(&mut room, id);
        }
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, bytes) in self.words.iter().zip(text.as_chunks::<8>().0) {
            word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        self.version.store(version + 2, Ordering::Release);
    }

    fn read(&self) -> String {
        // A writer that is faster than this for long does nothing worth telling.
        for _ in 0..100 {
            let version = self.version.load(Ordering::Acquire);
            let words = self.words.each_ref().map(|word| word.load(Ordering::Relaxed).to_le_bytes());
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version {
                let text = words.as_flattened();
                let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
                return String::from_utf8_lossy(&text[..end]).into_owned();
            }
        }
        String::new()
    }
}

/// As much of the text as there is room for.
fn put(room: &mut &mut [u8], text: &str) {
    let count = text.len().min(room.len());
    let (now, rest) = std::mem::take(room).split_at_mut(count);
    now.copy_from_slice(&text.as_bytes()[..count]);
    *room = rest;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;

    #[test]
    fn a_post_tells_what_is_at_hand() {
        let (post, mut job) = (Post::default(), Job::with_size(64));
        assert_eq!(post.at_hand(), None);
        job.index.method = Method::Get;
        job.to.number = 7;
        post.begin(&job, 5);
        let at_hand = post.at_hand().expect("it works");
        assert_eq!((at_hand.began_ns, at_hand.what.as_str()), (5, "GET  0-0-0-7"));
        job.notes.set_request_id(&"i".repeat(200));
        post.begin(&job, 6);
        assert_eq!(post.at_hand().expect("it works").what.len(), Plate::BYTES);
        post.end(false, 1, 2);
        assert_eq!(post.at_hand(), None);
        assert_eq!((post.tally().jobs.value(), post.tally().busy_ns.value()), (1, 2));
    }
}
