//! The command line: each flag's name, environment variable, help and default, in one place.
//!
//! A first word that is a command is one; a folder of that name is written `./doctor`.
//! A flag overrules its variable, and an empty variable counts as not set. Values are taken as they are written:
//! what they mean is decided in [`config::resolve`](crate::config::resolve), which sees all mistakes at once.
//! The defaults shown here are those of [`Config`](crate::config::Config); a test holds the two together.

mod doctor;
mod flags;
mod gateway;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Raw, Written};

use doctor::DoctorFlags;
use flags::{Flags, placed, raw};
use gateway::{ExplainFlags, ProxyFlags, ServeFlags};

/// A well-formed command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Every setting as written.
    pub raw: Raw,
    /// What to do with them.
    pub task: Task,
}

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Serve until told to end.
    Serve,
    /// Only look at the settings.
    Check,
    /// Show what is in force as a file that reads back.
    Dump,
    /// Tell what would become of a request.
    Explain(Question),
    /// Tell what this host can hold.
    Doctor {
        /// For scripts.
        json: bool,
        /// Reckon with a client on the same machine.
        with_client: bool,
        /// Where the host's `/proc` and `/sys` are.
        host: PathBuf,
    },
}

/// A request that nobody sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// As written.
    pub method: String,
    /// `http://host/path?query`, or a path.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Who asks.
    pub from: IpAddr,
}

