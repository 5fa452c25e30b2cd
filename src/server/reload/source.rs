//! Where a reload gets its configuration.

use std::path::PathBuf;

use crate::config::Config;
use crate::server::keeper::{Sights, files_of};

/// See the module.
pub struct Source {
    pub(super) read: Box<dyn FnMut() -> Result<Config, Vec<String>> + Send>,
    /// As they looked when they were named.
    pub(super) files: Sights,
}

impl Source {
    /// Asks that function, on a thread of its own. It tells every mistake.
    pub fn new(read: impl FnMut() -> Result<Config, Vec<String>> + Send + 'static) -> Source {
        Source { read: Box::new(read), files: Sights::default() }
    }

    /// Names files in which the configuration lies: when the settings say so, they are watched. To be said
    /// before they are read for the start: what changes from here on is seen.
    #[must_use]
    pub fn in_files(self, files: impl IntoIterator<Item = PathBuf>) -> Source {
        Source { files: Sights::of(files), ..self }
    }

    /// How all files look that the configuration is read from, if they are watched: its own as they are
    /// picked, and those that it names.
    pub(in crate::server) fn sights(
        source: Option<&Source>,
        config: &Config,
        pick: impl Fn(&Sights) -> Sights,
    ) -> Sights {
        let Some(source) = source.filter(|_| config.fixed.watches) else { return Sights::default() };
        let mut sights = pick(&source.files);
        sights.add(files_of(&config.site));
        sights
    }
}
