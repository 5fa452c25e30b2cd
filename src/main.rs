//! The binary: parse, resolve, serve; every failure is one line with its fix and an exit code.

use std::io::{self, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use myriapod::cli::{self, Task};
use myriapod::config::raw::Raw;
use myriapod::config::{self, Config, ConfigError, DescriptorTable, Loaded, Site};
use myriapod::server::budget::{Budget, Tables, staff_asked};
use myriapod::server::doctor::{self, Report};
use myriapod::server::explain;
use myriapod::server::host::Host;
use myriapod::server::keeper;
use myriapod::server::reload::Source;
use myriapod::server::spread::Spread;
use myriapod::server::start_error::StartError;
use myriapod::server::trial;
use myriapod::server::{Server, refuse, run, tell};

/// The operator wrote something that cannot be; the same code that a mistyped flag has.
const MISTAKEN: u8 = 2;
/// What was meant cannot be done here.
const FAILED: u8 = 1;
/// How long a check waits for names of servers to be looked up.
const NAMES_PATIENCE: Duration = Duration::from_secs(2);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let parsed = match cli::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(error) => error.exit(),
    };
    // Before it is read: what is written meanwhile is seen then.
    let source = source_of(&parsed.raw);
    let loaded = match config::load(&parsed.raw) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(mistakes, MISTAKEN),
    };
    for warning in &loaded.warnings {
        tell(&format!("myriapod: warning: {warning}\n"));
    }
    match parsed.task {
        Task::Serve => run(match source {
            Some(source) => Server::start_from(&loaded.config, source),
            None => Server::start(&loaded.config),
        }),
        Task::Check => check(&loaded),
        Task::Dump => show(&loaded.dump()),
        Task::Explain(question) => explain(&loaded, &question),
        Task::Doctor { json, with_client, host } => examine(&loaded.config, json, with_client, &host),
    }
}

/// Whoever stops listening half-way, as `head` does, has seen enough.
fn show(page: &str) -> ExitCode {
    let _ = io::stdout().write_all(page.as_bytes());
    ExitCode::SUCCESS
}

fn explain(loaded: &Loaded, asked: &cli::Question) -> ExitCode {
    let cli::Question { method, url, headers, from } = asked;
    match explain::explain(loaded, &explain::Question { method, url, headers, from: *from }) {
        Ok(page) => show(&page),
        Err(problem) => refuse(iter::once(problem), MISTAKEN),
    }
}

/// Where a reload gets its configuration: the same file, below the same flags.
fn source_of(raw: &Raw) -> Option<Source> {
    let file = PathBuf::from(&raw.config.as_ref()?.text);
    let raw = raw.clone();
    let read = move || match config::load(&raw) {
        Ok(loaded) => Ok(loaded.config),
        Err(mistakes) => Err(mistakes.iter().map(ConfigError::in_one_line).collect()),
    };
    Some(Source::new(read).in_files([file]))
}

/// Prints the settings in force as `name = value`, what they come to on this machine as comments, and refuses
/// what it cannot hold.
fn check(loaded: &Loaded) -> ExitCode {
    let config = &loaded.config;
    if let Err(mistakes) = trial::site(loaded) {
        return refuse(mistakes, MISTAKEN);
    }
    warn_of_names(&config.site);
    let mut page: String = config.describe().iter().map(|setting| format!("{setting}\n")).collect();
    let planned = plan(config);
    if let Ok((budget, spread)) = &planned {
        page.push_str(&format!("# {budget}\n# {spread}\n"));
    }
    if let Some(file) = &loaded.file {
        let Site { routes, upstreams, steps, .. } = &config.site;
        let counts = [("routes", routes.len()), ("upstreams", upstreams.len()), ("middleware", steps.len())];
        let counts = counts.map(|(what, count)| format!("{what} {count}"));
        page.push_str(&format!("# {file} is ok: {}\n", counts.join(", ")));
    }
    show(&page);
    match planned {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => refuse(iter::once(error), FAILED),
    }
}

/// A name that is not found now may be found when somebody asks for it: no mistake, but worth a word.
fn warn_of_names(site: &Site) {
    let names: Vec<_> = site.upstreams.iter().flat_map(keeper::names_of).collect();
    let hosts = names.iter().map(|name| &*name.host);
    let (_, not_found) = keeper::resolve_all(&keeper::of_machine(), hosts, NAMES_PATIENCE);
    for keeper::NotFound { host, why } in not_found {
        tell(&format!(
            "myriapod: warning: server {host} is not found: {why}; none of its addresses is asked\n"
        ));
    }
}

/// Tells how many connections the host can hold; whether those asked for are among them is the exit code.
fn examine(config: &Config, json: bool, with_client: bool, host: &Path) -> ExitCode {
    if !host.join("proc").is_dir() {
        let problem = "has no proc in it; copy /proc and /sys of that host there";
        return refuse(iter::once(format_args!("--host {}: {problem}", host.display())), MISTAKEN);
    }
    let report = match Report::new(&doctor::look(host), config, with_client) {
        Ok(report) => report,
        Err(shortage) => return refuse(iter::once(shortage), MISTAKEN),
    };
    let page = if json { report.json() } else { report.page() };
    let _ = io::stdout().write_all(page.as_bytes());
    if report.fits() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn plan(config: &Config) -> Result<(Budget, Spread), StartError> {
    let host = Host::measure().raised();
    let tables = match config.fixed.descriptor_table {
        DescriptorTable::Shared => Tables::Shared,
        DescriptorTable::Auto | DescriptorTable::Private => Tables::Private,
    };
    let reactors = config.fixed.reactors.unwrap_or(host.cpus);
    let budget = Budget::new(&host, config, tables, reactors)?;
    let budget = budget.with_workers(config, staff_asked(&host, config));
    Ok((budget, Spread::arrange(config, reactors)?))
}
