//! One line on a terminal that tells how far a run is; nothing at all where nobody watches.

use std::io::{self, IsTerminal, Write};

use crate::report::Moment;

/// The line.
#[derive(Debug)]
pub struct Progress {
    is_shown: bool,
    is_dirty: bool,
}

impl Progress {
    /// Shown only if standard error is a terminal and `quiet` was not asked for.
    pub fn new(is_quiet: bool) -> Progress {
        Progress { is_shown: !is_quiet && io::stderr().is_terminal(), is_dirty: false }
    }

    /// Tells the last second of a load, all errors so far, and the share that is done.
    pub fn show(&mut self, name: &str, last: Option<&Moment>, errors: u64, share: f64) {
        let Some(last) = last else { return };
        let p99 = last.p99_ns as f64 / 1e6;
        let rate = last.rate;
        self.line(&format!("{name}: {rate:.0} requests/s, p99 {p99:.2} ms, {errors} errors"), share);
    }

    /// Tells anything with a share that is done.
    pub fn line(&mut self, text: &str, share: f64) {
        if self.is_shown {
            let percent = (share * 100.0).clamp(0.0, 100.0);
            // Erase to the end of the line, so that a shorter one leaves nothing of a longer one.
            eprint!("\r{percent:3.0} %  {text}\x1b[K");
            let _ = io::stderr().flush();
            self.is_dirty = true;
        }
    }

    /// Leaves the line empty for whatever is printed next.
    pub fn clear(&mut self) {
        if self.is_dirty {
            eprint!("\r\x1b[K");
            self.is_dirty = false;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
