//! How reloads went: written by the thread that does them, read by whoever asks for metrics.

use super::Counter;
use super::Gauge;

/// See the module.
#[derive(Debug, Default)]
pub struct Reloads {
    /// Those that took effect.
    pub ok: Counter,
    /// Those that were refused, and changed nothing.
    pub refused: Counter,
    /// Configurations that took effect since the start, which was the first.
    pub generation: Gauge,
    /// When the last one took effect, in seconds since 1970.
    pub success_unix_seconds: Gauge,
}

impl Reloads {
    /// A configuration took effect at that second.
    pub fn took_effect(&self, generation: u64, unix_seconds: u64) {
        self.generation.set(generation);
        self.success_unix_seconds.set(unix_seconds);
    }
}
