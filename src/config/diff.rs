//! What a reload cannot change.
//!
//! Routes, upstreams, middleware and limits change while the server runs. What decides about threads, sockets
//! and memory was decided before the first of them, and needs a restart.

use super::Config;

/// Settings that a running server takes over; all others are fixed.
const LIVE: [&str; 8] = [
    "max-head",
    "max-headers",
    "max-body",
    "keep-alive-requests",
    "head-timeout",
    "body-timeout",
    "idle-timeout",
    "write-timeout",
];

/// The settings that differ and stay as they were until a restart, by their names. A longer `max-head` may
/// be among them as `buffer-size`: buffers are as long as they were.
#[must_use]
pub fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let pairs = old.describe().into_iter().zip(new.describe());
    pairs.filter(|(old, new)| old != new && !LIVE.contains(&old.name)).map(|(old, _)| old.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Limits, LogLevel, Site};

    #[test]
    fn limits_and_the_site_change_while_the_server_runs() {
        let old = Config::default();
        let limits = Limits {
            head_bytes_max: 1_000,
            fields_max: 5,
            body_bytes_max: 6,
            requests_max: 7,
            head_ms_max: 8,
            body_ms_max: 9,
            idle_ms_max: 10,
            write_ms_max: 11,
            ..old.limits
        };
        let mut new = Config { limits, ..old.clone() };
        new.site = Site {
            trust: super::super::site::Trust { proxy_protocol: true, ..Default::default() },
            ..Site::default()
        };
        assert_eq!(needs_restart(&old, &new), [""; 0]);
    }

    #[test]
    fn what_was_decided_before_the_first_socket_is_named() {
        let old = Config::default();
        let mut new = old.clone();
        new.fixed.listen.clear();
        new.fixed.reactors = Some(3);
        new.fixed.log_level = LogLevel::Debug;
        new.fixed.buffer_bytes = 32 * 1024;
        assert_eq!(needs_restart(&old, &new), ["listen", "reactors", "buffer-size", "log-level"]);
    }

    #[test]
    fn every_live_setting_is_one() {
        let names: Vec<&str> = Config::default().describe().iter().map(|setting| setting.name).collect();
        assert!(LIVE.iter().all(|name| names.contains(name)));
    }
}
