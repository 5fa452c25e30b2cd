//! The log thread: takes what was queued, puts it into lines, writes them.
//!
//! Small batches are gathered into one write. What could not be written is counted, and told on stderr at
//! most once a second, in one note for all. Nothing here can end the thread but being asked to.
//! Not here: the queues and who fills them, see [`log`](super::log).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::io::Errno;

use super::calendar::Moment;
use super::log::{AccessTarget, Dropped, Event, Level, Shared, open_for_appending, unix_seconds};
use super::sink::{Lost, Sink};

pub(super) struct Teller {
    shared: Arc<Shared>,
    stderr: Sink,
    access: Access,
    /// Access lines on their way to the sink.
    gathered: Vec<u8>,
    /// The last event of each class, to speak for those left out after it. As many as the limiter has places.
    last: BTreeMap<&'static str, Event>,
    /// Until then, events may be left out that nobody will wake us for.
    watch_ms: u64,
    noted: Noted,
}

enum Access {
    Off,
    Stderr,
    File(Sink, PathBuf),
}

/// What the operator was told about drops.
struct Noted {
    dropped: Dropped,
    next_ms: u64,
    cause: Option<Errno>,
}

impl Teller {
    pub(super) fn new(shared: Arc<Shared>, stderr: Sink, access: AccessTarget) -> Teller {
        let access = match access {
            AccessTarget::Off => Access::Off,
            AccessTarget::Stderr => Access::Stderr,
            AccessTarget::File(file, path) => Access::File(Sink::new(file), path),
        };
        Teller {
            shared,
            stderr,
            access,
            gathered: Vec::new(),
            last: BTreeMap::new(),
            watch_ms: 0,
            noted: Noted { dropped: Dropped::default(), next_ms: 0, cause: None },
        }
    }

    pub(super) fn run(&mut self) {
        loop {
            // Seen before the queues are drained, so that what was queued before the end is written.
            let stopped = self.shared.stopped.load(Ordering::SeqCst);
            self.write_batches();
            self.reopen_if_asked();
            self.write_events();
            // At the end nothing has to wait for its second to pass.
            let now_ms = if stopped { u64::MAX / 2 } else { self.shared.now_ms() };
            self.tell_left_out(now_ms);
            self.note_drops(now_ms);
            self.finish_lines();
            if stopped {
                return;
            }
            self.shared.sleep(self.patience(now_ms));
        }
    }

    /// How long nothing may come and still nothing is missed.
    fn patience(&self, now_ms: u64) -> Duration {
        let untold = self.shared.dropped() != self.noted.dropped;
        if untold || self.owes() || now_ms <= self.watch_ms { TICK } else { IDLE }
    }

    fn write_events(&mut self) {
        for _ in 0..self.shared.events.capacity() {
            let Some(event) = self.shared.events.pop() else { return };
            self.tell(event);
        }
    }

    fn tell(&mut self, event: Event) {
        let mut line = Vec::new();
        write_event(&mut line, &event);
        let events = 1 + event.left_out;
        if let Err(lost) = self.stderr.put(&line) {
            // A line that was begun is owed, not lost.
            self.lose(Dropped { events: events * lost.lines, lines: 0 }, lost.cause);
        }
        if event.level != Level::Info {
            self.watch_ms = self.shared.now_ms() + 2 * TICK.as_millis() as u64;
            if self.last.len() < CLASSES_KEPT || self.last.contains_key(event.class) {
                self.last.insert(event.class, event);
            }
        }
    }

    /// An event that was left out is told by the last of its class, even if no other follows.
    fn tell_left_out(&mut self, now_ms: u64) {
        let shared = Arc::clone(&self.shared);
        for (class, left_out) in shared.limiter.due(now_ms) {
            let event = self.last.get(class).map_or_else(
                || (Level::Warn, "several events".to_owned()),
                |last| (last.level, last.text.clone()),
            );
            let (level, text) = event;
            self.tell(Event { at_unix: unix_seconds(), level, class, text, left_out: left_out - 1 });
        }
    }

    fn write_batches(&mut self) {
        for _ in 0..self.shared.batches.capacity() {
            let Some(batch) = self.shared.batches.pop() else { break };
            if self.gathered.len() + batch.len() > GATHERED_BYTES {
                self.write_gathered();
            }
            self.gathered.extend_from_slice(&batch);
            self.shared.recycle(batch);
        }
        self.write_gathered();
    }

