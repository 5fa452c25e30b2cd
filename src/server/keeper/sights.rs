//! How files looked at one time, and the folders in which one sees that they change.
//!
//! A file is what its path leads to through all links; one that is not there is a sight too. Not here:
//! contents. A file that was written anew with the same words counts as changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// See the module. To be taken *before* the files are read: what changes meanwhile is seen then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sights(BTreeMap<PathBuf, Sight>);

/// `None`: not there, or not to be seen.
type Sight = Option<Seen>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
    /// Cannot be set back, as the other can.
    changed_ns: i128,
}

impl Sights {
    /// Of these files, now.
    #[must_use]
    pub fn of(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Sights {
        let mut sights = Sights::default();
        sights.add(paths);
        sights
    }

    /// Looks at these as well. What was looked at already keeps its look.
    pub fn add(&mut self, paths: impl IntoIterator<Item = impl AsRef<Path>>) {
        for path in paths {
            let path = std::path::absolute(&path).unwrap_or_else(|_| path.as_ref().to_owned());
            self.0.entry(path).or_insert_with_key(|path| see(path));
        }
    }

    /// The same files as they are now.
    #[must_use]
    pub fn again(&self) -> Sights {
        Sights(self.0.keys().map(|path| (path.clone(), see(path))).collect())
    }

    /// The same files, those that `older` has as they looked there.
    pub(super) fn preferring(self, older: &Sights) -> Sights {
        let pick = |(path, sight)| {
            let sight = older.0.get(&path).copied().unwrap_or(sight);
            (path, sight)
        };
        Sights(self.0.into_iter().map(pick).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any has changed within this span: then it may be in the making, and a change to come may leave
    /// no trace that differs.
    pub(super) fn are_fresh(&self, wall: SystemTime, span: Duration) -> bool {
        let now_ns = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i128;
        let recent = now_ns - span.as_nanos() as i128..=now_ns;
        self.0.values().flatten().any(|seen| recent.contains(&seen.changed_ns))
    }

    /// Every folder in which an entry decides where the paths lead.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        self.0.keys().flat_map(|path| folders_of(path)).collect()
    }
}

fn see(path: &Path) -> Sight {
    let file = fs::metadata(path).ok()?;
    let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
    Some(Seen {
        device: file.dev(),
        inode: file.ino(),
        size: file.size(),
        modified_ns: ns(file.mtime(), file.mtime_nsec()),
        changed_ns: ns(file.ctime(), file.ctime_nsec()),
    })
}

/// Those with a link on the way, and the last. A way that breaks off is watched where it does.
fn folders_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut to_go: VecDeque<OsString> = steps(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = to_go.pop_front() {
        if step == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&step);
        if let Ok(target) = fs::read_link(&next) {
            folders.insert(here.clone());
            links += 1;
            if links > LINKS_MAX {
                break;
            }
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            steps(&target).into_iter().rev().for_each(|step| to_go.push_front(step));
        } else if to_go.is_empty() || !next.is_dir() {
            folders.insert(here);
            break;
        } else {
            here = next;
        }
    }
    folders
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let is_step = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_step).map(|part| part.as_os_str().to_owned()).collect()
}

/// As many as the kernel follows.
const LINKS_MAX: u32 = 40;
