//! Lines for people: events of the process on stderr, and a line per request where the operator wants it.
//!
//! Nobody who tells something waits: it goes into a bounded queue, and what does not fit is dropped and
//! counted. One thread writes. A full disk, a reader that left or one that stopped reading costs lines, never
//! a request, and writing resumes by itself.
//! Only the log thread touches the files: reactors may have descriptor tables of their own.
//! Not here: the format of access lines (`gateway::access_log`).

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_queue::ArrayQueue;

use super::limiter::Limiter;
use super::sink::Sink;
use super::teller::Teller;

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something that was promised did not happen.
    Error,
    /// Something a careful operator would look at.
    Warn,
    /// The life of the process. Rare by nature, so it is never left out.
    Info,
    /// Why a connection or request was refused.
    Debug,
}

impl Level {
    /// As it is written in a line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// Where access lines go.
#[derive(Debug)]
pub enum AccessTarget {
    /// Nowhere.
    Off,
    /// Standard error, between the events.
    Stderr,
    /// A file, open for appending, and its path, for when it is to be opened anew.
    File(File, PathBuf),
}

impl AccessTarget {
    /// Opens a file to append to, making it if need be. Never waits, not even for the reader of a FIFO.
    ///
    /// # Errors
    /// When it cannot be opened for writing.
    pub fn open(path: &Path) -> io::Result<AccessTarget> {
        Ok(AccessTarget::File(open_for_appending(path)?, path.to_owned()))
    }
}

/// What was told and could not be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Events.
    pub events: u64,
    /// Access lines.
    pub lines: u64,
}

/// A hand on the log. Clones are cheap and speak to the same thread.
#[derive(Clone, Debug)]
pub struct Log {
    shared: Arc<Shared>,
}

impl Log {
    /// Starts the log thread. Call it before any thread leaves the process's descriptor table.
    ///
    /// # Errors
    /// When there is no descriptor or no thread left.
    pub fn start(level: Level, access: AccessTarget) -> io::Result<Log> {
        Log::start_with(level, access, Sink::stderr()?)
    }

    /// A log that takes nothing and has no thread.
    #[must_use]
    pub fn silent() -> Log {
        Log { shared: Arc::new(Shared::new(None, false)) }
    }

    fn start_with(level: Level, access: AccessTarget, stderr: Sink) -> io::Result<Log> {
        let shared = Arc::new(Shared::new(Some(level), !matches!(access, AccessTarget::Off)));
        let (alive, ended) = mpsc::channel::<()>();
        let mut teller = Teller::new(Arc::clone(&shared), stderr, access);
        let run = move || {
            teller.run();
            drop(alive);
        };
        let handle = thread::Builder::new().name("log".to_owned()).spawn(run)?;
        // The thread looks for work before it first sleeps, so nothing queued until here waits for a wake.
        let _ = shared.thread.set(handle.thread().clone());
        *shared.ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ending { handle, ended });
        Ok(Log { shared })
    }

    /// Whether events of this level are told; ask before putting costly words together.
    #[must_use]
    pub fn is_told(&self, level: Level) -> bool {
        self.shared.level.is_some_and(|least| level <= least)
    }

    /// Tells an event: one line on stderr. The first of a class at once, then at most one a second with the
    /// count of those left out; [`Level::Info`] always.
    pub fn event(&self, level: Level, class: &'static str, text: impl fmt::Display) {
        if !self.is_told(level) {
            return;
        }
        let shared = &*self.shared;
        let left_out = match level {
            Level::Info => Some(0),
            _ => shared.limiter.admit(class, shared.now_ms()),
        };
        let Some(left_out) = left_out else { return };
        let event = Event { at_unix: unix_seconds(), level, class, text: bounded(&text), left_out };
        if shared.stopped.load(Ordering::Relaxed) || shared.events.push(event).is_err() {
            // Those it spoke for are lost with it.
            shared.events_dropped.fetch_add(1 + left_out, Ordering::Relaxed);
        }
        shared.wake();
    }

    /// A writer of access lines for one thread; `None` when they go nowhere.
    #[must_use]
    pub fn access_lines(&self) -> Option<AccessLines> {
        let wanted = self.shared.access;
        wanted.then(|| AccessLines { shared: Arc::clone(&self.shared), batch: Vec::new() })
    }

    /// Has the access log's file opened anew, for when it was moved away. The old one stays if that fails.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.shared.wake();
    }

    /// What was dropped so far.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.shared.dropped()
    }

    /// Writes what is queued and ends the thread. Whether that was done within [`STOP_MAX`](Log::STOP_MAX);
    /// if not, somebody does not read, and the thread is left behind. Hand over batches before; what comes
    /// after is dropped.
    pub fn stop(&self) -> bool {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.wake();
        let ending = self.shared.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Ending { handle, ended }) = ending else { return true };
        match ended.recv_timeout(Log::STOP_MAX) {
            Err(RecvTimeoutError::Timeout) => false,
            _ => handle.join().is_ok(),
        }
    }

    /// How long [`stop`](Log::stop) may take.
    pub const STOP_MAX: Duration = Duration::from_secs(1);
}

