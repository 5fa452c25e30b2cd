//! Threads that take jobs from queues they share, and sleep when there are none.
//!
//! Promises: no job is slept over while somebody could take it; who brings a job wakes at most one member,
//! and none when one is already searching, so a burst costs few system calls; a member that takes job after
//! job touches nothing that the crew shares. No locks. `loom/` has the proof of the first.
//!
//! A member is in one of three postures:
//!
//! ```text
//!             found: a job             rest: nothing to do
//!   Searching ------------> Busy ------------------------+
//!       ^  |                                             v
//!       |  +------------------ rest: nothing left --> Asleep
//!       +-- woken by a bringer, or looked once more <----+
//! ```
//! Who wakes a member counts it as searching, on its behalf, so that the next bringer knows that somebody is
//! on the way. Who stops searching with a job in hand, and was the last to search, looks whether more is
//! waiting and wakes the next: a burst brought with one wake-up sets the whole crew to work, one by one.
//!
//! # Why no wake-up is lost
//!
//! Both sides write, pass a SeqCst fence, and read. A bringer writes the job and reads who searches or
//! sleeps; a member writes that it sleeps or searches no more, and reads the queues. Of two fences one is
//! second, and who passed it sees what the other wrote. So either the bringer finds the sleeper, or the
//! member finds the job in its second look. All else is relaxed, but for what hands a wake-up over.
//!
//! Not here: the queues, the jobs, and the end of the threads. A job that parks its thread for purposes of
//! its own must bear wake-ups without a cause.

#[cfg(loom)]
use loom::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
    thread::{self, Thread},
};
#[cfg(not(loom))]
use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
    thread::{self, Thread},
};

use std::marker::PhantomData;
use std::sync::OnceLock;

/// See the module.
///
/// ```
/// use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
/// use std::thread;
///
/// use crossbeam_queue::ArrayQueue;
/// use myriapod::base::crew::Crew;
///
/// let crew = Crew::with_limit(2);
/// let queue = ArrayQueue::new(8);
/// let (sum, stop) = (AtomicU32::new(0), AtomicBool::new(false));
/// let work = |number| {
///     let mut member = crew.join(number);
///     loop {
///         match queue.pop() {
///             Some(job) => {
///                 member.found(|| !queue.is_empty());
///                 sum.fetch_add(job, Ordering::Relaxed);
///             }
///             None if stop.load(Ordering::Relaxed) => break,
///             None => member.rest(|| !queue.is_empty() || stop.load(Ordering::Relaxed)),
///         }
///     }
/// };
/// thread::scope(|scope| {
///     scope.spawn(|| work(0));
///     scope.spawn(|| work(1));
///     for job in [1, 20, 300] {
///         queue.push(job).expect("room for three");
///         crew.submitted();
///     }
///     stop.store(true, Ordering::Relaxed);
///     crew.wake_all();
/// });
/// assert_eq!(sum.into_inner(), 321);
/// ```
///
/// Invariant: `searching` counts the members in posture `Searching`, those who were claimed and do not know
/// it yet, and whoever is about to claim one. Who takes its own bit back is missing from it for a moment,
/// which is harmless: it is awake, and looks again before it sleeps.
#[derive(Debug)]
pub struct Crew {
    /// One bit for each member, set while it sleeps. Who clears it has woken the member, or is the member.
    asleep: Box<[AtomicU64]>,
    searching: AtomicU32,
    threads: Box<[OnceLock<Thread>]>,
}

