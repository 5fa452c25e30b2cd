//! One sleeper and two who bring it work, in every order that three preemptions allow.

use loom::model::Builder;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

use myriapod_loom::sleeper::Sleeper;

const WAKERS: usize = 2;

/// A reactor: its inbox, and the eventfd that it sleeps on.
struct Desk {
    sleeper: Sleeper,
    inbox: AtomicU32,
    eventfd: Notify,
    wakes: AtomicU32,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            sleeper: Sleeper::new(),
            inbox: AtomicU32::new(0),
            eventfd: Notify::new(),
            wakes: AtomicU32::new(0),
        }
    }

    fn bring(&self) {
        self.inbox.fetch_add(1, Ordering::Release);
        if self.sleeper.must_be_woken() {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            self.eventfd.notify();
        }
    }

    /// A load first, as a queue does it: a swap alone would see the newest value and hide a missing fence.
    fn take(&self) -> u32 {
        if self.inbox.load(Ordering::Acquire) == 0 { 0 } else { self.inbox.swap(0, Ordering::Acquire) }
    }
}

fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

/// A lost wake-up would leave the sleeper waiting for ever, which loom reports as a deadlock.
#[test]
fn no_item_is_slept_over() {
    model(|| {
        let desk = Arc::new(Desk::new());
        let wakers: Vec<_> = (0..WAKERS)
            .map(|_| {
                let desk = Arc::clone(&desk);
                thread::spawn(move || desk.bring())
            })
            .collect();
        let (mut taken, mut announced) = (0, 0);
        loop {
            taken += desk.take();
            if taken == WAKERS as u32 {
                break;
            }
            desk.sleeper.announce();
            announced += 1;
            if desk.inbox.load(Ordering::Acquire) == 0 {
                desk.eventfd.wait();
            }
            desk.sleeper.rise();
        }
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        assert!(desk.wakes.load(Ordering::Relaxed) <= announced);
    });
}

#[test]
fn of_two_who_ask_at_once_one_hears_yes() {
    model(|| {
        let sleeper = Arc::new(Sleeper::new());
        sleeper.announce();
        let other = {
            let sleeper = Arc::clone(&sleeper);
            thread::spawn(move || sleeper.must_be_woken())
        };
        let mine = sleeper.must_be_woken();
        assert!(mine != other.join().unwrap());
    });
}
