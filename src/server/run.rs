//! From a start to the end of the process, as the binary and programs of one's own have it: every failure is
//! one line with its fix, and an exit code.

use std::fmt;
use std::io::{self, Write};
use std::iter;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::reactor::Farewell;
use crate::server::Server;
use crate::server::signals::{self, End};
use crate::server::start_error::StartError;

/// What was meant cannot be done here.
const FAILED: u8 = 1;
/// The operator wrote something that cannot be; the same code that a mistyped flag has.
const MISTAKEN: u8 = 2;

/// Runs a server until it is told to end; the exit line says what became of its connections.
#[must_use]
pub fn run(start: Result<Server, StartError>) -> ExitCode {
    let mut server = match start {
        Ok(server) => server,
        Err(StartError::Settings(mistakes)) => return refuse(mistakes, MISTAKEN),
        Err(error) => return refuse(iter::once(error), FAILED),
    };
    let signals = match signals::watch(&mut server) {
        Ok(signals) => signals,
        Err(error) => return refuse(iter::once(error), FAILED),
    };
    tell(server.banner());
    match signals::serve_until_signal(server, signals) {
        Ok(End::Drained { farewell, ms }) => {
            let Farewell { drained, cut } = farewell;
            tell(&format!("myriapod: drained {drained} connections, cut {cut}, in {ms} ms\n"));
            ExitCode::SUCCESS
        }
        Ok(End::Killed { signal }) => {
            tell("myriapod: second signal, ended at once\n");
            // What a shell reports of a process that a signal ended.
            std::process::exit(128 + signal)
        }
        Err(error) => refuse(iter::once(error), FAILED),
    }
}

/// Tells each reason in a line of its own, and gives the code back.
pub fn refuse<T: fmt::Display>(reasons: impl IntoIterator<Item = T>, code: u8) -> ExitCode {
    for reason in reasons {
        tell(&format!("myriapod: error: {reason}\n"));
    }
    ExitCode::from(code)
}

/// Says it on standard error, if anybody listens: who closed it, or lets it fill up, neither breaks nor holds
/// the end.
pub fn tell(text: &str) {
    let mut stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
    if poll(&mut polled, Some(&patience)).is_ok_and(|ready| ready > 0) {
        let _ = stderr.write_all(text.as_bytes());
    }
}
