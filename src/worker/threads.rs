//! The workers' threads: started, watched, stopped.
//!
//! A handler that never returns keeps its thread for good: threads cannot be ended from outside. So it is
//! told, once, and a substitute takes its place, as long as there are posts; nobody waits for it at the end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io, iter};

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
/// Even when all time is up: those who look whether they are wanted have just been told that they are not.
const STRAGGLERS_MIN: Duration = Duration::from_millis(50);

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
            start_one(shop, number, number, alive.clone())?;
        }
        let warden = Warden {
            shop: Arc::clone(shop),
            log: log.clone(),
            homes: (0..staff.workers).collect(),
            posts: staff.posts(),
            alive,
            told: Vec::new(),
            stuck: Arc::clone(stuck),
        };
        workers.warden = Some(thread::Builder::new().name("warden".to_owned()).spawn(|| warden.watch())?);
        Ok(workers)
    }

    /// Ends them, once the jobs that wait are gone through. Handlers that still run are waited for about so
    /// long, and at most a second: nobody wants their answers. Tells how many did not return and are left to
    /// themselves.
    pub fn stop(mut self, patience: Duration) -> usize {
        self.end(patience.clamp(STRAGGLERS_MIN, STRAGGLERS_MAX))
    }

    fn end(&mut self, patience: Duration) -> usize {
        self.shop.stopping.store(true, Ordering::Release);
        self.shop.crew.wake_all();
        if let Some(warden) = self.warden.take() {
            warden.thread().unpark();
            let _ = warden.join();
        }
        // It ends with the last of those who could have said something, which nobody does.
        let _ = self.ended.recv_timeout(patience);
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
        if !self.shop.is_stopping() {
            self.end(STRAGGLERS_MAX);
        }
    }
}

/// Starts the worker of that number; `home` is the number of the lane it looks into first, if there are so
/// many.
fn start_one(shop: &Arc<Workshop>, number: u32, home: u32, alive: mpsc::Sender<()>) -> io::Result<()> {
    let shop = Arc::clone(shop);
    thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        work(&shop, number, home);
        drop(alive);
    })?;
    Ok(())
}

