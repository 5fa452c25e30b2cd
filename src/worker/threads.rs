//! The workers' threads: started, watched, stopped.
//!
//! A handler that never returns keeps its thread for good: threads cannot be ended from outside. So it is
//! told, once, and a substitute takes its place, as long as there are posts; nobody waits for it at the end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, iter};

use crate::base::clock::monotonic_ns;
use crate::base::guarded::guarded;
use crate::observe::log::{Level, Log};
use crate::worker::post::AtHand;
use crate::worker::{Post, Workshop, perform};

/// How long after its deadline, or after its begin where it has none, a job is called stuck.
const STUCK_BEHIND_DEADLINE_NS: u64 = 1_000_000_000;
const STUCK_WITHOUT_DEADLINE_NS: u64 = 10_000_000_000;
/// How often the warden looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long handlers whose answer nobody wants any more are waited for at the end.
const STRAGGLERS_MAX: Duration = Duration::from_secs(1);

/// How many workers there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staff {
    /// From the start.
    pub workers: u32,
    /// To take the place of those that are stuck.
    pub substitutes: u32,
}

impl Staff {
    /// So many workers, each of which may be stuck once.
    #[must_use]
    pub fn of(workers: u32) -> Staff {
        Staff { workers, substitutes: workers }
    }

    /// Posts that are needed for them.
    #[must_use]
    pub fn posts(self) -> u32 {
        self.workers + self.substitutes
    }
}

/// See the module. Dropping it stops them.
pub struct Workers {
    shop: Arc<Workshop>,
    warden: Option<JoinHandle<()>>,
    /// Rings off when the last worker has ended.
    ended: mpsc::Receiver<()>,
}

impl Workers {
    /// Starts the workers and who watches over them.
    ///
    /// # Errors
    /// When the system has no thread left; those that were started end.
    ///
    /// `stuck` is kept at the number of those who are in a handler that does not return.
    pub fn start(
        shop: &Arc<Workshop>,
        staff: Staff,
        stuck: &Arc<AtomicU32>,
        log: &Log,
    ) -> io::Result<Workers> {
        let (alive, ended) = mpsc::channel();
        let mut workers = Workers { shop: Arc::clone(shop), warden: None, ended };
        for number in 0..staff.workers {
            start_one(shop, number, alive.clone())?;
        }
        let warden = Warden {
            shop: Arc::clone(shop),
            log: log.clone(),
            next: staff.workers,
            posts: staff.posts(),
            alive,
            told: Vec::new(),
            stuck: Arc::clone(stuck),
        };
        workers.warden = Some(thread::Builder::new().name("warden".to_owned()).spawn(|| warden.watch())?);
        Ok(workers)
    }

    /// Ends them, once the jobs that wait are gone through, and tells how many handlers did not return in
    /// time and are left to themselves.
    pub fn stop(mut self) -> usize {
        self.end()
    }

    fn end(&mut self) -> usize {
        self.shop.stopping.store(true, Ordering::Release);
        self.shop.crew.wake_all();
        if let Some(warden) = self.warden.take() {
            warden.thread().unpark();
            let _ = warden.join();
        }
        // It ends with the last of those who could have said something, which nobody does.
        let _ = self.ended.recv_timeout(STRAGGLERS_MAX);
        let left = self.shop.posts.iter().filter(|post| post.at_hand().is_some()).count();
        // What is left was made by workers, and this thread has their table of descriptors.
        iter::from_fn(|| self.shop.discarded.pop()).for_each(|source| {
            guarded(|| drop(source));
        });
        left
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if self.warden.is_some() {
            self.end();
        }
    }
}

fn start_one(shop: &Arc<Workshop>, number: u32, alive: mpsc::Sender<()>) -> io::Result<()> {
    let shop = Arc::clone(shop);
    thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        work(&shop, number);
        drop(alive);
    })?;
    Ok(())
}

/// What a worker does: take a job, do it, bring it back; sleep when there is none.
fn work(shop: &Workshop, number: u32) {
    let mut member = shop.crew.join(number);
    let post = &shop.posts[number as usize];
    let tally = post.tally();
    let home = number as usize % shop.lanes.len();
    let mut turn = number as usize;
    // The end of one job is the begin of the next, if that was there already.
    let mut now_ns = None;
    tally.manned.set(1);
    loop {
        turn = turn.wrapping_add(1);
        // Asked before the lanes are looked through: what was handed in before the end was said is found.
        let is_last_look = shop.is_stopping();
        if let Some((mut job, was_stolen)) = shop.take(home, turn) {
            member.found(|| shop.has_work());
            tally.steals.add(u64::from(was_stolen));
            now_ns = Some(perform(shop, &mut job, post, now_ns.unwrap_or_else(monotonic_ns)));
            tally.wakes.add(u64::from(shop.deliver(job)));
        } else if let Some(source) = shop.discarded.pop() {
            guarded(|| drop(source));
        } else if is_last_look {
            break;
        } else {
            now_ns = None;
            tally.rests.add(1);
            member.rest(|| shop.has_work());
        }
    }
    tally.manned.set(0);
}

/// Who looks at the posts now and then.
struct Warden {
    shop: Arc<Workshop>,
    log: Log,
    /// The next post to be manned.
    next: u32,
    posts: u32,
    alive: mpsc::Sender<()>,
    /// The jobs that were told to be stuck, by post and begin.
    told: Vec<(usize, u64)>,
    /// How many there are now, for whoever wants to know.
    stuck: Arc<AtomicU32>,
}

impl Warden {
    fn watch(mut self) {
        while !self.shop.is_stopping() {
            let shop = Arc::clone(&self.shop);
            let now_ns = monotonic_ns();
            let stuck = |post: &Post| post.at_hand().filter(|job| is_stuck(job, now_ns));
            let stuck =
                shop.posts.iter().enumerate().filter_map(|(number, post)| Some((number, stuck(post)?)));
            let stuck: Vec<_> = stuck.collect();
            self.stuck.store(stuck.len() as u32, Ordering::Relaxed);
            self.told.retain(|told| stuck.iter().any(|(number, job)| (*number, job.began_ns) == *told));
            for (number, job) in stuck {
                if !self.told.contains(&(number, job.began_ns)) {
                    self.told.push((number, job.began_ns));
                    self.tell(number, &job, now_ns);
                }
            }
            thread::park_timeout(LOOK_EVERY);
        }
    }

    fn tell(&mut self, number: usize, job: &AtHand, now_ns: u64) {
        let seconds = (now_ns - job.began_ns) as f64 / 1e9;
        let what = &job.what;
        let remedy = match self.substitute() {
            true => "a substitute takes its place",
            false => "there is no substitute left",
        };
        self.log.event(
            Level::Error,
            "stuck",
            format_args!("worker {number} has been in the handler of {what} for {seconds:.1} s; {remedy}"),
        );
    }

    fn substitute(&mut self) -> bool {
        let is_there = self.next < self.posts && start_one(&self.shop, self.next, self.alive.clone()).is_ok();
        self.next += u32::from(is_there);
        is_there
    }
}

/// Whether a job is not going to end.
#[must_use]
pub fn is_stuck(job: &AtHand, now_ns: u64) -> bool {
    let due_ns = match job.due_ns {
        u64::MAX => job.began_ns + STUCK_WITHOUT_DEADLINE_NS,
        due_ns => due_ns.max(job.began_ns) + STUCK_BEHIND_DEADLINE_NS,
    };
    now_ns >= due_ns
}