/// Reads a command line, whose first word is the program's name, and the environment.
///
/// An error may also be the wish for help or the version; [`clap::Error::exit`] knows.
pub fn parse(words: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Parsed, clap::Error> {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let mut command = command(is_brief(&words));
    let matches = command.try_get_matches_from_mut(words)?;
    let line = Line::from_arg_matches(&matches)?;
    let (Some(asked), Some((name, inner))) = (line.command, matches.subcommand()) else {
        return Ok(Parsed { raw: raw(line.flags, &matches), task: line.looks.task() });
    };
    if let Some(stray) = said(&command, &matches) {
        return Err(command.error(ErrorKind::ArgumentConflict, out_of_place(name, &stray)));
    }
    Ok(asked.parsed(inner))
}

impl Command {
    fn parsed(self, matches: &ArgMatches) -> Parsed {
        match self {
            Command::Doctor(DoctorFlags { settings, json, with_client, host }) => {
                Parsed { raw: raw(settings, matches), task: Task::Doctor { json, with_client, host } }
            }
            Command::Proxy(ProxyFlags { to, looks, settings }) => {
                let to = placed(matches, "to", to);
                Parsed { raw: Raw { to, ..raw(settings, matches) }, task: looks.task() }
            }
            Command::Serve(ServeFlags { looks, settings }) => {
                let mut raw = raw(settings, matches);
                if raw.dir.is_none() && raw.root.is_none() {
                    raw.dir = Some(Written::argument("."));
                }
                Parsed { raw, task: looks.task() }
            }
            Command::Explain(ExplainFlags { method, url, headers, from, settings }) => {
                let question = Question { method, url, headers, from };
                Parsed { raw: raw(settings, matches), task: Task::Explain(question) }
            }
        }
    }
}

/// The first argument that was written, as a person would call it.
fn said(command: &clap::Command, matches: &ArgMatches) -> Option<String> {
    let is_said = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    command.get_arguments().find(|arg| is_said(arg.get_id().as_str())).map(ToString::to_string)
}

fn out_of_place(command: &str, stray: &str) -> String {
    format!(
        "{stray} stands before `{command}`; write it after that word, or ./{command} for the folder of that name"
    )
}

/// `-h` is a page to glance at; the variables' names follow a rule, which it tells instead.
fn command(brief: bool) -> clap::Command {
    let shown = |arg: clap::Arg| arg.hide_env(brief).hide_env_values(true);
    let command = Line::command().mut_args(shown);
    command
        .mut_subcommand("doctor", |command| doctor::shaped(command).mut_args(shown))
        .mut_subcommand("explain", |command| gateway::explaining(command).mut_args(shown))
        .mut_subcommand("proxy", |command| gateway::passing_on(command).mut_args(shown))
        .mut_subcommand("serve", |command| command.mut_args(shown))
}

fn is_brief(words: &[OsString]) -> bool {
    words.iter().any(|word| word == "-h")
}

/// An epoll-level HTTP server and gateway: one pinned reactor per core, nothing spent on an idle connection.
///
/// Without arguments it serves a welcome page and a few endpoints on 127.0.0.1:8080; with a directory, its files.
#[derive(Parser)]
#[command(name = "myriapod", version, max_term_width = 100, after_help = AFTER_HELP, after_long_help = AFTER_LONG_HELP)]
#[command(disable_help_subcommand = true, override_usage = USAGE)]
struct Line {
    #[command(flatten)]
    flags: Flags,

    #[command(flatten)]
    looks: Looks,

    #[command(subcommand)]
    command: Option<Command>,
}

// No doc comment: it would become that of every command that takes these.
#[derive(Args)]
struct Looks {
    /// Validate the settings, print them, and exit
    #[arg(long, env = "MYRIAPOD_CHECK", value_parser = FalseyValueParser::new(), help_heading = "Checks")]
    check: bool,

    /// Print all that is in force as a file, with its origins
    ///
    /// Each value has behind it where it came from: a line of the file, a flag, a variable, or the default. The page reads back as a file, hence it shows secrets too.
    #[arg(long, env = "MYRIAPOD_DUMP", value_parser = FalseyValueParser::new(), help_heading = "Checks")]
    dump: bool,
}

impl Looks {
    fn task(&self) -> Task {
        match (self.dump, self.check) {
            (true, _) => Task::Dump,
            (false, true) => Task::Check,
            (false, false) => Task::Serve,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Pass requests on to servers, without a file
    Proxy(ProxyFlags),
    /// Serve a folder, by default this one
    Serve(ServeFlags),
    /// Tell which route takes a request, and what becomes of it
    Explain(ExplainFlags),
    /// Tell how many connections this host can hold, and what binds first
    Doctor(DoctorFlags),
}

const USAGE: &str = "\
myriapod [OPTIONS] [DIR]
       myriapod --config FILE
       myriapod proxy --to SERVER[,...] [OPTIONS]
       myriapod explain --config FILE METHOD URL
       myriapod doctor [OPTIONS]";

const AFTER_HELP: &str = "\
TIME is 500ms, 30s, 2m or 1h, and a bare number is seconds; SIZE is 512, 16k, 1m or 1g.
--idle-timeout is also MYRIAPOD_IDLE_TIMEOUT in the environment, and so are the others; a flag overrules it.
--help tells more.";

const AFTER_LONG_HELP: &str = "\
TIME is 500ms, 30s, 2m or 1h, and a bare number is seconds; SIZE is 512, 16k, 1m or 1g, in powers of 1024.
A flag overrules its environment variable; an empty variable counts as not set.

Examples:
  myriapod                              a welcome page on http://127.0.0.1:8080
  myriapod ./site --listen :80          the files under ./site, to everybody
  myriapod --reactors 1 --pin 0         one reactor on CPU 0, to measure
  myriapod --config site.toml           routes, upstreams and limits from a file
  myriapod --config site.toml --check   what is wrong with it, all at once
  myriapod proxy --to :9000,:9001       a proxy in front of two servers
  myriapod explain GET /a -H 'X: 1'     which route would take it; with --config
  myriapod ./doctor                     the files of a folder with the name of a command
  myriapod doctor                       what this host lacks for a million connections";

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;
    use crate::config::{Config, raw::environment_name};

    fn parsed(words: &[&str]) -> Parsed {
        parse(iter::once("myriapod").chain(words.iter().copied())).expect("well-formed")
    }

    fn complaint(words: &[&str]) -> String {
        parse(iter::once("myriapod").chain(words.iter().copied())).expect_err("not well-formed").to_string()
    }

    #[test]
    fn the_definition_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn nothing_said_is_nothing_written() {
        assert_eq!(parsed(&[]), Parsed { raw: Raw::default(), task: Task::Serve });
    }

    #[test]
    fn values_arrive_as_written() {
        let raw = parsed(&["--idle-timeout", "10x", "--max-head=", "site", "--root", "other"]).raw;
        assert_eq!(raw.idle_timeout, Some(Written::flag("10x")));
        assert_eq!(raw.max_head, Some(Written::flag("")));
        assert_eq!(raw.dir, Some(Written::argument("site")));
        assert_eq!(raw.root, Some(Written::flag("other")));
    }

    #[test]
    fn addresses_add_up() {
        let raw = parsed(&["--listen", "1,2", "--listen", "unix:a"]).raw;
        assert_eq!(raw.listen, [Written::flag("1"), Written::flag("2"), Written::flag("unix:a")]);
    }

    #[test]
    fn a_demo_needs_no_value_and_takes_no_directory() {
        let raw = parsed(&["--demo", "site"]).raw;
        assert_eq!(raw.demo, Some(Written::flag("on")));
        assert_eq!(raw.dir, Some(Written::argument("site")));
        assert_eq!(parsed(&["--demo=off"]).raw.demo, Some(Written::flag("off")));
    }

    #[test]
    fn every_setting_can_be_given_as_it_is_described() {
        let mut config = Config::default();
        config.fixed.admin = config.fixed.listen.pop();
        config.fixed.listen = vec![crate::config::Listen::Unix("a".into())];
        config.fixed.root = Some("/".into());
        let words: Vec<String> = config
            .describe()
            .into_iter()
            .map(|setting| format!("--{}={}", setting.name, setting.value.unwrap()))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(parsed(&words).raw.resolve(), Ok(config));
    }

    #[test]
    fn defaults_shown_are_defaults_meant() {
        let command = Line::command();
        for setting in Config::default().describe() {
            let arg = command.get_arguments().find(|arg| arg.get_long() == Some(setting.name));
            let shown =
                arg.expect(setting.name).get_default_values().first().map(|text| text.to_str().unwrap());
            if setting.name != "endpoints" {
                assert_eq!(shown, setting.value.as_deref(), "--{}", setting.name);
            }
        }
    }

    #[test]
    fn every_flag_has_its_variable_and_its_group() {
        for arg in Line::command().get_arguments() {
            let Some(name) = arg.get_long() else { continue };
            assert_eq!(
                arg.get_env().and_then(|env| env.to_str()),
                Some(&*environment_name(name)),
                "--{name}"
            );
            assert!(arg.get_help_heading().is_some(), "--{name}");
        }
    }

    #[test]
    fn the_doctor_takes_the_servers_flags_and_its_own() {
        let words = ["doctor", "--connections", "5000", "--reactors", "2", "--demo", "--json", "site"];
        let asked = parsed(&words);
        assert_eq!(asked.raw.max_connections, Some(Written::flag("5000")));
        assert_eq!(asked.raw.reactors, Some(Written::flag("2")));
        assert_eq!(asked.raw.dir, Some(Written::argument("site")));
        assert_eq!(asked.task, Task::Doctor { json: true, with_client: false, host: "/".into() });
        assert_eq!(
            parsed(&["doctor", "--max-connections", "5000"]).raw.max_connections,
            asked.raw.max_connections
        );
        assert_eq!(
            parsed(&["doctor"]).raw,
            Raw::default(),
            "what it asks for by default was written by nobody"
        );
    }

    #[test]
    fn a_folder_with_the_name_of_a_command_can_be_served() {
        for words in [["./doctor"].as_slice(), &["--root", "doctor"], &["--", "doctor"]] {
            assert_eq!(parsed(words).task, Task::Serve, "{words:?}");
        }
        assert_eq!(parsed(&["./doctor"]).raw.dir, Some(Written::argument("./doctor")));
    }

    #[test]
    fn what_stands_before_a_command_is_not_passed_over() {
        for (words, stray) in [(["--reactors=4", "doctor"], "--reactors"), (["site", "doctor"], "[DIR]")] {
            let told = complaint(&words);
            assert!(told.contains(stray) && told.contains("./doctor"), "{told}");
        }
        assert!(complaint(&["doctor", "--check"]).contains("unexpected argument '--check'"));
    }

    #[test]
    fn a_proxy_names_its_servers_and_takes_the_servers_flags() {
        let asked = parsed(&["proxy", "--to", "9000,:9001", "--to", "unix:a", "--listen", "80", "--check"]);
        assert_eq!(asked.raw.to, [9000.to_string(), ":9001".into(), "unix:a".into()].map(Written::flag));
        assert_eq!(asked.raw.listen, [Written::flag("80")]);
        assert_eq!(asked.task, Task::Check);
        assert_eq!(parsed(&["proxy", "--to=1"]).task, Task::Serve);
        assert!(complaint(&["proxy"]).contains("--to <SERVER>"));
    }

    #[test]
    fn to_serve_is_the_folder_that_is_named_or_this_one() {
        assert_eq!(parsed(&["serve", "site"]), parsed(&["site"]));
        assert_eq!(parsed(&["serve"]).raw.dir, Some(Written::argument(".")));
        assert_eq!(parsed(&["serve", "--root", "site"]).raw.dir, None);
        assert_eq!(parsed(&["serve", "--dump"]).task, Task::Dump);
    }

    #[test]
    fn a_question_is_asked_as_with_curl() {
        let words = [
            "explain",
            "--config",
            "f",
            "GET",
            "http://a/b",
            "-H",
            "X-A: 1:2",
            "--header=b:",
            "--from",
            "::1",
        ];
        let asked = parsed(&words);
        let headers = [("X-A", "1:2"), ("b", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let from = "::1".parse().unwrap();
        let (method, url) = ("GET".to_owned(), "http://a/b".to_owned());
        assert_eq!(asked.task, Task::Explain(Question { method, url, headers: headers.into(), from }));
        assert_eq!(asked.raw, Raw { config: Some(Written::flag("f")), ..Raw::default() });
        for wrong in ["no colon", "a b: c", "a: b\u{1}"] {
            assert!(complaint(&["explain", "GET", "/", "-H", wrong]).contains("--header"), "{wrong}");
        }
        assert!(complaint(&["explain", "GET"]).contains("<URL>"));
    }

    #[test]
    fn help_for_the_doctor_shows_what_its_answer_depends_on() {
        let told = complaint(&["doctor", "-h"]);
        for shown in ["--connections", "--reactors", "--json", "--host", "[default: 1000000]"] {
            assert!(told.contains(shown), "{shown}: {told}");
        }
        assert!(!told.contains("--idle-timeout") && told.lines().count() < 40, "{told}");
    }

    #[test]
    fn slips_are_put_right() {
        assert!(complaint(&["--idel-timeout", "3"]).contains("--idle-timeout"));
        assert!(complaint(&["--idle-timeout"]).contains("a value is required"));
        assert!(complaint(&["--root", "a", "--root", "b"]).contains("cannot be used multiple times"));
        assert!(complaint(&["a", "b"]).contains("unexpected argument 'b'"));
    }

    #[test]
    fn help_is_short_or_long() {
        let (short, long) = (complaint(&["-h"]), complaint(&["--help"]));
        assert!(short.lines().count() < 84 && short.contains("[default: 75s]"), "{short}");
        assert!(long.contains("[env: MYRIAPOD_IDLE_TIMEOUT]") && long.contains("[default: 75s]"), "{long}");
        for group in [
            "Listening",
            "Reactors",
            "Workers",
            "Limits",
            "Timeouts",
            "Files and endpoints",
            "Logging",
            "Checks",
        ] {
            assert!(short.contains(&format!("{group}:")) && long.contains(&format!("{group}:")), "{group}");
        }
        assert!(complaint(&["--version"]).starts_with("myriapod "));
    }
}
