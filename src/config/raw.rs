//! Settings as they were written, before anybody asked what they mean.
//!
//! Each value remembers where it stood, so that a mistake can be named there. A setting has one name:
//! `idle-timeout` is `--idle-timeout` on the command line and `MYRIAPOD_IDLE_TIMEOUT` in the environment.
//! No defaults and no checks here: see [`resolve`](super::resolve).

use std::ffi::OsString;
use std::fmt;

use super::file::Spot;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The value itself; paths need not be UTF-8.
    pub text: OsString,
    /// Where it stood.
    pub place: Place,
}

/// Where a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// After its flag.
    Flag,
    /// In its environment variable.
    Environment,
    /// On the command line without a flag.
    Argument,
    /// In the configuration file.
    File(Spot),
}

impl Written {
    /// A value that followed its flag.
    pub fn flag(text: impl Into<OsString>) -> Written {
        Written { text: text.into(), place: Place::Flag }
    }

    /// A value of an environment variable.
    pub fn environment(text: impl Into<OsString>) -> Written {
        Written { text: text.into(), place: Place::Environment }
    }

    /// A value that stood alone.
    pub fn argument(text: impl Into<OsString>) -> Written {
        Written { text: text.into(), place: Place::Argument }
    }

    /// The value together with its place, as the operator would type it: `--idle-timeout 10x`.
    pub(super) fn shown(&self, name: &str) -> String {
        let text = OneLine(&self.text.to_string_lossy()).to_string();
        match self.place {
            Place::Flag => format!("--{name} {text}"),
            Place::Environment => format!("{}={text}", environment_name(name)),
            Place::Argument => text,
            Place::File(spot) => format!("{name} = {text} (line {})", spot.line),
        }
    }
}

/// The environment variable of a setting: `MYRIAPOD_IDLE_TIMEOUT` for `idle-timeout`.
pub fn environment_name(name: &str) -> String {
    format!("MYRIAPOD_{}", name.replace('-', "_").to_ascii_uppercase())
}

/// Text that may hold anything, shown in one line; emptiness is shown as `''`.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("''");
        }
        for c in self.0.chars() {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// Every setting as written; `None` or empty where nothing was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw {
    /// `--config`
    pub config: Option<Written>,
    /// `--watch`
    pub watch: Option<Written>,
    /// `--to` of `myriapod proxy`, each.
    pub to: Vec<Written>,
    /// `[DIR]`, which means `--root DIR`.
    pub dir: Option<Written>,
    /// `--root`
    pub root: Option<Written>,
    /// `--listen`, each.
    pub listen: Vec<Written>,
    /// `--admin`
    pub admin: Option<Written>,
    /// `--backlog`
    pub backlog: Option<Written>,
    /// `--defer-accept`
    pub defer_accept: Option<Written>,
    /// `--accept`
    pub accept: Option<Written>,
    /// `--endpoints`
    pub endpoints: Option<Written>,
    /// `--server-header`
    pub server_header: Option<Written>,
    /// `--reactors`
    pub reactors: Option<Written>,
    /// `--pin`
    pub pin: Option<Written>,
    /// `--fd-table`
    pub fd_table: Option<Written>,
    /// `--workers`
    pub workers: Option<Written>,
    /// `--dispatch`
    pub dispatch: Option<Written>,
    /// `--queue-depth`
    pub queue_depth: Option<Written>,
    /// `--queue-timeout`
    pub queue_timeout: Option<Written>,
    /// `--request-timeout`
    pub request_timeout: Option<Written>,
    /// `--demo`, which means `--demo=on`.
    pub demo: Option<Written>,
    /// `--max-connections`
    pub max_connections: Option<Written>,
    /// `--max-head`
    pub max_head: Option<Written>,
    /// `--max-headers`
    pub max_headers: Option<Written>,
    /// `--max-body`
    pub max_body: Option<Written>,
    /// `--keep-alive-requests`
    pub keep_alive_requests: Option<Written>,
    /// `--buffer-size`
    pub buffer_size: Option<Written>,
    /// `--head-timeout`
    pub head_timeout: Option<Written>,
    /// `--body-timeout`
    pub body_timeout: Option<Written>,
    /// `--idle-timeout`
    pub idle_timeout: Option<Written>,
    /// `--write-timeout`
    pub write_timeout: Option<Written>,
    /// `--drain-timeout`
    pub drain_timeout: Option<Written>,
    /// `--access-log`
    pub access_log: Option<Written>,
    /// `--access-log-format`
    pub access_log_format: Option<Written>,
    /// `--log-level`
    pub log_level: Option<Written>,
}

impl Raw {
    /// Every setting that is written once, by its name.
    pub(super) fn slots(&mut self) -> [(&'static str, &mut Option<Written>); 31] {
        [
            ("watch", &mut self.watch),
            ("root", &mut self.root),
            ("admin", &mut self.admin),
            ("backlog", &mut self.backlog),
            ("defer-accept", &mut self.defer_accept),
            ("accept", &mut self.accept),
            ("endpoints", &mut self.endpoints),
            ("server-header", &mut self.server_header),
            ("reactors", &mut self.reactors),
            ("pin", &mut self.pin),
            ("fd-table", &mut self.fd_table),
            ("workers", &mut self.workers),
            ("dispatch", &mut self.dispatch),
            ("queue-depth", &mut self.queue_depth),
            ("queue-timeout", &mut self.queue_timeout),
            ("request-timeout", &mut self.request_timeout),
            ("demo", &mut self.demo),
            ("max-connections", &mut self.max_connections),
            ("max-head", &mut self.max_head),
            ("max-headers", &mut self.max_headers),
            ("max-body", &mut self.max_body),
            ("keep-alive-requests", &mut self.keep_alive_requests),
            ("buffer-size", &mut self.buffer_size),
            ("head-timeout", &mut self.head_timeout),
            ("body-timeout", &mut self.body_timeout),
            ("idle-timeout", &mut self.idle_timeout),
            ("write-timeout", &mut self.write_timeout),
            ("drain-timeout", &mut self.drain_timeout),
            ("access-log", &mut self.access_log),
            ("access-log-format", &mut self.access_log_format),
            ("log-level", &mut self.log_level),
        ]
    }

    /// Where a setting was written; `None`: nowhere.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<Place> {
        let mut known = self.clone();
        let slot = known.slots().into_iter().find(|(slot, _)| *slot == name);
        let written = match name {
            "listen" => self.listen.first().cloned(),
            "root" if self.dir.is_some() => self.dir.clone(),
            _ => slot.and_then(|(_, written)| written.take()),
        };
        written.map(|written| written.place)
    }

    /// Takes over what a file says, where nothing was said on the command line or in the environment.
    pub(super) fn fill_from(&mut self, mut file: Raw) {
        for ((_, slot), (_, said)) in self.slots().into_iter().zip(file.slots()) {
            if slot.is_none() {
                *slot = said.take();
            }
        }
        if self.listen.is_empty() {
            self.listen = file.listen;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_where_it_was_written() {
        assert_eq!(Written::flag("10x").shown("idle-timeout"), "--idle-timeout 10x");
        assert_eq!(Written::environment("10x").shown("idle-timeout"), "MYRIAPOD_IDLE_TIMEOUT=10x");
        assert_eq!(Written::argument("site").shown("root"), "site");
    }

    #[test]
    fn a_value_is_shown_in_one_line() {
        assert_eq!(Written::flag("a\nb\u{1b}[1m").shown("root"), "--root a\\nb\\u{1b}[1m");
        assert_eq!(Written::flag("").shown("root"), "--root ''");
    }
}
