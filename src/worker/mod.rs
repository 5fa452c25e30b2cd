//! Threads that compute: jobs come from the reactors through bounded queues, and go back with their answers.
//!
//! ```text
//!  reactor 0 --> lane 0 ==\            /== worker 0: home lane, then the others
//!  reactor 1 --> lane 1 ===> workshop =
//!       ^                              \== worker 1 --+
//!       +---------------- desk: completions ----------+
//! ```
//! Promises: every job that was handed in comes back to its reactor once, run or not, whatever its handler
//! does but never return; nobody sleeps while a job waits; nothing is allocated for a job on its way.
//! Not here: connections. A worker holds a [`ReplyTo`], which only a reactor can resolve.

pub mod delay;
mod file;
pub mod job;
pub mod lane;
pub mod pipe;
mod post;
mod threads;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::SegQueue;

pub use job::{Errand, Job, ReplyTo, RequestName};
pub use post::Post;
pub use threads::{Staff, Workers, is_stuck};

use crate::base::clock::monotonic_ns;
use crate::base::crew::Crew;
use crate::gateway::route::Priority;
use crate::http::Source;
use crate::observe::WorkerTally;
use crate::worker::lane::{Lane, Waits};

/// Where workers bring what they have done. A reactor's inbox implements it, so this layer knows no poll.
pub trait ReplyDesk: Send + Sync {
    /// Takes a job back; cannot fail, since a reactor never has more jobs out than its desk has room for.
    /// Returns whether the reactor had to be woken for it.
    fn complete(&self, job: Box<Job>) -> bool;

    /// The pipe of this exchange has room again.
    fn room(&self, to: ReplyTo);
}

/// What reactors and workers share.
pub struct Workshop {
    /// One for each reactor.
    lanes: Box<[Lane]>,
    desks: Box<[Arc<dyn ReplyDesk>]>,
    crew: Crew,
    /// One for each worker there may be.
    posts: Box<[Post]>,
    /// Bodies that nobody wants any more and only a worker may drop.
    discarded: SegQueue<Source>,
    stopping: AtomicBool,
}

