//! Sees that files change: told by inotify, or by looking once a second where that cannot be had.
//!
//! ```text
//!          event                 100 ms of quiet, or 1 s            differs
//!   rest --------> something is up ----------------------> look -----------> changed
//!    ^                                                      | |
//!    '------------------------------------------------------' '--> again in 100 ms: it is in the making
//! ```
//! Folders are watched, not files: editors put another file in the place of one, and configuration maps swap
//! a link on the way to it. What an event says is not read; what counts is whether a file now looks other
//! than it did. Files that others change over a network tell nobody: inotify is silent about them.
//! Time is an argument.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::sights::Sights;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watch {
    sights: Sights,
    inotify: Option<OwnedFd>,
    /// What is watched now, by the kernel's numbers.
    held: BTreeSet<i32>,
    /// Why changes must be looked for by the clock.
    blind: Option<io::Error>,
    /// When something came up that was not looked into yet.
    since_ms: Option<u64>,
    look_at_ms: Option<u64>,
    /// Never asks for inotify.
    #[cfg(test)]
    is_without: bool,
}

impl Watch {
    /// Watches these files, and no others. Those that look other by now than they did have changed; so have
    /// those of which something came up that nobody has been told of, however they are said to have looked.
    pub(super) fn attend(&mut self, sights: Sights, now_ms: u64) {
        self.drain(now_ms);
        // Whoever brings them may have looked at files without reading them: told twice is better than never.
        let has_untold = self.since_ms.is_some() || self.blind.is_some();
        let sights = if has_untold { sights.preferring(&self.sights) } else { sights };
        *self = Watch {
            sights,
            inotify: self.inotify.take(),
            held: std::mem::take(&mut self.held),
            blind: self.blind.take(),
            #[cfg(test)]
            is_without: self.is_without,
            ..Watch::default()
        };
        if self.sights.is_empty() {
            // The kernel forgets what is watched with the descriptor.
            *self = Watch::default();
            return;
        }
        self.look_at_ms = Some(now_ms);
    }

    /// What becomes readable when something is up.
    pub(super) fn source(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Takes what the kernel has to tell. What is left over is taken in the next turn.
    pub(super) fn drain(&mut self, now_ms: u64) {
        let Some(inotify) = &self.inotify else { return };
        let mut events = [0u8; EVENT_BYTES];
        if rustix::io::read(inotify, &mut events).is_ok_and(|len| len > 0) {
            self.stir(now_ms);
        }
    }

    /// Whether files have changed, if it is time to look.
    pub(super) fn look(&mut self, now_ms: u64, wall: SystemTime) -> bool {
        if self.look_at_ms.is_none_or(|due_ms| due_ms > now_ms) {
            return false;
        }
        // Watched before looked at: what changes after the look is an event.
        self.blind = self.arm().err();
        let sights = self.sights.again();
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        if sights.are_fresh(wall, QUIET) && now_ms < since_ms + STIR_MS_MAX {
            self.look_at_ms = Some(now_ms + QUIET_MS);
            return false;
        }
        self.since_ms = None;
        self.look_at_ms = self.blind.is_some().then_some(now_ms + BLIND_LOOK_MS);
        let has_changed = sights != self.sights;
        self.sights = sights;
        has_changed
    }

    /// When to look next.
    pub(super) fn next_ms(&self) -> Option<u64> {
        self.look_at_ms
    }

    /// Why there is a look every second, if there is.
    pub(super) fn blind(&self) -> Option<&io::Error> {
        self.blind.as_ref()
    }

    fn stir(&mut self, now_ms: u64) {
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        self.look_at_ms = Some((now_ms + QUIET_MS).min(since_ms + STIR_MS_MAX));
    }

    /// Has all folders watched that matter now, and only those.
    fn arm(&mut self) -> io::Result<()> {
        #[cfg(test)]
        if self.is_without {
            return Err(io::Error::other("as told"));
        }
        if self.inotify.is_none() {
            self.held.clear();
            self.inotify = Some(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?);
        }
        let mut folders = self.sights.folders();
        for _ in 0..ARM_TRIES {
            let outcome = self.arm_folders(&folders);
            let after = self.sights.folders();
            if after == folders {
                return outcome;
            }
            // A link was turned meanwhile.
            folders = after;
        }
        Err(io::Error::other("the links on the way do not keep still"))
    }

    fn arm_folders(&mut self, folders: &BTreeSet<std::path::PathBuf>) -> io::Result<()> {
        let Some(inotify) = &self.inotify else { return Ok(()) };
        let mut outcome = Ok(());
        let mut held = BTreeSet::new();
        for folder in folders {
            match inotify::add_watch(inotify, folder, interest()) {
                Ok(number) => drop(held.insert(number)),
                Err(error) => outcome = Err(error.into()),
            }
        }
        for gone in self.held.difference(&held) {
            // The kernel has let go of a folder that was deleted by itself.
            let _ = inotify::remove_watch(inotify, *gone);
        }
        self.held = held;
        outcome
    }
}

/// Not each write: who writes closes in the end.
fn interest() -> WatchFlags {
    let entries = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE;
    let files = WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB;
    entries | files | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR
}

const QUIET_MS: u64 = 100;
const QUIET: Duration = Duration::from_millis(QUIET_MS);
/// A folder that never keeps still is looked into all the same.
const STIR_MS_MAX: u64 = 1_000;
const BLIND_LOOK_MS: u64 = 1_000;
const ARM_TRIES: u32 = 4;
/// Room for some events with names of any length.
const EVENT_BYTES: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use super::*;

