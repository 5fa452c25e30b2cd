//! What is to be compared: servers, cases and settings, from flags or from a TOML file.
//!
//! A file has `[settings]`, `[[server]]` and `[[case]]`, with the names that the flags have;
//! `scripts/compare.toml` is one, with comments. A flag goes before the file's setting. All mistakes of a
//! plan are told together.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Deserializer};

use crate::host::cpus::Cpus;
use crate::host::launch::Recipe;
use crate::units;

/// A plan without mistakes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The first is what the others are divided by.
    pub servers: Vec<Recipe>,
    pub cases: Vec<Case>,
    pub blocks: u32,
    pub blocks_max: u32,
    pub block_time: Duration,
    pub warm_up: Duration,
    pub threads: u64,
    pub server_cpus: Option<Cpus>,
    pub load_cpus: Option<Cpus>,
    pub seed: u64,
    pub keep: bool,
}

/// One kind of load on every server.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    pub name: String,
    pub kind: Kind,
    pub path: String,
    pub method: String,
    pub headers: Vec<String>,
    pub body: Option<String>,
    pub connections: u64,
    pub depth: u32,
    /// Servers that cannot do this.
    pub without: Vec<String>,
    /// How far the control may stray from one.
    pub control: f64,
}

/// What connections are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Each asks again when it is answered
    #[default]
    KeepAlive,
    /// Each asks once and is closed by the server; another takes its place
    Close,
    /// Each asks once and stays; what it costs in memory is measured
    Idle,
}

/// A plan file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    #[serde(default)]
    pub settings: Settings,
    #[serde(default, rename = "server")]
    pub servers: Vec<Server>,
    #[serde(default, rename = "case")]
    pub cases: Vec<Ask>,
}

/// A server as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    name: String,
    command: String,
}

/// How it is measured, as written.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[command(next_help_heading = "Measuring")]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Times everything is repeated, each time in another order [default: 12]
    #[arg(long, value_parser = units::positive, value_name = "N")]
    pub blocks: Option<u64>,
    /// Times at most, for cases whose control does not hold yet [default: twice the blocks]
    #[arg(long, value_parser = units::positive, value_name = "N")]
    pub blocks_max: Option<u64>,
    /// Time measured of each server in each block [default: 1s]
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    #[serde(deserialize_with = "duration")]
    pub block_time: Option<Duration>,
    /// Time before it that is not measured [default: 200ms]
    #[arg(long, value_parser = units::duration, value_name = "TIME")]
    #[serde(deserialize_with = "duration")]
    pub warm_up: Option<Duration>,
    /// Threads of the load [default: 1]
    #[arg(short, long, value_parser = units::positive, value_name = "N")]
    pub threads: Option<u64>,
    /// CPUs the servers run on: `0` or `0-3` [default: any]
    #[arg(long, value_parser = Cpus::parse, value_name = "LIST")]
    #[serde(deserialize_with = "cpus")]
    pub server_cpus: Option<Cpus>,
    /// CPUs the load runs on [default: any]
    #[arg(long, value_parser = Cpus::parse, value_name = "LIST")]
    #[serde(deserialize_with = "cpus")]
    pub load_cpus: Option<Cpus>,
    /// How far the first server may stray from itself for a case to hold [default: 2%]
    #[arg(long, value_parser = units::share, value_name = "SHARE")]
    #[serde(deserialize_with = "share")]
    pub control: Option<f64>,
    /// Seed of the random order [default: a new one each time; it is in the report]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Start each server once for the whole run, not anew for each measurement
    #[arg(long)]
    pub keep: bool,
}

/// A case as written.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[command(next_help_heading = "Request, where there is no plan")]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ask {
    #[arg(skip)]
    pub name: Option<String>,
    #[arg(skip)]
    pub without: Vec<String>,
    #[arg(skip)]
    #[serde(deserialize_with = "share")]
    pub control: Option<f64>,
    /// Path that is asked for [default: /]
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// What connections are for [default: keep-alive]
    #[arg(long, value_enum, value_name = "KIND")]
    pub kind: Option<Kind>,
    /// Connections [default: 64]
    #[arg(short, long, value_parser = units::positive, value_name = "N")]
    pub connections: Option<u64>,
    /// Requests under way on each connection (pipelining) [default: 1]
    #[arg(long, value_parser = units::positive, value_name = "N")]
    pub depth: Option<u64>,
    /// Method [default: GET]
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub method: Option<String>,
    /// A field of the request; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Body of the request
    #[arg(long, value_name = "TEXT")]
    pub body: Option<String>,
}

const BLOCKS: u64 = 12;
const BLOCK_TIME: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_millis(200);
const CONNECTIONS: u64 = 64;
const CONTROL: f64 = 0.02;

