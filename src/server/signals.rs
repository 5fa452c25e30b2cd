//! What the operator says while the server runs.

use std::io;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::observe::log::Level;
use crate::reactor::Farewell;
use crate::server::Server;
use crate::server::reload::Reloader;

/// `timeout` and terminals signal a process and then its group: what comes twice within this is one wish.
const TWIN_SIGNALS_APART: Duration = Duration::from_millis(100);

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Drained.
    Drained {
        /// What was drained and what was cut.
        farewell: Farewell,
        /// How long that took, in milliseconds.
        ms: u64,
    },
    /// A second signal ended it at once.
    Killed {
        /// The signal.
        signal: i32,
    },
}

/// Takes charge of the signals that mean something here. To be called before the server is said to be ready:
/// whoever read that may send one at once.
///
/// # Errors
/// When signals cannot be watched.
pub fn watch(server: &mut Server) -> io::Result<Signals> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])?;
    // Without anything to be read anew it means what it always does: the terminal is gone.
    if server.reloader().is_some() {
        signals.add_signal(SIGHUP)?;
    }
    watch_reactors(server)?;
    Ok(signals)
}

/// Serves until SIGTERM or SIGINT, then drains; a second one ends at once. SIGUSR1 opens the access log anew,
/// SIGHUP has the configuration read anew.
/// A reactor that breaks drains the others too: better to be started again than to serve with half of them.
///
/// # Errors
/// When a reactor broke.
pub fn serve_until_signal(server: Server, mut signals: Signals) -> io::Result<End> {
    for signal in signals.forever() {
        match signal {
            SIGUSR1 => server.log().reopen(),
            SIGHUP => server.reloader().into_iter().for_each(Reloader::reload),
            _ => break,
        }
    }
    let began = Instant::now();
    server.log().event(Level::Info, "drain", "draining: no new connections, requests under way are answered");
    server.drain();
    let log = server.log().clone();

    // The reactors end while this thread waits for a second signal, so somebody else waits for the reactors.
    let handle = signals.handle();
    let joiner = std::thread::Builder::new().name("joiner".to_owned()).spawn(move || {
        let farewell = server.join();
        handle.close();
        farewell
    })?;
    let is_second =
        |signal: &i32| !matches!(*signal, SIGUSR1 | SIGHUP) && began.elapsed() >= TWIN_SIGNALS_APART;
    if let Some(signal) = signals.forever().find(is_second) {
        return Ok(End::Killed { signal });
    }
    let farewell = joiner.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))?;
    log.stop();
    Ok(End::Drained { farewell, ms: began.elapsed().as_millis() as u64 })
}

/// Turns the alarm into the signal that the operator would send.
fn watch_reactors(server: &mut Server) -> io::Result<()> {
    let Some(alarm) = server.alarm() else { return Ok(()) };
    std::thread::Builder::new().name("alarm".to_owned()).spawn(move || {
        if alarm.recv().is_ok() {
            let _ = signal_hook::low_level::raise(SIGTERM);
        }
    })?;
    Ok(())
}