impl Crew {
    /// A crew that up to `members_max` threads may join.
    #[must_use]
    pub fn with_limit(members_max: u32) -> Crew {
        Crew {
            asleep: (0..members_max.div_ceil(u64::BITS)).map(|_| AtomicU64::new(0)).collect(),
            searching: AtomicU32::new(0),
            threads: (0..members_max).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Makes the calling thread the member of this number, until the handle is dropped.
    ///
    /// # Panics
    ///
    /// If the number was taken before, or is not below the limit.
    pub fn join(&self, member: u32) -> Member<'_> {
        let taken = self.threads[member as usize].set(thread::current());
        assert!(taken.is_ok(), "member {member} has joined before");
        Member { crew: self, number: member, posture: Posture::Busy, stays_here: PhantomData }
    }

    /// To be called after work was made visible, once for a whole batch if there is one. Wakes a member
    /// unless one is searching; returns whether it did.
    pub fn submitted(&self) -> bool {
        fence(Ordering::SeqCst);
        self.wake_one()
    }

    /// Wakes everybody: for the end. What they shall find must be visible before.
    pub fn wake_all(&self) {
        fence(Ordering::SeqCst);
        for (index, word) in self.asleep.iter().enumerate() {
            // Who is not seen asleep here sees, when it lies down, what was made visible.
            for bit in bits(word.load(Ordering::Relaxed)) {
                self.searching.fetch_add(1, Ordering::Relaxed);
                if self.clear(index, bit) {
                    self.unpark(index, bit);
                } else {
                    self.leave_search();
                }
            }
        }
    }

    /// Wakes a member unless one is searching or nobody sleeps. The caller has passed a fence after writing
    /// what the member shall see.
    fn wake_one(&self) -> bool {
        // Each round but the last found a sleeper that somebody else woke, or that rose by itself, meanwhile.
        loop {
            if self.searching.load(Ordering::Relaxed) != 0 || !self.is_anybody_asleep() {
                return false;
            }
            // Counted before it is claimed, so that of bringers who come together one goes on.
            if self.searching.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                return false;
            }
            if self.claim_one() {
                return true;
            }
            // Nobody was left to claim. Others may have relied on the count, and a member may have lain
            // down before their jobs were visible and after it was looked for here: hence another round,
            // behind a fence, on their behalf.
            if self.searching.fetch_sub(1, Ordering::Relaxed) != 1 {
                return false;
            }
            fence(Ordering::SeqCst);
        }
    }

    /// Wakes one who sleeps; it was counted as searching before. The lowest number first: few members stay
    /// warm when there is little to do.
    fn claim_one(&self) -> bool {
        for (index, word) in self.asleep.iter().enumerate() {
            for bit in bits(word.load(Ordering::Relaxed)) {
                if self.clear(index, bit) {
                    self.unpark(index, bit);
                    return true;
                }
            }
        }
        false
    }

    /// Takes one out of the count who brings nothing and looks no more: others may have relied on it.
    fn leave_search(&self) {
        if self.searching.fetch_sub(1, Ordering::Relaxed) == 1 {
            fence(Ordering::SeqCst);
            self.wake_one();
        }
    }

    fn is_anybody_asleep(&self) -> bool {
        self.asleep.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// Whether the bit was set and this call cleared it. Acquires what the member wrote before it lay down
    /// (its thread), and releases the count as searching to the member.
    fn clear(&self, index: usize, bit: u32) -> bool {
        self.asleep[index].fetch_and(!(1 << bit), Ordering::AcqRel) & (1 << bit) != 0
    }

    fn unpark(&self, index: usize, bit: u32) {
        let thread = self.threads[index * u64::BITS as usize + bit as usize].get();
        thread.expect("who sleeps has joined").unpark();
    }
}

/// The positions of the bits set in `word`, from the lowest.
fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let lowest = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        (lowest < u64::BITS).then_some(lowest)
    })
}

/// What one thread holds of its crew. Dropping it leaves: a search that it breaks off is handed on.
#[derive(Debug)]
pub struct Member<'crew> {
    crew: &'crew Crew,
    number: u32,
    posture: Posture,
    /// Pointers are not `Send`: the crew wakes the thread that joined, no other.
    stays_here: PhantomData<*const ()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Posture {
    Busy,
    Searching,
    Asleep,
}

