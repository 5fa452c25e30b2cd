//! What has been found in a file so far: mistakes, warnings, and where each key stands.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::source::{Source, Spot};
use crate::config::ConfigError;

/// Reads on after a mistake, so that all are told at once.
pub(super) struct Reader<'s> {
    source: &'s Source,
    /// What relative paths begin at.
    folder: PathBuf,
    mistakes: Vec<(Spot, String)>,
    warnings: Vec<(Spot, String)>,
    /// The lines of keys, by their whole name: `upstream.app.balance`.
    pub lines: BTreeMap<String, u32>,
    /// Other files that were read, or will be.
    pub files: BTreeSet<PathBuf>,
}

/// Mistakes and warnings, each in the order of their places.
pub(super) struct Findings {
    pub mistakes: Vec<ConfigError>,
    pub warnings: Vec<ConfigError>,
}

impl<'s> Reader<'s> {
    pub fn new(source: &'s Source, folder: &Path) -> Reader<'s> {
        Reader {
            source,
            folder: folder.to_owned(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
            lines: BTreeMap::new(),
            files: BTreeSet::new(),
        }
    }

    pub fn mistake(&mut self, span: Range<usize>, problem: impl Into<String>) {
        self.mistakes.push((self.source.spot(span), problem.into()));
    }

    pub fn warn(&mut self, span: Range<usize>, problem: impl Into<String>) {
        self.warnings.push((self.source.spot(span), problem.into()));
    }

    pub fn spot(&self, span: Range<usize>) -> Spot {
        self.source.spot(span)
    }

    pub fn line(&self, span: Range<usize>) -> u32 {
        self.spot(span).line
    }

    /// A path as the file means it.
    pub fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    pub fn finish(self) -> Findings {
        let shown = |mut found: Vec<(Spot, String)>| {
            found.sort_by_key(|(spot, _)| (spot.line, spot.column));
            found.into_iter().map(|(spot, problem)| self.source.mistake(spot, problem)).collect()
        };
        Findings { mistakes: shown(self.mistakes), warnings: shown(self.warnings) }
    }
}
