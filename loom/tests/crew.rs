//! A crew and those who bring it jobs, in every order that a few preemptions allow.
//!
//! Who is not woken for a job, or for the end, sleeps for ever: loom reports a deadlock.

use std::sync::atomic::AtomicU32 as Count;

use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::thread;

use myriapod_loom::crew::Crew;

/// A crew, its queue as a count, and what became of the jobs. Loom does not look at `done`: it only counts,
/// and every access that loom looks at multiplies the orders.
struct Shop {
    crew: Crew,
    queue: AtomicU32,
    stop: AtomicBool,
    done: Count,
}

impl Shop {
    fn with_members(members: u32) -> Arc<Shop> {
        Arc::new(Shop {
            crew: Crew::with_limit(members),
            queue: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            done: Count::new(0),
        })
    }

    fn bring(&self) {
        self.queue.fetch_add(1, Ordering::Release);
        self.crew.submitted();
    }

    fn has_job(&self) -> bool {
        self.queue.load(Ordering::Acquire) != 0
    }

    /// A load first, as a queue does it: see the sleeper's model.
    fn take(&self) -> bool {
        let mut waiting = self.queue.load(Ordering::Acquire);
        while waiting != 0 {
            match self.queue.compare_exchange(waiting, waiting - 1, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => waiting = now,
            }
        }
        false
    }

    fn must_stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Runs until that many jobs are done by this member. After the last it leaves for ever, like one whose
    /// job never ends: what it leaves in the queue somebody else must be woken for.
    fn work(&self, number: u32, jobs: u32) {
        let mut member = self.crew.join(number);
        let mut mine = 0;
        while mine < jobs {
            if self.take() {
                member.found(|| self.has_job());
                self.done.fetch_add(1, Ordering::Relaxed);
                mine += 1;
            } else {
                member.rest(|| self.has_job());
            }
        }
    }

    /// Runs until told to stop. Who runs the last of `jobs` tells.
    fn work_until_stopped(&self, number: u32, jobs: u32) {
        let mut member = self.crew.join(number);
        loop {
            if self.take() {
                member.found(|| self.has_job());
                if self.done.fetch_add(1, Ordering::Relaxed) + 1 == jobs {
                    self.end();
                }
            } else if self.must_stop() {
                break;
            } else {
                member.rest(|| self.has_job() || self.must_stop());
            }
        }
    }

    fn end(&self) {
        self.stop.store(true, Ordering::Release);
        self.crew.wake_all();
    }
}

fn spawn(shop: &Arc<Shop>, run: impl FnOnce(&Shop) + 'static) -> thread::JoinHandle<()> {
    let shop = Arc::clone(shop);
    thread::spawn(move || run(&shop))
}

fn model(preemptions_max: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions_max);
    builder.check(run);
}

/// The members leave after one job each, so that both must have been woken.
fn each_member_runs_one(preemptions_max: usize, brought_here: u32) {
    model(preemptions_max, move || {
        let shop = Shop::with_members(2);
        let mut threads = vec![spawn(&shop, |shop| shop.work(0, 1)), spawn(&shop, |shop| shop.work(1, 1))];
        threads.extend((brought_here..2).map(|_| spawn(&shop, Shop::bring)));
        (0..brought_here).for_each(|_| shop.bring());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((shop.done.load(Ordering::Relaxed), shop.has_job()), (2, false));
    });
}

#[test]
fn two_jobs_from_one_hand_are_run_at_once() {
    each_member_runs_one(3, 2);
}

#[test]
fn two_jobs_from_two_hands_are_run_at_once() {
    each_member_runs_one(2, 1);
}

#[test]
fn one_member_runs_what_two_hands_bring() {
    model(3, || {
        let shop = Shop::with_members(1);
        let threads = [spawn(&shop, |shop| shop.work(0, 2)), spawn(&shop, Shop::bring)];
        shop.bring();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(!shop.has_job());
    });
}

#[test]
fn all_see_the_end() {
    model(3, || {
        let shop = Shop::with_members(2);
        let work = |number| spawn(&shop, move |shop| shop.work_until_stopped(number, 1));
        let threads = [work(0), work(1)];
        shop.end();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// One looks, finds nothing and is gone: whoever brought a job meanwhile may have relied on it.
#[test]
fn who_leaves_its_search_sends_another() {
    model(3, || {
        let shop = Shop::with_members(2);
        let passes_by = |shop: &Shop| shop.crew.join(1).rest(|| true);
        let threads = [spawn(&shop, |shop| shop.work(0, 1)), spawn(&shop, passes_by)];
        shop.bring();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(!shop.has_job());
    });
}

/// All of it together, with one preemption: two take a minute, and found nothing.
#[test]
fn two_members_run_what_two_hands_bring_and_see_the_end() {
    model(1, || {
        let shop = Shop::with_members(2);
        let work = |number| spawn(&shop, move |shop| shop.work_until_stopped(number, 2));
        let threads = [work(0), work(1), spawn(&shop, Shop::bring)];
        shop.bring();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(!shop.has_job());
    });
}