impl Written {
    /// Reads a plan file.
    ///
    /// # Errors
    /// The first thing that is not as it should be, with its place.
    pub fn read(path: &Path) -> Result<Written, String> {
        let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(&error))?;
        toml::from_str(&text).map_err(|error| told(&error.to_string().trim_end()))
    }

    /// The servers it names.
    pub fn recipes(&self) -> Vec<Recipe> {
        let recipe = |server: &Server| Recipe { name: server.name.clone(), command: server.command.clone() };
        self.servers.iter().map(recipe).collect()
    }
}

impl Settings {
    /// These, and where they say nothing, the others.
    pub fn or(self, other: Settings) -> Settings {
        Settings {
            blocks: self.blocks.or(other.blocks),
            // Whoever asks for other blocks than the plan's does not want the plan's maximum.
            blocks_max: self.blocks_max.or(if self.blocks.is_some() { None } else { other.blocks_max }),
            block_time: self.block_time.or(other.block_time),
            warm_up: self.warm_up.or(other.warm_up),
            threads: self.threads.or(other.threads),
            server_cpus: self.server_cpus.or(other.server_cpus),
            load_cpus: self.load_cpus.or(other.load_cpus),
            control: self.control.or(other.control),
            seed: self.seed.or(other.seed),
            keep: self.keep || other.keep,
        }
    }
}

impl Plan {
    /// Makes a plan of what was written, of these servers `only`, or of all where there are none.
    ///
    /// # Errors
    /// All mistakes, a line each.
    pub fn resolve(
        servers: Vec<Recipe>,
        asks: Vec<Ask>,
        settings: Settings,
        only: &[String],
    ) -> Result<Plan, String> {
        let blocks = settings.blocks.unwrap_or(BLOCKS);
        let all: Vec<String> = servers.iter().map(|server| server.name.clone()).collect();
        let chosen = |server: &Recipe| only.is_empty() || only.contains(&server.name);
        let count = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let control = settings.control.unwrap_or(CONTROL);
        let plan = Plan {
            servers: servers.into_iter().filter(chosen).collect(),
            cases: asks.into_iter().map(|ask| ask.case(control)).collect(),
            blocks: count(blocks),
            blocks_max: count(settings.blocks_max.unwrap_or(2 * blocks).max(blocks)),
            block_time: settings.block_time.unwrap_or(BLOCK_TIME),
            warm_up: settings.warm_up.unwrap_or(WARM_UP),
            threads: settings.threads.unwrap_or(1),
            server_cpus: settings.server_cpus,
            load_cpus: settings.load_cpus,
            seed: settings.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
            keep: settings.keep,
        };
        let mistakes = [plan.mistakes_of_servers(&all, only), plan.mistakes_of_cases(&all)].concat();
        if mistakes.is_empty() { Ok(plan) } else { Err(mistakes.join("\n")) }
    }

    fn mistakes_of_servers(&self, all: &[String], only: &[String]) -> Vec<String> {
        let mut mistakes = Vec::new();
        if all.is_empty() {
            mistakes
                .push("there is no server to measure; give --server 'NAME=COMMAND' or --plan FILE".into());
        }
        mistakes.extend(
            only.iter()
                .filter(|name| !all.contains(name))
                .map(|name| format!("--only {name}: there is no such server, only {}", all.join(", "))),
        );
        mistakes.extend(twice(all).map(|name| format!("two servers are called {name:?}")));
        mistakes.extend(self.servers.iter().filter(|server| !server.command.contains("{port}")).map(
            |server| {
                format!("the command of {} has no {{port}}; it would not know where to listen", server.name)
            },
        ));
        let of_case = |server: &&Recipe| self.keep && server.command.contains("{path}");
        mistakes.extend(self.servers.iter().filter(of_case).map(|server| {
            format!(
                "the command of {} has a {{path}}, which changes from case to case; --keep cannot be",
                server.name
            )
        }));
        if self.block_time.is_zero() {
            mistakes.push("a block of no time measures nothing".into());
        }
        mistakes
    }

    fn mistakes_of_cases(&self, all: &[String]) -> Vec<String> {
        let mut mistakes = Vec::new();
        if self.cases.is_empty() {
            mistakes.push("there is no case; the plan needs a [[case]]".into());
        }
        let names: Vec<String> = self.cases.iter().map(|case| case.name.clone()).collect();
        mistakes.extend(twice(&names).map(|name| format!("two cases are called {name:?}")));
        for case in &self.cases {
            let name = &case.name;
            if !case.path.starts_with('/') {
                mistakes.push(format!("case {name:?}: the path {:?} does not begin with /", case.path));
            }
            if case.kind != Kind::KeepAlive && case.depth > 1 {
                mistakes.push(format!("case {name:?}: a depth is only for connections that are kept alive"));
            }
            if case.connections < self.threads {
                mistakes.push(format!("case {name:?}: more threads than connections"));
            }
            mistakes.extend(
                case.without
                    .iter()
                    .filter(|server| !all.contains(server))
                    .map(|server| format!("case {name:?}: without {server}, but there is no such server")),
            );
            if self.servers.first().is_some_and(|first| case.without.contains(&first.name)) {
                mistakes.push(format!(
                    "case {name:?}: without the first server there is nothing to compare with"
                ));
            }
        }
        mistakes
    }
}