impl Member<'_> {
    /// To be called with a job in hand, before it runs. If this ends the last search and `has_more` says that
    /// there is more to do, somebody else is woken for it.
    ///
    /// `has_more` is asked behind a fence: a job that was brought without a wake-up, because this member was
    /// searching, is seen. That is why it is not a plain `bool`.
    pub fn found(&mut self, has_more: impl FnOnce() -> bool) {
        if self.posture != Posture::Searching {
            return;
        }
        self.posture = Posture::Busy;
        if self.crew.searching.fetch_sub(1, Ordering::Relaxed) == 1 {
            fence(Ordering::SeqCst);
            if has_more() {
                self.crew.wake_one();
            }
        }
    }

    /// To be called when nothing was found. Sleeps until somebody wakes this member, unless `must_stay` finds
    /// a reason to stay awake in its look into all queues, and whether it is time to stop. The member is
    /// searching when it comes back, whether or not there is something to find.
    pub fn rest(&mut self, must_stay: impl FnOnce() -> bool) {
        self.lie_down();
        if must_stay() {
            self.get_up();
        } else {
            self.sleep();
        }
    }

    fn lie_down(&mut self) {
        let (word, bit) = self.place();
        word.fetch_or(bit, Ordering::Release);
        if self.posture == Posture::Searching {
            self.crew.searching.fetch_sub(1, Ordering::Relaxed);
        }
        self.posture = Posture::Asleep;
        fence(Ordering::SeqCst);
    }

    fn get_up(&mut self) {
        let (word, bit) = self.place();
        // Whoever cleared it first has counted this member already.
        if word.fetch_and(!bit, Ordering::AcqRel) & bit != 0 {
            self.crew.searching.fetch_add(1, Ordering::Relaxed);
        }
        self.posture = Posture::Searching;
    }

    fn sleep(&mut self) {
        let (word, bit) = self.place();
        // A wake-up may be left over from an earlier sleep, or be none: only the bit tells.
        while word.load(Ordering::Acquire) & bit != 0 {
            thread::park();
        }
        self.posture = Posture::Searching;
    }

    fn place(&self) -> (&AtomicU64, u64) {
        let word = &self.crew.asleep[(self.number / u64::BITS) as usize];
        (word, 1 << (self.number % u64::BITS))
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        // Only when the look of `rest` panicked.
        if self.posture == Posture::Asleep {
            self.get_up();
        }
        if self.posture == Posture::Searching {
            self.crew.leave_search();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{self, AssertUnwindSafe};
    use std::sync::Barrier;
    use std::sync::atomic::AtomicBool;

    use crossbeam_queue::ArrayQueue;

    use super::*;

    const MEMBERS: u32 = 4;
    const SUBMITTERS: u32 = 3;
    // Miri is some thousand times slower.
    const JOBS: u32 = if cfg!(miri) { 60 } else { 100_000 };

    /// A crew with its queue, and what it has done.
    struct Shop {
        crew: Crew,
        queue: ArrayQueue<u32>,
        sum: AtomicU64,
        done: AtomicU32,
        stop: AtomicBool,
    }

    impl Shop {
        fn with_room(room: usize) -> Shop {
            Shop {
                crew: Crew::with_limit(MEMBERS),
                queue: ArrayQueue::new(room),
                sum: AtomicU64::new(0),
                done: AtomicU32::new(0),
                stop: AtomicBool::new(false),
            }
        }

        fn has_reason_to_stay(&self) -> bool {
            !self.queue.is_empty() || self.stop.load(Ordering::Relaxed)
        }

        fn bring(&self, job: u32) {
            while self.queue.push(job).is_err() {
                thread::yield_now();
            }
            self.crew.submitted();
        }

        /// Runs every job until told to stop; who runs the last of `jobs` tells.
        fn work(&self, number: u32, jobs: u32, mut run: impl FnMut(u32)) {
            let mut member = self.crew.join(number);
            loop {
                match self.queue.pop() {
                    Some(job) => {
                        member.found(|| !self.queue.is_empty());
                        run(job);
                        self.sum.fetch_add(job.into(), Ordering::Relaxed);
                        if self.done.fetch_add(1, Ordering::Relaxed) + 1 == jobs {
                            self.stop.store(true, Ordering::Relaxed);
                            self.crew.wake_all();
                        }
                    }
                    None if self.stop.load(Ordering::Relaxed) => break,
                    None => member.rest(|| self.has_reason_to_stay()),
                }
            }
        }
    }

    #[test]
    fn runs_every_job_once_and_then_all_stop() {
        let shop = Shop::with_room(16);
        thread::scope(|scope| {
            for number in 0..MEMBERS {
                let shop = &shop;
                scope.spawn(move || shop.work(number, JOBS, |_| ()));
            }
            for first in 0..SUBMITTERS {
                let shop = &shop;
                scope.spawn(move || {
                    (first..JOBS).step_by(SUBMITTERS as usize).for_each(|job| shop.bring(job))
                });
            }
        });
        assert_eq!(shop.done.into_inner(), JOBS);
        assert_eq!(shop.sum.into_inner(), u64::from(JOBS) * u64::from(JOBS - 1) / 2);
        assert_eq!(shop.crew.searching.load(Ordering::Relaxed), 0);
        assert!(!shop.crew.is_anybody_asleep());
    }

    /// Every job waits until all members run one, so each must be woken although one wake-up was asked for.
    #[test]
    fn a_burst_brought_at_once_sets_the_whole_crew_to_work() {
        let shop = Shop::with_room(MEMBERS as usize);
        let together = Barrier::new(MEMBERS as usize);
        thread::scope(|scope| {
            for number in 0..MEMBERS {
                let (shop, together) = (&shop, &together);
                scope.spawn(move || {
                    shop.work(number, MEMBERS, |_| {
                        together.wait();
                    })
                });
            }
            (0..MEMBERS).for_each(|job| shop.queue.push(job).expect("room for all"));
            shop.crew.submitted();
        });
        assert_eq!(shop.done.into_inner(), MEMBERS);
    }

    /// Sleepers without threads: only the counts are looked at.
    fn crew_with_asleep(members: &[u32], members_max: u32) -> Crew {
        let crew = Crew::with_limit(members_max);
        for &number in members {
            let mut member = crew.join(number);
            member.lie_down();
            // It sleeps on after this.
            std::mem::forget(member);
        }
        crew
    }

    #[test]
    fn wakes_nobody_while_somebody_searches() {
        let crew = crew_with_asleep(&[0, 1], 2);
        assert!(crew.submitted());
        assert!(!crew.submitted());
        assert_eq!(crew.searching.load(Ordering::Relaxed), 1);
        assert_eq!(crew.asleep[0].load(Ordering::Relaxed), 0b10);
    }

    #[test]
    fn finds_sleepers_beyond_the_first_word() {
        let crew = crew_with_asleep(&[63, 64, 129], 130);
        crew.wake_all();
        assert!(!crew.is_anybody_asleep());
        assert_eq!(crew.searching.load(Ordering::Relaxed), 3);
        assert!(!crew_with_asleep(&[], 0).submitted());
    }

    #[test]
    fn the_last_to_search_wakes_another_only_if_there_is_more() {
        let crew = crew_with_asleep(&[1, 2], 3);
        let mut member = crew.join(0);
        member.found(|| panic!("it was not searching"));
        member.rest(|| true);
        member.found(|| false);
        assert_eq!(crew.asleep[0].load(Ordering::Relaxed), 0b110);
        member.rest(|| true);
        member.found(|| true);
        assert_eq!(crew.asleep[0].load(Ordering::Relaxed), 0b100);
        assert_eq!(crew.searching.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn one_woken_before_it_slept_is_counted_once() {
        let crew = Crew::with_limit(1);
        let mut member = crew.join(0);
        member.rest(|| crew.submitted());
        assert_eq!(crew.searching.load(Ordering::Relaxed), 1);
        member.rest(|| !crew.submitted());
        assert_eq!(crew.searching.load(Ordering::Relaxed), 1);
        drop(member);
        assert_eq!(crew.searching.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_member_that_leaves_its_search_sends_another() {
        let crew = crew_with_asleep(&[1], 2);
        let mut member = crew.join(0);
        let broken = panic::catch_unwind(AssertUnwindSafe(|| member.rest(|| panic!("on purpose"))));
        assert!(broken.is_err());
        assert_eq!(crew.asleep[0].load(Ordering::Relaxed), 0b11);
        drop(member);
        assert_eq!(crew.asleep[0].load(Ordering::Relaxed), 0);
        assert_eq!(crew.searching.load(Ordering::Relaxed), 1);
    }

    #[test]
    #[should_panic(expected = "member 0 has joined before")]
    fn a_number_is_taken_once() {
        let crew = Crew::with_limit(1);
        let _first = crew.join(0);
        let _second = crew.join(0);
    }
}