impl Workshop {
    /// A workshop for these desks, each of which may have so many jobs out, with a post for each worker that
    /// has a tally.
    #[must_use]
    pub fn new(desks: Vec<Arc<dyn ReplyDesk>>, jobs_max: u32, tallies: &[Arc<WorkerTally>]) -> Workshop {
        Workshop {
            lanes: desks.iter().map(|_| Lane::with_room(jobs_max)).collect(),
            desks: desks.into(),
            crew: Crew::with_limit(tallies.len() as u32),
            posts: tallies.iter().map(|tally| Post::new(Arc::clone(tally))).collect(),
            discarded: SegQueue::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The posts of all workers there may be.
    #[must_use]
    pub fn posts(&self) -> &[Post] {
        &self.posts
    }

    /// The next job, of the home lane mostly, else of the others, each in turn first; and whether it was
    /// stolen.
    #[must_use]
    pub fn take(&self, home: usize, turn: usize) -> Option<(Box<Job>, bool)> {
        // So that the ordinary are never starved by the urgent.
        let ordinary_first = turn.is_multiple_of(ORDINARY_EVERY);
        let count = self.lanes.len();
        // So that a lane which is nobody's home is not starved by one that never empties.
        let first = if turn % ELSEWHERE_EVERY == 1 { (home + turn / ELSEWHERE_EVERY) % count } else { home };
        if let Some(job) = self.lanes[first].take(ordinary_first) {
            return Some((job, first != home));
        }
        let mut others = (0..count).map(|at| (at + turn) % count).filter(|lane| *lane != first);
        others.find_map(|lane| Some((self.lanes[lane].take(ordinary_first)?, lane != home)))
    }

    /// A body that is to be dropped. Asked for with every job, and most often there is none: to look is
    /// cheaper than to try.
    fn next_discarded(&self) -> Option<Source> {
        if self.discarded.is_empty() { None } else { self.discarded.pop() }
    }

    /// Brings a job back to where it came from. Returns whether its reactor had to be woken.
    pub fn deliver(&self, job: Box<Job>) -> bool {
        self.desks[job.to.reactor as usize].complete(job)
    }

    fn has_work(&self) -> bool {
        self.is_stopping() || self.lanes.iter().any(|lane| !lane.is_empty()) || !self.discarded.is_empty()
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// One job in so many is an ordinary one if any waits, however many urgent ones there are.
const ORDINARY_EVERY: usize = 8;
/// One look in so many begins with a lane whose turn it is, be it the home lane or another.
const ELSEWHERE_EVERY: usize = 4;

/// Through which one reactor hands jobs to the workshop.
#[derive(Clone)]
pub struct Hatch {
    shop: Arc<Workshop>,
    reactor: u32,
}

impl Hatch {
    /// The hatch of that reactor.
    #[must_use]
    pub fn new(shop: &Arc<Workshop>, reactor: u32) -> Hatch {
        Hatch { shop: Arc::clone(shop), reactor }
    }

    /// Whose hatch it is.
    #[must_use]
    pub fn reactor(&self) -> u32 {
        self.reactor
    }

    /// Hands a job in. Nobody is woken for it before [`wake`](Hatch::wake).
    ///
    /// # Errors
    /// Gives it back when the lane is full.
    pub fn push(&self, job: Box<Job>) -> Result<(), Box<Job>> {
        self.lane().push(job)
    }

    /// Says that jobs were pushed. Returns whether a worker had to be woken.
    pub fn wake(&self) -> bool {
        self.shop.crew.submitted()
    }

    /// Jobs of this reactor that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lane().len()
    }

    /// Of them, those of that priority.
    #[must_use]
    pub fn waiting_of(&self, priority: Priority) -> usize {
        self.lane().len_of(priority)
    }

    /// How long jobs of this reactor waited.
    #[must_use]
    pub fn waits(&self) -> &Waits {
        self.lane().waits()
    }

    /// Has a body dropped where it was made: it may hold descriptors of the workers' table, and to drop
    /// such a one here would close a stranger's.
    pub fn discard(&self, source: Source) {
        self.shop.discarded.push(source);
        self.shop.crew.submitted();
    }

    /// The desk to which this reactor's jobs come back.
    #[must_use]
    pub fn desk(&self) -> &Arc<dyn ReplyDesk> {
        &self.shop.desks[self.reactor as usize]
    }

    fn lane(&self) -> &Lane {
        &self.shop.lanes[self.reactor as usize]
    }
}

/// What a worker does with a job, between taking it and bringing it back.
fn perform(shop: &Workshop, job: &mut Job, post: &Post, began_ns: u64) -> u64 {
    let waited_ns = began_ns.saturating_sub(job.submitted_ns);
    shop.lanes[job.to.reactor as usize].waits().note(waited_ns);
    post.begin(job, began_ns);
    if began_ns >= job.deadline.ns() && matches!(job.errand, Errand::Call) {
        // Overdue, whether its reactor has noticed yet or not.
        job.ticket.cancel();
    }
    job.run_away();
    let ended_ns = monotonic_ns();
    job.ended_ns = ended_ns;
    post.end(matches!(job.errand, Errand::Unrun), waited_ns, ended_ns - began_ns);
    ended_ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Deadline;

    struct NoDesk;

    impl ReplyDesk for NoDesk {
        fn complete(&self, _: Box<Job>) -> bool {
            false
        }

        fn room(&self, _: ReplyTo) {}
    }

    fn shop(lanes: u32) -> Workshop {
        let desks = (0..lanes).map(|_| Arc::new(NoDesk) as Arc<dyn ReplyDesk>).collect();
        Workshop::new(desks, 64, &[])
    }

    fn bring(shop: &Workshop, reactor: u32) {
        let mut job = Box::new(Job::with_size(64));
        job.to.reactor = reactor;
        assert!(shop.lanes[reactor as usize].push(job).is_ok(), "there is room");
    }

    #[test]
    fn a_lane_that_is_nobodys_home_is_served_beside_one_that_never_empties() {
        let shop = shop(3);
        (0..3).for_each(|lane| bring(&shop, lane));
        let mut served = [0; 3];
        for turn in 0..120 {
            let (job, was_stolen) = shop.take(0, turn).expect("every lane has one");
            assert_eq!(was_stolen, job.to.reactor != 0);
            served[job.to.reactor as usize] += 1;
            bring(&shop, job.to.reactor);
        }
        assert_eq!(served, [100, 10, 10]);
    }

    #[test]
    fn whoever_looks_first_elsewhere_finds_the_job_at_home() {
        let shop = shop(3);
        for turn in 0..24 {
            bring(&shop, 1);
            assert!(shop.take(1, turn).is_some());
            assert!(shop.take(1, turn).is_none());
        }
    }

    #[test]
    fn what_is_overdue_when_it_is_taken_is_not_run() {
        let shop = shop(1);
        let errand = |deadline| {
            let mut job = Job::with_size(64);
            (job.errand, job.deadline) = (Errand::Call, deadline);
            perform(&shop, &mut job, &Post::default(), 1_000);
            job.ticket.is_cancelled()
        };
        assert!(errand(Deadline::at_ns(1_000)));
        assert!(!errand(Deadline::at_ns(1_001)));
        assert!(!errand(Deadline::NEVER));
    }
}
