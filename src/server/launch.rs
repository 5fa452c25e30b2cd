//! A reactor's thread: where it runs, what it listens on, how its end is noticed.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use mio::Poll;

use crate::config::Listen;
use crate::observe::log::{Level, Log};
use crate::reactor::balance::Seat;
use crate::reactor::{
    ENTRANCE_ADMIN, ENTRANCE_MAIN, Farewell, Inbox, Manner, Notice, Reactor, Setup, descriptors,
};
use crate::server::budget::Tables;
use crate::server::plan::Plan;
use crate::server::start_error::{StartError, explain_bind};
use crate::server::topology;
use crate::worker::{Hatch, Workshop};

/// A reactor that was started.
pub(super) struct Running {
    pub inbox: Arc<Inbox>,
    pub thread: Option<JoinHandle<io::Result<Farewell>>>,
}

/// A reactor's poll, and where its mail arrives: made before any reactor leaves the table of descriptors.
pub(super) struct Gate {
    pub poll: Poll,
    pub inbox: Arc<Inbox>,
}

impl Plan<'_> {
    /// Starts every reactor and waits until all of them listen.
    pub(super) fn launch(
        &self,
        gates: Vec<Gate>,
        shop: Option<&Arc<Workshop>>,
        bell: &mpsc::Sender<()>,
    ) -> Result<Vec<Running>, StartError> {
        let (report, reports) = mpsc::channel();
        let mut reactors = Vec::new();
        for (number, gate) in (0..).zip(gates) {
            let hatch = shop.map(|shop| Hatch::new(shop, number));
            match self.launch_one(number, gate, hatch, report.clone(), bell.clone()) {
                Ok(running) => reactors.push(running),
                Err(error) => return Err(stop_all(reactors, error)),
            }
        }
        drop(report);
        for _ in 0..reactors.len() {
            let outcome = reports.recv().unwrap_or_else(|_| {
                Err(StartError::System { attempt: "start a reactor", error: io::Error::other("it panicked") })
            });
            if let Err(error) = outcome {
                return Err(stop_all(reactors, error));
            }
        }
        Ok(reactors)
    }

    fn launch_one(
        &self,
        number: u32,
        gate: Gate,
        hatch: Option<Hatch>,
        report: mpsc::Sender<Result<(), StartError>>,
        bell: mpsc::Sender<()>,
    ) -> Result<Running, StartError> {
        let log = self.log.clone();
        let Gate { poll, inbox } = gate;
        let seat = self.spread.balance().map(|balance| Seat::new(balance, number));
        let setup = Setup { poll, inbox: Arc::clone(&inbox), means: self.means(number, hatch), seat };
        let place = Place {
            cpu: self.cpus.get(number as usize).copied(),
            is_private: self.budget.tables == Tables::Private,
            descriptors: self.budget.descriptors_per_table,
            doors: self.doors_of(number),
            manner: Manner { backlog: self.config.fixed.backlog, defers: self.config.fixed.defers_accept },
        };
        let thread = thread::Builder::new()
            .name(format!("reactor-{number}"))
            .spawn(move || match place.take(setup) {
                Ok(reactor) => {
                    let _ = report.send(Ok(()));
                    drop(report);
                    watched(|| reactor.run(), number, &log, &bell)
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                    Ok(Farewell::default())
                }
            })
            .map_err(|error| StartError::System { attempt: "start a thread", error })?;
        Ok(Running { inbox, thread: Some(thread) })
    }

    /// TCP listeners are opened by every reactor, and the kernel spreads clients over them. A unix socket
    /// cannot be shared so: each belongs to one reactor. So does the admin listener.
    fn doors_of(&self, number: u32) -> Vec<Door> {
        let mut addresses = 0..;
        let mut doors = Vec::new();
        for (at, listen) in self.listen.iter().enumerate() {
            let address = match listen {
                Listen::Tcp(_) => addresses.next(),
                Listen::Unix(_) if at as u32 % self.budget.reactors == number => None,
                Listen::Unix(_) => continue,
            };
            doors.push(Door { listen: listen.clone(), entrance: ENTRANCE_MAIN, address });
        }
        let admin = self.admin.iter().filter(|_| number == 0);
        doors.extend(admin.map(|listen| Door {
            listen: listen.clone(),
            entrance: ENTRANCE_ADMIN,
            address: None,
        }));
        doors
    }
}

/// Where a reactor listens.
struct Door {
    listen: Listen,
    entrance: u8,
    /// Which it is of the addresses that all reactors listen on.
    address: Option<u32>,
}

/// Where a reactor runs and listens.
struct Place {
    cpu: Option<u32>,
    is_private: bool,
    descriptors: u32,
    doors: Vec<Door>,
    manner: Manner,
}

impl Place {
    /// On the reactor's own thread: pin it, leave the shared table, then open what belongs to it alone.
    fn take(self, setup: Setup) -> Result<Reactor, StartError> {
        if let Some(cpu) = self.cpu {
            topology::pin(cpu).map_err(|error| StartError::Pin { cpu, error })?;
        }
        if self.is_private {
            descriptors::make_private().map_err(|error| StartError::PrivateTable { error })?;
            descriptors::grow(self.descriptors);
        }
        let no_poll = |error| StartError::System { attempt: "share an epoll", error };
        let mut reactor = Reactor::new(setup).map_err(no_poll)?;
        for Door { listen, entrance, address } in &self.doors {
            // An operator's connection is taken at once: it may be the last one there are descriptors for.
            let manner = Manner { defers: self.manner.defers && *entrance == ENTRANCE_MAIN, ..self.manner };
            let opened = reactor.listen(listen, manner, *entrance, *address);
            opened.map_err(|error| explain_bind(listen, error))?;
        }
        Ok(reactor)
    }
}

/// Runs a reactor to its end. One that breaks, which is a bug of ours, must not leave the process half
/// alive in silence: it says so and rings.
fn watched(
    run: impl FnOnce() -> io::Result<Farewell>,
    number: u32,
    log: &Log,
    bell: &mpsc::Sender<()>,
) -> io::Result<Farewell> {
    let outcome = panic::catch_unwind(AssertUnwindSafe(run));
    let outcome = outcome.unwrap_or_else(|_| Err(io::Error::other("a panic")));
    outcome.map_err(|error| {
        log.event(
            Level::Error,
            "reactor",
            format_args!("reactor {number} broke ({error}); the others drain"),
        );
        // Nobody listens when the server is going down already.
        let _ = bell.send(());
        io::Error::other(format!("reactor {number} broke: {error}"))
    })
}

fn stop_all(reactors: Vec<Running>, error: StartError) -> StartError {
    for mut running in reactors {
        let _ = running.inbox.notify(Notice::Stop);
        if let Some(thread) = running.thread.take() {
            let _ = thread.join();
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reactor_that_breaks_rings_and_one_that_ends_does_not() {
        let (bell, alarm) = mpsc::channel();
        assert!(watched(|| Ok(Farewell::default()), 0, &Log::silent(), &bell).is_ok());
        assert!(alarm.try_recv().is_err());
        assert!(watched(|| panic!("as it was told to"), 0, &Log::silent(), &bell).is_err());
        assert!(alarm.try_recv().is_ok());
        assert!(watched(|| Err(io::ErrorKind::Other.into()), 0, &Log::silent(), &bell).is_err());
        assert!(alarm.try_recv().is_ok());
    }
}