    fn write_gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let sink = match &mut self.access {
            Access::Off => return self.gathered.clear(),
            Access::Stderr => &mut self.stderr,
            Access::File(sink, _) => sink,
        };
        let result = sink.put(&self.gathered);
        self.gathered.clear();
        self.gathered.shrink_to(GATHERED_BYTES);
        if let Err(Lost { lines, cause }) = result {
            self.lose(Dropped { events: 0, lines }, cause);
        }
    }

    fn reopen_if_asked(&mut self) {
        if !self.shared.reopen.swap(false, Ordering::AcqRel) {
            return;
        }
        let Access::File(sink, path) = &mut self.access else { return };
        let (level, text) = match open_for_appending(path) {
            Ok(file) => {
                let lines = sink.replace(file);
                self.shared.add_dropped(Dropped { events: 0, lines });
                (Level::Info, format!("opened {} anew", path.display()))
            }
            Err(error) => {
                (Level::Error, format!("cannot open {} anew, the old file stays: {error}", path.display()))
            }
        };
        self.tell(Event { at_unix: unix_seconds(), level, class: CLASS, text, left_out: 0 });
    }

    fn lose(&mut self, dropped: Dropped, cause: Errno) {
        self.shared.add_dropped(dropped);
        self.noted.cause = Some(cause);
    }

    /// Notes that themselves cannot be written are not counted: they are tried again.
    fn note_drops(&mut self, now_ms: u64) {
        let dropped = self.shared.dropped();
        if dropped == self.noted.dropped || now_ms < self.noted.next_ms {
            return;
        }
        let lines = dropped.lines - self.noted.dropped.lines;
        let events = dropped.events - self.noted.dropped.events;
        let cause: &dyn fmt::Display = match &self.noted.cause {
            Some(Errno::AGAIN) => &"the reader does not read",
            Some(cause) => cause,
            None => &"more came than could be written",
        };
        let text = format!("{lines} access lines and {events} events dropped: {cause}");
        let note = Event { at_unix: unix_seconds(), level: Level::Warn, class: CLASS, text, left_out: 0 };
        let mut line = Vec::new();
        write_event(&mut line, &note);
        self.noted.next_ms = now_ms + TICK.as_millis() as u64;
        if self.stderr.put(&line).is_err_and(|lost| lost.lines > 0) {
            return;
        }
        self.noted.dropped = dropped;
        self.noted.cause = None;
    }

    /// Lines that a failed write has cut are finished even if no other follows.
    fn finish_lines(&mut self) {
        let access = match &mut self.access {
            Access::File(sink, _) => Some(sink),
            Access::Off | Access::Stderr => None,
        };
        for sink in access.into_iter().chain([&mut self.stderr]).filter(|sink| sink.owes()) {
            let _ = sink.put(b"");
        }
    }

    fn owes(&self) -> bool {
        self.stderr.owes() || matches!(&self.access, Access::File(sink, _) if sink.owes())
    }
}

/// `2026-11-21T10:26:13Z warn accept: too many open files, accepting pauses (and 312 like it)`
fn write_event(out: &mut Vec<u8>, event: &Event) {
    Moment::from_unix(event.at_unix).write_iso(out);
    out.extend_from_slice(b"Z ");
    out.extend_from_slice(event.level.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(event.class.as_bytes());
    out.extend_from_slice(b": ");
    write_plain(out, &event.text);
    if event.left_out > 0 {
        out.extend_from_slice(format!(" (and {} like it)", event.left_out).as_bytes());
    }
    out.push(b'\n');
}

/// A peer's bytes may be in the text: whatever could end the line or steer a terminal is written as `\xNN`.
fn write_plain(out: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        let mut bytes = [0; 4];
        let bytes = character.encode_utf8(&mut bytes).as_bytes();
        if character.is_control() {
            bytes.iter().for_each(|byte| out.extend_from_slice(format!("\\x{byte:02X}").as_bytes()));
        } else {
            out.extend_from_slice(bytes);
        }
    }
}

const CLASS: &str = "log";
const CLASSES_KEPT: usize = 64;
const GATHERED_BYTES: usize = 128 * 1_024;
/// Between looks at what waits for its second to pass.
const TICK: Duration = Duration::from_secs(1);
/// Between looks when nothing waits; everything else wakes the thread.
const IDLE: Duration = Duration::from_secs(60);