/// Access lines of one thread, gathered over a turn and handed over together.
///
/// Invariant: the batch holds whole lines, and at most `BATCH_BYTES` before the last one.
#[derive(Debug)]
pub struct AccessLines {
    shared: Arc<Shared>,
    batch: Vec<u8>,
}

impl AccessLines {
    /// Where the next line is to be appended, line end included.
    pub fn line(&mut self) -> &mut Vec<u8> {
        if self.batch.len() >= BATCH_BYTES {
            self.hand_over();
        }
        &mut self.batch
    }

    /// Gives the lines to the log thread; at the end of every turn. Never waits: without room they are
    /// dropped.
    pub fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let shared = &*self.shared;
        debug_assert!(self.batch.ends_with(b"\n"), "a line without its end");
        if shared.stopped.load(Ordering::Relaxed) || shared.batches.is_full() {
            shared.lose_lines(&self.batch);
            self.batch.clear();
            return;
        }
        let spare = shared.spares.pop().unwrap_or_default();
        if let Err(refused) = shared.batches.push(std::mem::replace(&mut self.batch, spare)) {
            // Another reactor took the last place since we looked.
            shared.lose_lines(&refused);
        }
        shared.wake();
    }
}

/// Whoever ends hands over what there is. A line that a panic has cut short is left out.
impl Drop for AccessLines {
    fn drop(&mut self) {
        let whole = memchr::memrchr(b'\n', &self.batch).map_or(0, |end| end + 1);
        self.batch.truncate(whole);
        self.hand_over();
    }
}

/// What tellers and the log thread have in common.
#[derive(Debug)]
pub(super) struct Shared {
    /// `None`: nothing is told.
    level: Option<Level>,
    access: bool,
    began: Instant,
    thread: OnceLock<Thread>,
    ending: Mutex<Option<Ending>>,
    asleep: AtomicBool,
    events_dropped: AtomicU64,
    lines_dropped: AtomicU64,
    pub(super) limiter: Limiter,
    pub(super) events: ArrayQueue<Event>,
    pub(super) batches: ArrayQueue<Vec<u8>>,
    pub(super) spares: ArrayQueue<Vec<u8>>,
    pub(super) stopped: AtomicBool,
    pub(super) reopen: AtomicBool,
}

#[derive(Debug)]
struct Ending {
    handle: JoinHandle<()>,
    ended: Receiver<()>,
}

/// One event on its way.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) at_unix: u64,
    pub(super) level: Level,
    pub(super) class: &'static str,
    pub(super) text: String,
    pub(super) left_out: u64,
}