/// What a worker does: take a job, do it, bring it back; sleep when there is none. Bodies that nobody wants
/// are dropped before the next job is taken: where there is always one more, they would never be, and they
/// may hold files open.
fn work(shop: &Workshop, number: u32, home: u32) {
    let mut member = shop.crew.join(number);
    let post = &shop.posts[number as usize];
    let tally = post.tally();
    let home = home as usize % shop.lanes.len();
    let mut turn = number as usize;
    // The end of one job is the begin of the next, if that was there already.
    let mut now_ns = None;
    tally.thread_id.set(u64::from(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()));
    tally.manned.set(1);
    loop {
        turn = turn.wrapping_add(1);
        // Asked before the lanes are looked through: what was handed in before the end was said is found.
        let is_last_look = shop.is_stopping();
        while let Some(source) = shop.next_discarded() {
            // It may take its time: whoever searches meanwhile is somebody else.
            member.found(|| shop.has_work());
            guarded(|| drop(source));
            now_ns = None;
        }
        if let Some((mut job, was_stolen)) = shop.take(home, turn) {
            member.found(|| shop.has_work());
            tally.steals.add(u64::from(was_stolen));
            now_ns = Some(perform(shop, &mut job, post, now_ns.unwrap_or_else(monotonic_ns)));
            tally.wakes.add(u64::from(shop.deliver(job)));
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
    /// Which lane is home to each post that is manned: to a substitute, that of whom it stands in for.
    homes: Vec<u32>,
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
        let place = place_of(self.shop.posts[number].tally().thread_id.value());
        let remedy = match self.substitute(number) {
            true => "a substitute takes its place",
            false => "there is no substitute left",
        };
        self.log.event(
            Level::Error,
            "stuck",
            format_args!(
                "worker {number} has been in the handler of {what} for {seconds:.1} s{place}; {remedy}"
            ),
        );
    }

    fn substitute(&mut self, stuck: usize) -> bool {
        let (number, home) = (self.homes.len() as u32, self.homes[stuck]);
        let is_there = number < self.posts && start_one(&self.shop, number, home, self.alive.clone()).is_ok();
        self.homes.extend(is_there.then_some(home));
        is_there
    }
}

/// Where a thread of this process stands, as far as the kernel tells: a stack would take stopping it.
fn place_of(thread_id: u64) -> String {
    let read = |name| fs::read_to_string(format!("/proc/self/task/{thread_id}/{name}")).unwrap_or_default();
    let stat = read("stat");
    // Behind the name, which may hold anything.
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    match (state, read("wchan").as_str()) {
        (Some('R'), _) => String::from(", computing"),
        (Some('S' | 'D'), "" | "0") => String::from(", waiting"),
        (Some('S' | 'D'), place) => format!(", waiting in {place}"),
        _ => String::new(),
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::{Mutex, OnceLock};

    use super::*;
    use crate::http::{BodySource, Piece, Source};
    use crate::worker::{Hatch, Job, ReplyDesk, ReplyTo};

    /// A body of which only the end is of interest.
    struct Dropped<F: FnMut() + Send>(F);

    impl<F: FnMut() + Send + 'static> BodySource for Dropped<F> {
        fn next(&mut self) -> Piece {
            Piece::End
        }
    }

    impl<F: FnMut() + Send> Drop for Dropped<F> {
        fn drop(&mut self) {
            self.0();
        }
    }

    fn body(dropped: impl FnMut() + Send + 'static) -> Source {
        Source(Box::new(Dropped(dropped)))
    }

    fn job() -> Box<Job> {
        Box::new(Job::with_size(64))
    }

    fn shop_of(desk: Arc<dyn ReplyDesk>, posts: usize) -> Arc<Workshop> {
        let tallies: Vec<_> = (0..posts).map(|_| Arc::default()).collect();
        Arc::new(Workshop::new(vec![desk], 4, &tallies))
    }

    fn start(shop: &Arc<Workshop>, workers: u32) -> Workers {
        let staff = Staff { workers, substitutes: 0 };
        Workers::start(shop, staff, &Arc::default(), &Log::silent()).expect("threads")
    }

    /// Hands every job in again, so that there is always one more, until the body was dropped.
    struct Treadmill {
        hatch: OnceLock<Hatch>,
        is_dropped: Arc<AtomicBool>,
        rounds: AtomicU32,
        is_over: mpsc::SyncSender<bool>,
    }

    // Miri is some thousand times slower.
    const ROUNDS_MAX: u32 = if cfg!(miri) { 3 } else { 1_000 };

    impl ReplyDesk for Treadmill {
        fn complete(&self, job: Box<Job>) -> bool {
            let is_dropped = self.is_dropped.load(Ordering::Relaxed);
            if is_dropped || self.rounds.fetch_add(1, Ordering::Relaxed) == ROUNDS_MAX {
                let _ = self.is_over.send(is_dropped);
            } else if let Some(hatch) = self.hatch.get() {
                assert!(hatch.push(job).is_ok(), "it has just left");
            }
            false
        }

        fn room(&self, _: ReplyTo) {}
    }

    #[test]
    fn bodies_that_nobody_wants_are_dropped_beside_a_queue_that_never_empties() {
        let (is_over, over) = mpsc::sync_channel(1);
        let is_dropped = Arc::new(AtomicBool::new(false));
        let desk = Arc::new(Treadmill {
            hatch: OnceLock::new(),
            is_dropped: Arc::clone(&is_dropped),
            rounds: AtomicU32::new(0),
            is_over,
        });
        let shop = shop_of(Arc::clone(&desk) as Arc<dyn ReplyDesk>, 1);
        let hatch = desk.hatch.get_or_init(|| Hatch::new(&shop, 0));
        assert!(hatch.push(job()).is_ok());
        hatch.discard(body(move || is_dropped.store(true, Ordering::Relaxed)));
        let _workers = start(&shop, 1);
        assert_eq!(over.recv(), Ok(true), "there was always a job that came first");
    }

    /// Says that a job came back.
    struct Bell(Mutex<mpsc::Sender<()>>);

    impl ReplyDesk for Bell {
        fn complete(&self, _: Box<Job>) -> bool {
            self.0.lock().is_ok_and(|bell| bell.send(()).is_err())
        }

        fn room(&self, _: ReplyTo) {}
    }

    #[test]
    fn who_drops_a_body_is_not_taken_for_one_that_looks_for_jobs() {
        let ((bell, came), (tell, told)) = (mpsc::channel(), mpsc::channel());
        let shop = shop_of(Arc::new(Bell(bell.into())), 2);
        let _workers = start(&shop, 2);
        while shop.posts.iter().any(|post| post.tally().rests.value() == 0) {
            thread::yield_now();
        }
        let (begin, begun) = mpsc::channel();
        let hatch = Hatch::new(&shop, 0);
        hatch.discard(body(move || {
            let _ = begin.send(());
            let _ = tell.send(came.recv_timeout(Duration::from_secs(10)));
        }));
        assert_eq!(begun.recv(), Ok(()));
        assert!(hatch.push(job()).is_ok());
        hatch.wake();
        assert_eq!(told.recv(), Ok(Ok(())), "the other one slept over the job");
    }

    #[test]
    fn workers_end_too_when_not_all_of_them_could_be_started() {
        let shop = shop_of(Arc::new(Bell(mpsc::channel().0.into())), 1);
        let (alive, ended) = mpsc::channel();
        start_one(&shop, 0, 0, alive).expect("a thread");
        drop(Workers { shop: Arc::clone(&shop), warden: None, ended });
        assert!(shop.is_stopping());
        assert_eq!(shop.posts[0].tally().manned.value(), 0);
    }
}
