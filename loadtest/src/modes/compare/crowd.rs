//! Connections that ask once, are answered, and then only stay: what does each of them cost in memory?

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Poll;

use crate::engine::lot::{Happening, Lot, Setup};
use crate::engine::table;
use crate::host::machine;
use crate::run::{Ready, SPARE_DESCRIPTORS, explain};

/// Bytes that each connection takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight {
    pub server_bytes: f64,
    pub kernel_bytes: f64,
    /// Connections that failed, or that the server closed while they were idle.
    pub errors: u64,
}

struct Crowd {
    lot: Lot,
    told: Vec<Happening>,
    /// Keys of connections on their way to an answer.
    pending: HashSet<usize>,
    errors: u64,
}

/// What a server sets up once, for its first visitors, is not the price of a connection.
const FIRST_VISITORS: u64 = 100;
/// On their way at once, so that a short backlog suffices and the server works as it does every day.
const PENDING_MAX: usize = 64;
const SETTLE: Duration = Duration::from_millis(300);

/// Opens so many connections to a server and tells what they weigh.
///
/// # Errors
/// When the server's memory cannot be read, or so many connections find no room here.
pub fn weigh(ready: &Ready, count: u64, timeout: Duration) -> Result<Weight, String> {
    let room = table::raise_limit().saturating_sub(SPARE_DESCRIPTORS);
    if count > room {
        return Err(format!("{count} idle connections need more descriptors than {room}; raise ulimit -n"));
    }
    let server = ready.server.as_ref().ok_or("the server's process is not known")?;
    let memory = || server.memory_bytes().ok_or("the server's memory cannot be read");
    explain(Crowd::gather(ready, FIRST_VISITORS, timeout))?;
    // Those have been told to go; their sockets are what a moment later is not there any more.
    std::thread::sleep(SETTLE);
    let (server_before, kernel_before) = (memory()?, machine::slab_bytes());
    let crowd = explain(Crowd::gather(ready, count, timeout))?;
    let (server_after, kernel_after) = (memory()?, machine::slab_bytes());
    let each = |before: u64, after: u64| (after as f64 - before as f64) / count as f64;
    Ok(Weight {
        server_bytes: each(server_before, server_after),
        kernel_bytes: each(kernel_before, kernel_after),
        errors: crowd.errors,
    })
}

impl Crowd {
    /// All connected, answered and settled.
    fn gather(ready: &Ready, count: u64, timeout: Duration) -> io::Result<Crowd> {
        let setup = Setup {
            poll: Poll::new()?,
            target: Arc::clone(&ready.target),
            sources: ready.sources.of_thread(0),
            epoch: Instant::now(),
            timeout,
        };
        let mut crowd = Crowd { lot: Lot::new(setup)?, told: Vec::new(), pending: HashSet::new(), errors: 0 };
        let mut begun = 0;
        while begun < count || !crowd.pending.is_empty() {
            while begun < count && crowd.pending.len() < PENDING_MAX {
                begun += 1;
                crowd.open();
            }
            crowd.turn(None)?;
        }
        let until_ns = crowd.lot.now_ns() + SETTLE.as_nanos() as u64;
        while crowd.lot.now_ns() < until_ns {
            crowd.turn(Some(until_ns))?;
        }
        Ok(crowd)
    }

    fn open(&mut self) {
        match self.lot.open() {
            Ok(key) => drop(self.pending.insert(key)),
            Err(_) => self.errors += 1,
        }
    }

    fn turn(&mut self, until_ns: Option<u64>) -> io::Result<()> {
        self.lot.turn(until_ns, &mut self.told)?;
        for happening in std::mem::take(&mut self.told) {
            match happening {
                Happening::Opened { key } => {
                    let now_ns = self.lot.now_ns();
                    // Where it is over already, that is told next.
                    let _ = self.lot.ask(key, now_ns, now_ns);
                }
                Happening::Answered { key, fault, .. } => {
                    self.pending.remove(&key);
                    self.errors += u64::from(fault.is_some());
                }
                // Also one that had its answer: a server that hangs up on its idlers was not measured with
                // them.
                Happening::Over { key, .. } => {
                    self.pending.remove(&key);
                    self.errors += 1;
                }
            }
        }
        Ok(())
    }
}