    /// A folder of its own that is gone when the test is over.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("myriapod-watch-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("a folder");
            Folder(path)
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, text).expect("written");
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// So late that no file is fresh.
    fn late() -> SystemTime {
        SystemTime::now() + Duration::from_secs(60)
    }

    /// At rest, with all that has happened so far behind it.
    fn watch(path: &Path) -> Watch {
        let mut watch = Watch::default();
        watch.attend(Sights::of([path]), 0);
        assert!(!watch.look(0, late()));
        assert_eq!((watch.next_ms(), watch.blind().is_none()), (None, true));
        watch
    }

    /// Whether it sees a change, having heard that something is up.
    fn sees_change(watch: &mut Watch, at_ms: u64) -> bool {
        watch.drain(at_ms);
        assert_eq!(watch.next_ms(), Some(at_ms + QUIET_MS), "nothing was heard");
        assert!(!watch.look(at_ms + QUIET_MS - 1, late()), "too early");
        let has_changed = watch.look(at_ms + QUIET_MS, late());
        // Watching other folders may have made an event of its own.
        watch.drain(at_ms + QUIET_MS);
        if let Some(due_ms) = watch.next_ms() {
            assert!(!watch.look(due_ms, late()), "told twice");
        }
        has_changed
    }

    #[test]
    fn a_file_that_is_written_anew_has_changed() {
        let folder = Folder::new("write");
        let file = folder.write("site.toml", "one");
        let mut watch = watch(&file);
        folder.write("site.toml", "two");
        assert!(sees_change(&mut watch, 1_000));
        folder.write("site.toml", "");
        folder.write("site.toml", "three");
        assert!(sees_change(&mut watch, 2_000));
    }

    #[test]
    fn a_file_that_another_takes_the_place_of_has_changed() {
        let folder = Folder::new("rename");
        let file = folder.write("site.toml", "one");
        let mut watch = watch(&file);
        for round in 1..4 {
            let other = folder.write("site.toml.tmp", "one");
            fs::rename(other, &file).expect("renamed");
            assert!(sees_change(&mut watch, round * 1_000));
        }
    }

    #[test]
    fn a_file_that_goes_and_comes_back_has_changed_twice() {
        let folder = Folder::new("delete");
        let file = folder.write("site.toml", "one");
        let mut watch = watch(&file);
        fs::remove_file(&file).expect("removed");
        assert!(sees_change(&mut watch, 1_000));
        folder.write("site.toml", "one");
        assert!(sees_change(&mut watch, 2_000));
    }

    #[test]
    fn what_happens_beside_the_file_is_no_change() {
        let folder = Folder::new("beside");
        let file = folder.write("site.toml", "one");
        let mut watch = watch(&file);
        folder.write("access.log", "line");
        assert!(!sees_change(&mut watch, 1_000));
        fs::read(&file).expect("readable");
        watch.drain(2_000);
        assert_eq!(watch.next_ms(), None, "reading is no event at all");
    }

    /// As Kubernetes does it: `site.toml -> ..data/site.toml`, `..data -> ..1`.
    #[test]
    fn a_configuration_map_that_is_swapped_has_changed() {
        let folder = Folder::new("map");
        for version in ["..1", "..2", "..3"] {
            fs::create_dir(folder.0.join(version)).expect("a folder");
            folder.write(&format!("{version}/site.toml"), version);
        }
        symlink("..1", folder.0.join("..data")).expect("linked");
        symlink("..data/site.toml", folder.0.join("site.toml")).expect("linked");
        let mut watch = watch(&folder.0.join("site.toml"));
        for (round, version) in [(1, "..2"), (2, "..3")] {
            symlink(version, folder.0.join("..data_tmp")).expect("linked");
            fs::rename(folder.0.join("..data_tmp"), folder.0.join("..data")).expect("swapped");
            assert!(sees_change(&mut watch, round * 1_000));
            fs::remove_dir_all(folder.0.join(format!("..{round}"))).expect("removed");
            assert!(!sees_change(&mut watch, round * 1_000 + 300), "the old one does not matter");
            folder.write(&format!("{version}/site.toml"), "edited where it lies");
            assert!(sees_change(&mut watch, round * 1_000 + 500), "the new folder is watched");
        }
    }

    #[test]
    fn a_link_to_a_folder_on_the_way_is_seen_turning() {
        let folder = Folder::new("release");
        for release in ["releases/1", "releases/2"] {
            fs::create_dir_all(folder.0.join(release)).expect("a folder");
            folder.write(&format!("{release}/site.toml"), release);
        }
        let current = folder.0.join("current");
        symlink(folder.0.join("releases/1"), &current).expect("linked");
        let mut watch = watch(&current.join("../1/./site.toml"));
        assert_eq!(watch.held.len(), 2, "where the link is, and where the file is");
        watch.attend(Sights::of([current.join("site.toml")]), 0);
        assert!(!watch.look(0, late()));
        fs::remove_file(&current).expect("removed");
        symlink("releases/../releases/2", &current).expect("linked");
        assert!(sees_change(&mut watch, 1_000));
    }

    #[test]
    fn a_file_whose_folder_is_still_to_come_is_waited_for() {
        let folder = Folder::new("coming");
        let file = folder.0.join("a/b/site.toml");
        let mut watch = watch(&file);
        fs::create_dir(folder.0.join("a")).expect("a folder");
        assert!(!sees_change(&mut watch, 1_000));
        fs::create_dir(folder.0.join("a/b")).expect("a folder");
        assert!(!sees_change(&mut watch, 2_000));
        fs::write(&file, "one").expect("written");
        assert!(sees_change(&mut watch, 3_000));
    }

    #[test]
    fn a_file_that_changed_before_it_was_watched_has_changed() {
        let folder = Folder::new("before");
        let file = folder.write("site.toml", "one");
        let sights = Sights::of([&file]);
        folder.write("site.toml", "longer");
        let mut watch = Watch::default();
        watch.attend(sights, 0);
        assert!(watch.look(0, late()));
    }

    #[test]
    fn a_change_that_was_not_told_yet_survives_new_duties() {
        let folder = Folder::new("untold");
        let (file, other) = (folder.write("site.toml", "one"), folder.write("keys.json", "one"));
        let mut watch = watch(&file);
        folder.write("site.toml", "longer");
        watch.attend(Sights::of([&file, &other]), 1_000);
        assert!(watch.look(1_000, late()));
        watch.attend(Sights::of([&file, &other]), 2_000);
        assert!(!watch.look(2_000, late()), "that one was told");
    }

    #[test]
    fn a_file_in_the_making_is_waited_for_but_not_for_ever() {
        let folder = Folder::new("making");
        let file = folder.write("site.toml", "one");
        let mut watch = watch(&file);
        folder.write("site.toml", "two");
        let fresh = SystemTime::now();
        watch.drain(1_000);
        let looks: Vec<u64> = (1_000..3_000).filter(|now_ms| watch.look(*now_ms, fresh)).collect();
        assert_eq!(looks, [2_000]);
    }

    #[test]
    fn without_inotify_it_looks_every_second() {
        let folder = Folder::new("blind");
        let file = folder.write("site.toml", "one");
        let mut watch = Watch { is_without: true, ..Watch::default() };
        watch.attend(Sights::of([&file]), 0);
        assert!(!watch.look(0, late()));
        assert!(watch.blind().is_some() && watch.source().is_none());
        assert_eq!(watch.next_ms(), Some(1_000));
        folder.write("site.toml", "longer");
        assert!(!watch.look(999, late()) && watch.look(1_000, late()));
        assert!(!watch.look(2_000, late()));
        assert_eq!(watch.next_ms(), Some(3_000));
    }

    #[test]
    fn links_in_a_circle_are_left() {
        let folder = Folder::new("circle");
        symlink("b", folder.0.join("a")).expect("linked");
        symlink("a", folder.0.join("b")).expect("linked");
        let mut watch = watch(&folder.0.join("a"));
        fs::remove_file(folder.0.join("b")).expect("removed");
        folder.write("b", "one");
        assert!(sees_change(&mut watch, 1_000));
    }

    #[test]
    fn with_nothing_to_watch_nothing_is_held() {
        let folder = Folder::new("nothing");
        let mut watch = watch(&folder.write("site.toml", "one"));
        watch.attend(Sights::default(), 0);
        assert!(watch.source().is_none() && watch.next_ms().is_none());
    }
}
