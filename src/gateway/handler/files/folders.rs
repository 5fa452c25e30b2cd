//! The directories of one gateway, open in the table of descriptors of the thread that serves them.
//!
//! A gateway is shared by all reactors and may be made by another thread while they run, so it holds no
//! descriptor: where reactors have tables of their own, one that was opened elsewhere is not in them, and
//! the number means nothing or, worse, something else. Each reactor opens what it needs, and closes it.

use std::cell::OnceCell;

use rustix::io::Errno;

use super::Files;
use super::root::Root;

/// See the module. Cannot leave its thread.
#[derive(Debug, Default)]
pub struct Folders(Vec<OnceCell<Root>>);

impl Folders {
    /// Opens all of these. One that cannot be opened now is tried again when it is asked for.
    pub fn of<'f>(all: impl Iterator<Item = &'f Files>) -> Folders {
        let mut folders = Folders::default();
        for files in all {
            if folders.0.len() <= files.number {
                folders.0.resize_with(files.number + 1, OnceCell::new);
            }
            let _ = folders.root(files);
        }
        folders
    }

    pub(super) fn root(&self, files: &Files) -> Result<&Root, Errno> {
        let Some(place) = self.0.get(files.number) else { return Err(Errno::NOENT) };
        if let Some(root) = place.get() {
            return Ok(root);
        }
        let root =
            Root::open(&files.path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(place.get_or_init(|| root))
    }
}
