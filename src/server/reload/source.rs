//! Where a reload gets its configuration.

use std::path::PathBuf;

use crate::config::Config;

/// See the module.
pub struct Source {
    pub(super) read: Box<dyn FnMut() -> Result<Config, Vec<String>> + Send>,
    pub(super) files: Vec<PathBuf>,
}

impl Source {
    /// Asks that function, on a thread of its own. It tells every mistake.
    pub fn new(read: impl FnMut() -> Result<Config, Vec<String>> + Send + 'static) -> Source {
        Source { read: Box::new(read), files: Vec::new() }
    }

    /// Names files in which the configuration lies: when the settings say so, they are watched.
    #[must_use]
    pub fn in_files(self, files: impl IntoIterator<Item = PathBuf>) -> Source {
        Source { files: files.into_iter().collect(), ..self }
    }
}
