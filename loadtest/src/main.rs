//! `myriapod-load`: drives HTTP/1.1 servers and measures them honestly.
//!
//! The way of a run: [`cli`] reads what is wanted and picks the mode; [mod@run] asks the target what a right
//! answer is ([`wire`]); the [`engine`] starts threads, each with a descriptor table and connections of its
//! own; a mode ([`modes`]) decides what they do; what they count is added up into a [`report`], which is
//! told. What the server's process and the machine take meanwhile, [`host`] sees.
//!
//! It shares nothing with the server it was made for: a twin of its protocol code would share its mistakes.

mod cli;
mod engine;
mod host;
mod modes;
mod report;
mod run;
#[cfg(test)]
mod testing;
mod units;
mod wire;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Output};
use crate::engine::progress::Progress;
use crate::report::{Report, expect, html, json, svg, text};

/// It ran and was found wanting: an expectation failed, or the figures must not be used.
const WANTING: u8 = 1;
/// It could not be run at all; what clap says of wrong flags.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("myriapod-load: {message}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, String> {
    let output = cli.mode.output();
    let expected = match output.expect.join(",") {
        text if text.is_empty() => None,
        text => Some(expect::parse(&text).and_then(|all| all.knowing(&cli.mode.facts()))?),
    };
    output.is_writable()?;
    let mut progress = Progress::new(output.quiet);
    let mut report = cli.mode.run(&mut progress)?;
    progress.clear();
    if let Some(expected) = expected {
        report.judgements = expect::judge(&expected, &report);
    }
    output.tell(&report)?;
    let holds = report.invalid.is_empty() && report.judgements.iter().all(|judgement| judgement.held);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(WANTING) })
}

impl Output {
    /// Fails before the run rather than after it.
    fn is_writable(&self) -> Result<(), String> {
        for path in [&self.json, &self.html].into_iter().flatten().filter(|path| path.as_os_str() != "-") {
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            file.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        if let Some(folder) = &self.svg {
            std::fs::create_dir_all(folder)
                .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        }
        Ok(())
    }

    fn tell(&self, report: &Report) -> Result<(), String> {
        let speaks_json = self.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
        if !speaks_json {
            let told = text::tell(report, &mut io::stdout().lock());
            // Whoever reads the beginning only, as `head` does, is no reason to fail.
            told.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })
                .map_err(|error| format!("cannot write to standard output: {error}"))?;
        }
        if let Some(path) = &self.json {
            write(path, &json::text(report))?;
        }
        if let Some(path) = &self.html {
            write(path, &html::page(report))?;
        }
        if let Some(folder) = &self.svg {
            for (name, text) in svg::plots(report) {
                write(&folder.join(name + ".svg"), &text)?;
            }
        }
        Ok(())
    }
}

/// Writes a file, or to standard output for `-`.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let outcome = match path.as_os_str() == "-" {
        true => io::stdout().lock().write_all(text.as_bytes()),
        false => std::fs::write(path, text),
    };
    outcome.map_err(|error| format!("cannot write {}: {error}", path.display()))
}
