//! How reloads went.

use super::{Kind, Page};
use crate::observe::Reloads;

impl Page<'_> {
    pub(super) fn reloads(&mut self, reloads: &Reloads) {
        self.family("myriapod_reloads", Kind::Counter, "Configurations read while serving.");
        let outcomes = [("ok", reloads.ok.value()), ("refused", reloads.refused.value())];
        for (outcome, count) in outcomes {
            self.sample("myriapod_reloads", "_total", format_args!("outcome=\"{outcome}\""), count);
        }
        self.gauge(
            "myriapod_config_generation",
            "Configurations that took effect since the start.",
            reloads.generation.value(),
        );
        self.gauge(
            "myriapod_config_success_seconds",
            "When the last one took effect, since 1970.",
            reloads.success_unix_seconds.value(),
        );
    }
}
