//! The binary: parse, resolve, serve; every failure is one line with its fix and an exit code.

use std::fmt;
use std::io::{self, Write};
use std::iter;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use myriapod::cli;
use myriapod::config::{Config, DescriptorTable};
use myriapod::reactor::Farewell;
use myriapod::server::Server;
use myriapod::server::budget::{Budget, Tables, staff_asked};
use myriapod::server::host::Host;
use myriapod::server::signals::{self, End};
use myriapod::server::start_error::StartError;

/// The operator wrote something that cannot be; the same code that a mistyped flag has.
const MISTAKEN: u8 = 2;
/// What was meant cannot be done here.
const FAILED: u8 = 1;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let parsed = match cli::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    };
    let config = match parsed.raw.resolve() {
        Ok(config) => config,
        Err(mistakes) => return refuse(mistakes, MISTAKEN),
    };
    match parsed.check {
        true => check(&config),
        false => serve(&config),
    }
}

/// Runs the server until it is told to end; the exit line says what became of its connections.
fn serve(config: &Config) -> ExitCode {
    let mut server = match Server::start(config) {
        Ok(server) => server,
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

fn refuse<T: fmt::Display>(reasons: impl IntoIterator<Item = T>, code: u8) -> ExitCode {
    for reason in reasons {
        tell(&format!("myriapod: error: {reason}\n"));
    }
    ExitCode::from(code)
}

/// Says it on standard error, if anybody listens: who closed it, or lets it fill up, neither breaks nor holds
/// the end.
fn tell(text: &str) {
    let mut stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
    if poll(&mut polled, Some(&patience)).is_ok_and(|ready| ready > 0) {
        let _ = stderr.write_all(text.as_bytes());
    }
}

/// Prints the settings in force as `name = value`, what they come to on this machine as comments, and refuses
/// what it cannot hold.
fn check(config: &Config) -> ExitCode {
    let mut page: String = config.describe().iter().map(|setting| format!("{setting}\n")).collect();
    let planned = plan(config);
    if let Ok(budget) = &planned {
        page.push_str(&format!("# {budget}\n"));
    }
    // Whoever stops listening half-way, as `head` does, has seen enough.
    let _ = io::stdout().write_all(page.as_bytes());
    match planned {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => refuse(iter::once(error), FAILED),
    }
}

fn plan(config: &Config) -> Result<Budget, StartError> {
    let host = Host::measure().raised();
    let tables = match config.fixed.descriptor_table {
        DescriptorTable::Shared => Tables::Shared,
        DescriptorTable::Auto | DescriptorTable::Private => Tables::Private,
    };
    let budget = Budget::new(&host, config, tables, config.fixed.reactors.unwrap_or(host.cpus))?;
    Ok(budget.with_workers(config, staff_asked(&host, config)))
}