impl Shared {
    fn new(level: Option<Level>, access: bool) -> Shared {
        Shared {
            level,
            access,
            began: Instant::now(),
            thread: OnceLock::new(),
            ending: Mutex::new(None),
            asleep: AtomicBool::new(false),
            events_dropped: AtomicU64::new(0),
            lines_dropped: AtomicU64::new(0),
            limiter: Limiter::new(),
            events: ArrayQueue::new(EVENTS_MAX),
            batches: ArrayQueue::new(BATCHES_MAX),
            spares: ArrayQueue::new(BATCHES_MAX),
            stopped: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn dropped(&self) -> Dropped {
        let (events, lines) = (&self.events_dropped, &self.lines_dropped);
        Dropped { events: events.load(Ordering::Relaxed), lines: lines.load(Ordering::Relaxed) }
    }

    pub(super) fn add_dropped(&self, more: Dropped) {
        self.events_dropped.fetch_add(more.events, Ordering::Relaxed);
        self.lines_dropped.fetch_add(more.lines, Ordering::Relaxed);
    }

    fn lose_lines(&self, batch: &[u8]) {
        let lines = memchr::memchr_iter(b'\n', batch).count() as u64;
        self.add_dropped(Dropped { events: 0, lines });
    }

    /// Takes a buffer back for the next batch. One that a monstrous line has stretched is let go.
    pub(super) fn recycle(&self, mut batch: Vec<u8>) {
        batch.clear();
        if batch.capacity() <= BATCH_CAPACITY_MAX {
            let _ = self.spares.push(batch);
        }
    }

    /// Wakes the log thread if it said that it sleeps: a system call only then.
    fn wake(&self) {
        // Pairs with the fence in `sleep`: either it sees what was queued, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed)
            && self.asleep.swap(false, Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Parks the log thread until it is woken or `most` has passed, unless something came in meanwhile.
    pub(super) fn sleep(&self, most: Duration) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if !self.has_work() {
            // Until `start` has stored whom to wake, look again soon.
            let known = self.thread.get().is_some();
            thread::park_timeout(if known { most } else { Duration::from_millis(1) });
        }
        self.asleep.store(false, Ordering::Relaxed);
    }

    fn has_work(&self) -> bool {
        !self.events.is_empty()
            || !self.batches.is_empty()
            || self.stopped.load(Ordering::Relaxed)
            || self.reopen.load(Ordering::Relaxed)
    }
}

pub(super) fn open_for_appending(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    File::options().append(true).create(true).custom_flags(flags.bits().cast_signed()).open(path)
}

pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The text, cut at [`TEXT_BYTES_MAX`].
fn bounded(text: &impl fmt::Display) -> String {
    struct Bounded(String);
    impl fmt::Write for Bounded {
        fn write_str(&mut self, more: &str) -> fmt::Result {
            let room = TEXT_BYTES_MAX.saturating_sub(self.0.len());
            self.0.push_str(&more[..more.floor_char_boundary(room)]);
            if more.len() > room { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut bounded = Bounded(String::new());
    // An error says that there was more, and what there is will do.
    let _ = write!(bounded, "{text}");
    bounded.0
}

/// Events that may wait to be written.
const EVENTS_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 1_024;
/// Batches that may wait to be written; with `BATCH_BYTES` 16 MiB at the very most, and usually nothing.
const BATCHES_MAX: usize = 256;
/// A batch this large is handed over before its turn ends.
const BATCH_BYTES: usize = 64 * 1_024;
const BATCH_CAPACITY_MAX: usize = 4 * BATCH_BYTES;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, PipeReader, Read};
    use std::os::fd::OwnedFd;

    fn log_into_pipe(level: Level, access: AccessTarget) -> (Log, BufReader<PipeReader>) {
        let (reader, writer) = io::pipe().unwrap();
        let stderr = Sink::new(File::from(OwnedFd::from(writer)));
        (Log::start_with(level, access, stderr).unwrap(), BufReader::new(reader))
    }

    fn rest(mut reader: BufReader<PipeReader>) -> String {
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        all
    }

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("myriapod-log-{}-{name}", std::process::id()))
    }

    #[test]
    fn an_event_is_one_line_with_time_level_and_class() {
        let (log, reader) = log_into_pipe(Level::Info, AccessTarget::Off);
        log.event(
            Level::Warn,
            "accept",
            format_args!("too many open {}", "files\nfaked\u{1b}[2J \u{9b}2J é"),
        );
        assert!(log.stop());
        let line = rest(reader);
        let (time, said) = line.split_once(' ').unwrap();
        assert_eq!(said, "warn accept: too many open files\\x0Afaked\\x1B[2J \\xC2\\x9B2J é\n");
        assert!(time.len() == 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    }

    #[test]
    fn less_serious_events_are_not_even_put_into_words() {
        struct Costly;
        impl fmt::Display for Costly {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("nobody listens")
            }
        }
        let (log, reader) = log_into_pipe(Level::Warn, AccessTarget::Off);
        log.event(Level::Info, "start", Costly);
        Log::silent().event(Level::Error, "start", Costly);
        assert!(log.stop());
        assert_eq!(rest(reader), "");
    }

    #[test]
    fn a_storm_of_one_class_is_told_once_and_the_rest_counted() {
        let (log, mut reader) = log_into_pipe(Level::Debug, AccessTarget::Off);
        (0..500).for_each(|n| log.event(Level::Warn, "accept", n));
        log.event(Level::Warn, "worker", "stuck");
        let mut told = 0;
        while told < 501 {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let count = line
                .split_once("(and ")
                .map_or(0, |(_, more)| more.split_once(" like it)").unwrap().0.parse::<u64>().unwrap());
            told += 1 + count;
        }
        assert_eq!(told, 501, "each event was told or counted, without another event to push it out");
        assert!(log.stop());
        assert_eq!(log.dropped(), Dropped::default());
    }

    #[test]
    fn info_is_never_left_out() {
        let (log, reader) = log_into_pipe(Level::Info, AccessTarget::Off);
        (0..5).for_each(|n| log.event(Level::Info, "listen", n));
        assert!(log.stop());
        assert_eq!(rest(reader).lines().count(), 5);
    }

    #[test]
    fn access_lines_of_all_threads_arrive_whole_and_in_their_order() {
        let path = scratch("whole");
        let (log, _reader) = log_into_pipe(Level::Info, AccessTarget::open(&path).unwrap());
        thread::scope(|scope| {
            for thread in 0..4 {
                let mut lines = log.access_lines().unwrap();
                scope.spawn(move || {
                    for turn in 0..50 {
                        for n in 0..3 {
                            writeln!(LineWriter(lines.line()), "{thread} {}", turn * 3 + n).unwrap();
                        }
                        lines.hand_over();
                    }
                });
            }
        });
        assert!(log.stop());
        let written = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        for thread in 0..4 {
            let theirs = written.lines().filter_map(|line| line.strip_prefix(&format!("{thread} ")));
            assert!(theirs.eq((0..150).map(|n| n.to_string())), "thread {thread}");
        }
        assert_eq!(log.dropped(), Dropped::default());
    }

    #[test]
    fn a_full_disk_costs_lines_and_says_so_once() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let access = AccessTarget::File(full, PathBuf::from("/dev/full"));
        let (log, mut reader) = log_into_pipe(Level::Info, access);
        let mut lines = log.access_lines().unwrap();
        lines.line().extend_from_slice(b"one\ntwo\n");
        lines.hand_over();
        let mut note = String::new();
        reader.read_line(&mut note).unwrap();
        assert!(
            note.contains(" warn log: 2 access lines and 0 events dropped: No space left on device"),
            "{note}"
        );
        assert_eq!(log.dropped(), Dropped { events: 0, lines: 2 });
        assert!(log.stop());
    }

    #[test]
    fn a_reader_that_left_costs_events_only() {
        let (log, reader) = log_into_pipe(Level::Info, AccessTarget::Off);
        drop(reader);
        log.event(Level::Error, "start", "nobody reads this");
        assert!(log.stop());
        assert_eq!(log.dropped(), Dropped { events: 1, lines: 0 });
    }

    #[test]
    fn a_reader_that_stopped_reading_does_not_stop_the_tellers() {
        let (log, reader) = log_into_pipe(Level::Info, AccessTarget::Stderr);
        let mut lines = log.access_lines().unwrap();
        for _ in 0..1_000 {
            let batch = lines.line();
            (0..100).for_each(|_| batch.extend_from_slice(b"a line of some thirty bytes ..\n"));
            lines.hand_over();
        }
        assert!(log.stop());
        let dropped = log.dropped().lines;
        drop((lines, log));
        let written = rest(reader);
        let whole = written.lines().filter(|line| line.starts_with("a line")).count() as u64;
        assert!(dropped > 0);
        assert!(whole + dropped >= 100_000 - 1, "{whole} written, {dropped} dropped");
    }

    #[test]
    fn a_moved_file_is_opened_anew() {
        let (path, moved) = (scratch("moved"), scratch("moved.1"));
        let (log, mut reader) = log_into_pipe(Level::Info, AccessTarget::open(&path).unwrap());
        let mut lines = log.access_lines().unwrap();
        lines.line().extend_from_slice(b"before\n");
        lines.hand_over();
        std::fs::rename(&path, &moved).unwrap();
        log.reopen();
        let mut note = String::new();
        reader.read_line(&mut note).unwrap();
        lines.line().extend_from_slice(b"after\n");
        lines.hand_over();
        assert!(log.stop());
        assert!(note.contains(" info log: opened "), "{note}");
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "before\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after\n");
        std::fs::remove_file(&moved).unwrap();
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn buffers_go_round() {
        let path = scratch("round");
        let (log, _reader) = log_into_pipe(Level::Info, AccessTarget::open(&path).unwrap());
        let mut lines = log.access_lines().unwrap();
        lines.line().extend_from_slice(b"one\n");
        lines.hand_over();
        while log.shared.spares.is_empty() {
            thread::yield_now();
        }
        lines.line().extend_from_slice(b"two\n");
        lines.hand_over();
        assert!(lines.line().capacity() > 0, "the first batch's buffer came back");
        assert!(log.stop());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_comes_after_the_end_is_counted() {
        let path = scratch("late");
        let (log, _reader) = log_into_pipe(Level::Info, AccessTarget::open(&path).unwrap());
        let mut lines = log.access_lines().unwrap();
        assert!(log.stop() && log.stop(), "stopping twice is no harm");
        lines.line().extend_from_slice(b"late\n");
        drop(lines);
        log.event(Level::Error, "late", "late");
        assert_eq!(log.dropped(), Dropped { events: 1, lines: 1 });
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_thread_that_panics_in_a_line_leaves_whole_lines() {
        let path = scratch("panic");
        let (log, _reader) = log_into_pipe(Level::Info, AccessTarget::open(&path).unwrap());
        let mut lines = log.access_lines().unwrap();
        let panics = move || {
            lines.line().extend_from_slice(b"whole\nhal");
            std::panic::resume_unwind(Box::new(()));
        };
        assert!(thread::spawn(panics).join().is_err());
        assert!(log.stop());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\n");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_endless_text_is_cut() {
        assert_eq!(bounded(&"é".repeat(5_000)).len(), TEXT_BYTES_MAX);
    }

    struct LineWriter<'a>(&'a mut Vec<u8>);

    impl fmt::Write for LineWriter<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
}