impl Ask {
    fn case(self, control: f64) -> Case {
        let path = self.path.unwrap_or_else(|| "/".into());
        Case {
            name: self.name.unwrap_or_else(|| path.clone()),
            kind: self.kind.unwrap_or_default(),
            path,
            method: self.method.unwrap_or_else(|| "GET".into()),
            headers: self.headers,
            body: self.body,
            connections: self.connections.unwrap_or(CONNECTIONS),
            depth: self.depth.map_or(1, |depth| u32::try_from(depth).unwrap_or(u32::MAX)),
            without: self.without,
            control: self.control.unwrap_or(control),
        }
    }
}

/// Names that occur before.
fn twice(names: &[String]) -> impl Iterator<Item = &String> {
    names.iter().enumerate().filter(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name)
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    text(from, units::duration)
}

fn cpus<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cpus>, D::Error> {
    text(from, Cpus::parse)
}

fn share<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    text(from, units::share)
}

/// A value that is read as the flag of that name is.
fn text<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    parse(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [settings]
        blocks = 8
        blocks-max = 9
        block-time = "700ms"
        server-cpus = "0"
        control = "3%"

        [[server]]
        name = "one"
        command = "one --port {port}"

        [[server]]
        name = "two"
        command = "two {port} {dir}"

        [[case]]
        name = "plaintext, depth 16"
        path = "/plaintext"
        depth = 16

        [[case]]
        path = "/file"
        kind = "close"
        connections = 100
        without = ["two"]
    "#;

    fn resolved(text: &str, flags: Settings, only: &[&str]) -> Result<Plan, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        let only: Vec<String> = only.iter().map(ToString::to_string).collect();
        Plan::resolve(written.recipes(), written.cases.clone(), flags.or(written.settings), &only)
    }

    #[test]
    fn a_plan_is_read_and_what_it_leaves_out_is_usual() {
        let plan = resolved(GOOD, Settings::default(), &[]).unwrap();
        assert_eq!((plan.blocks, plan.blocks_max), (8, 9));
        assert_eq!((plan.block_time, plan.warm_up), (Duration::from_millis(700), WARM_UP));
        assert_eq!(plan.servers[1].command, "two {port} {dir}");
        let (first, second) = (&plan.cases[0], &plan.cases[1]);
        assert_eq!((first.depth, first.connections, first.kind), (16, 64, Kind::KeepAlive));
        assert_eq!((first.control, second.kind, second.name.as_str()), (0.03, Kind::Close, "/file"));
    }

    #[test]
    fn flags_go_before_the_plan() {
        let flags = Settings { blocks: Some(20), control: Some(0.5), ..Settings::default() };
        let plan = resolved(GOOD, flags, &["one"]).unwrap();
        assert_eq!((plan.blocks, plan.blocks_max, plan.cases[0].control), (20, 40, 0.5));
        assert_eq!(plan.servers.len(), 1);
    }

    #[test]
    fn all_mistakes_are_told_together() {
        let bad = r#"
            [[server]]
            name = "one"
            command = "one"
            [[server]]
            name = "one"
            command = "{port}"
            [[case]]
            name = "a"
            path = "a"
            kind = "idle"
            depth = 2
            without = ["one", "three"]
            [[case]]
            name = "a"
        "#;
        let told = resolved(bad, Settings::default(), &["four"]).unwrap_err();
        for part in
            ["two servers", "two cases", "begin with /", "a depth is only", "without three", "--only four"]
        {
            assert!(told.contains(part), "{part:?} is missing in\n{told}");
        }
        let told = resolved(bad, Settings::default(), &[]).unwrap_err();
        assert!(told.contains("no {port}") && told.contains("nothing to compare with"), "{told}");
        let keeping = Settings { keep: true, ..Settings::default() };
        let told = resolved(&GOOD.replace("{dir}", "{path}"), keeping, &[]).unwrap_err();
        assert!(told.contains("two has a {path}"), "{told}");
        let told = resolved("", Settings::default(), &[]).unwrap_err();
        assert!(told.contains("no server") && told.contains("no case"), "{told}");
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        for (wrong, told) in [
            ("block-time = \"5 parsecs\"", "parsecs"),
            ("blocks = \"many\"", "expected u64"),
            ("server-cpus = \"first\"", "list of CPUs"),
            ("blokcs = 8", "unknown field `blokcs`, expected one of"),
        ] {
            let text = format!("[settings]\nseed = 1\n{wrong}\n");
            let error = resolved(&text, Settings::default(), &[]).unwrap_err();
            assert!(error.contains("line 3") && error.contains(told), "{error}");
        }
        let error = resolved("[[case]]\nkind = \"closed\"\n", Settings::default(), &[]).unwrap_err();
        assert!(error.contains("`keep-alive`, `close`, `idle`"), "{error}");
    }
}
