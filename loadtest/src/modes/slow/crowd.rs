//! Flocks on threads of their own, each with a descriptor table of its own, beside whatever else is measured.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ends::Ends;
use super::flock::{Flock, Manner};
use crate::engine::addresses::Sources;
use crate::engine::progress::Progress;
use crate::engine::table;
use crate::run::{SPARE_DESCRIPTORS, share_of};

/// All slow connections of one kind.
pub struct Crowd {
    name: &'static str,
    count: u64,
    standing: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<io::Result<Ends>>>,
}

/// A thread can drive many that do next to nothing; beyond this it would not keep their time.
const PER_THREAD_MAX: u64 = 10_000;
/// How often a thread looks whether it is over.
const LOOK: Duration = Duration::from_millis(50);
/// Longest time to wait for all to stand; whoever limits connections lets them in only as others leave.
const GATHER_TIME_MAX: Duration = Duration::from_secs(20);

impl Crowd {
    /// Threads that so many need.
    pub fn threads_for(count: u64) -> u64 {
        let room = table::raise_limit().saturating_sub(SPARE_DESCRIPTORS).max(1);
        count.div_ceil(room.min(PER_THREAD_MAX))
    }

    /// Begins to open them. `sources` gives each thread its source addresses.
    pub fn start(name: &'static str, manner: &Manner, count: u64, sources: impl Fn(u32) -> Sources) -> Crowd {
        let standing = Arc::new(AtomicU64::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let number = Crowd::threads_for(count);
        let threads = (0..number as u32).map(|thread| {
            let share = share_of(count, number, thread);
            let (manner, sources) = (manner.clone(), sources(thread));
            let (standing, is_over) = (Arc::clone(&standing), Arc::clone(&is_over));
            std::thread::spawn(move || {
                // In the common table there is only less room, and whoever does not get in is counted.
                let _ = table::make_private();
                let mut flock = Flock::new(manner, share, sources, standing)?;
                let mut events = Flock::events();
                while !is_over.load(Ordering::Relaxed) {
                    flock.turn(&mut events, LOOK)?;
                }
                Ok(flock.leave())
            })
        });
        let threads = threads.collect();
        Crowd { name, count, standing, is_over, threads }
    }

    /// Waits until all are connected, or have had long enough.
    pub fn gather(&self, progress: &mut Progress) {
        let until = Instant::now() + GATHER_TIME_MAX;
        while self.standing() < self.count && Instant::now() < until {
            let standing = self.standing();
            progress.line(&format!("{standing} {}", self.name), standing as f64 / self.count as f64);
            std::thread::sleep(LOOK);
        }
    }

    /// How many are connected now.
    pub fn standing(&self) -> u64 {
        self.standing.load(Ordering::Relaxed)
    }

    /// How many there should be.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All go: how those ended that went before, and those that had to be sent away.
    ///
    /// # Errors
    /// When a thread's poll has failed.
    pub fn leave(self) -> io::Result<Ends> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut sum = Ends::default();
        for thread in self.threads {
            sum.merge(&thread.join().map_err(|_| io::Error::other("a slow thread panicked"))??);
        }
        Ok(sum)
    }
}
