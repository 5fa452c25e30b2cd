//! The settings in force, as text: for `--check` and for the welcome page.
//!
//! Names are those of the flags, values read back as the same, and the order is that of `--help`.
//! Nothing about the machine here: see `server::budget`.

use std::fmt;

use super::units::{duration_text, size_text};
use super::values::{server_name_text, switch_text};
use super::{Config, Fixed, Limits};

/// One setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The flag without its dashes.
    pub name: &'static str,
    /// The value, as the flag would take it; `None`: not set, and nothing stands in for it.
    pub value: Option<String>,
}

/// `name = value`; what is not set is a comment.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}", self.name),
            None => write!(f, "# {} is not set", self.name),
        }
    }
}

impl Config {
    /// Every setting in force.
    pub fn describe(&self) -> Vec<Setting> {
        let Config { fixed, limits, site: _ } = self;
        let rows = [
            fixed.listening(),
            fixed.running(),
            fixed.handing_off(),
            limits.bounds(fixed),
            limits.patience(fixed),
            fixed.telling(),
        ];
        rows.into_iter().flatten().collect()
    }

    /// The settings that differ from what they would be by default.
    pub fn changed(&self) -> Vec<Setting> {
        let usual = self.usual().describe();
        self.describe().into_iter().filter(|setting| !usual.contains(setting)).collect()
    }

    /// The default of everything, where some defaults follow from settings.
    fn usual(&self) -> Config {
        let mut usual = Config::default();
        usual.fixed.endpoints = Fixed::endpoints_default(self.fixed.root.is_some());
        usual.fixed.buffer_bytes = Fixed::buffer_bytes_default(self.limits.head_bytes_max);
        usual
    }
}

fn set(name: &'static str, value: impl ToString) -> Setting {
    Setting { name, value: Some(value.to_string()) }
}

fn or_auto(count: Option<u32>) -> String {
    count.map_or_else(|| String::from("auto"), |count| count.to_string())
}

fn or_off(ms: Option<u32>) -> String {
    ms.map_or_else(|| String::from("off"), duration_text)
}

impl Fixed {
    fn listening(&self) -> Vec<Setting> {
        let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        vec![
            set("listen", listen.join(",")),
            Setting { name: "admin", value: self.admin.as_ref().map(ToString::to_string) },
            set("backlog", self.backlog),
            set("defer-accept", switch_text(self.defers_accept)),
            set("accept", self.accept),
            Setting { name: "root", value: self.root.as_ref().map(|root| root.display().to_string()) },
            set("endpoints", self.endpoints),
            set("server-header", server_name_text(self.server_name.as_deref())),
        ]
    }

    fn running(&self) -> Vec<Setting> {
        vec![
            set("reactors", or_auto(self.reactors)),
            set("pin", &self.pin),
            set("fd-table", self.descriptor_table),
        ]
    }

    fn handing_off(&self) -> Vec<Setting> {
        vec![
            set("workers", or_auto(self.workers)),
            set("dispatch", self.dispatch),
            set("queue-depth", self.queue_depth),
            set("queue-timeout", or_off(self.queue_ms_max)),
            set("request-timeout", or_off(self.request_ms_max)),
            set("demo", switch_text(self.demo)),
        ]
    }

    fn telling(&self) -> Vec<Setting> {
        vec![
            set("access-log", &self.access_log),
            set("access-log-format", self.access_format),
            set("log-level", self.log_level),
            set("watch", switch_text(self.watches)),
        ]
    }
}

impl Limits {
    fn bounds(&self, fixed: &Fixed) -> Vec<Setting> {
        let requests = match self.requests_max {
            u32::MAX => String::from("unlimited"),
            count => count.to_string(),
        };
        vec![
            set("max-connections", or_auto(fixed.connections_max)),
            set("max-head", size_text(u64::from(self.head_bytes_max))),
            set("max-headers", self.fields_max),
            set("max-body", size_text(self.body_bytes_max)),
            set("keep-alive-requests", requests),
            set("buffer-size", size_text(u64::from(fixed.buffer_bytes))),
        ]
    }

    fn patience(&self, fixed: &Fixed) -> Vec<Setting> {
        vec![
            set("head-timeout", duration_text(self.head_ms_max)),
            set("body-timeout", duration_text(self.body_ms_max)),
            set("idle-timeout", duration_text(self.idle_ms_max)),
            set("write-timeout", duration_text(self.write_ms_max)),
            set("drain-timeout", duration_text(fixed.drain_ms_max)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::Endpoints;

    #[test]
    fn defaults_are_not_changes() {
        assert_eq!(Config::default().changed(), []);
    }

    #[test]
    fn what_follows_from_a_change_is_not_one() {
        let mut config = Config::default();
        config.fixed.root = Some(PathBuf::from("site"));
        config.fixed.endpoints = Endpoints::Health;
        assert_eq!(config.changed(), [set("root", "site")]);
        config.fixed.endpoints = Endpoints::All;
        assert_eq!(config.changed(), [set("root", "site"), set("endpoints", "all")]);
    }

    #[test]
    fn a_name_stands_once() {
        let mut names: Vec<&str> = Config::default().describe().iter().map(|setting| setting.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
