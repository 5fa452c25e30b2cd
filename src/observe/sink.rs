//! A descriptor that takes whole lines: all of one or nothing of it, whatever the disk or the reader does.
//!
//! A line that was cut by a failed write is owed: its rest is written before anything else, so a log never
//! holds two halves side by side. What cannot be written now is lost, and its lines are told to the caller,
//! who counts.
//! A pipe without a reader or room is left after [`PATIENCE`]; once stuck, it is only looked at, not waited
//! for.
//! Not here: threads, and what the lines say.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Where lines go.
#[derive(Debug)]
pub(super) struct Sink {
    file: File,
    /// A file proper: it never makes a writer wait for a reader, and takes any length at once.
    regular: bool,
    stuck: bool,
    owed: Vec<u8>,
}

/// What a write left undone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) lines: u64,
    pub(super) cause: Errno,
}

impl Sink {
    pub(super) fn new(file: File) -> Sink {
        let regular = file.metadata().is_ok_and(|about| about.is_file());
        Sink { file, regular, stuck: false, owed: Vec::new() }
    }

    /// A second descriptor for standard error, so that nobody can close it under us.
    pub(super) fn stderr() -> io::Result<Sink> {
        use std::os::fd::AsFd;
        let descriptor: OwnedFd = io::stderr().as_fd().try_clone_to_owned()?;
        Ok(Sink::new(File::from(descriptor)))
    }

    /// Writes lines, each with its line end.
    pub(super) fn put(&mut self, lines: &[u8]) -> Result<(), Lost> {
        let owed = std::mem::take(&mut self.owed);
        let (written, failure) = self.push(&owed);
        if let Some(cause) = failure {
            self.owed = owed[written..].to_vec();
            return Err(Lost { lines: line_count(lines), cause });
        }
        let (written, failure) = self.push(lines);
        let Some(cause) = failure else { return Ok(()) };
        let kept = written + unfinished(lines, written);
        self.owed = lines[written..kept].to_vec();
        Err(Lost { lines: line_count(&lines[kept..]), cause })
    }

    /// Whether a line was cut and is not finished yet.
    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Goes on with another file. A line owed to the old one is lost; says how many that were.
    pub(super) fn replace(&mut self, file: File) -> u64 {
        let lost = line_count(&self.owed);
        *self = Sink::new(file);
        lost
    }

    /// Writes as much as can be; the number of bytes that were, and why not all.
    fn push(&mut self, bytes: &[u8]) -> (usize, Option<Errno>) {
        let mut written = 0;
        while written < bytes.len() {
            let rest = &bytes[written..];
            let step = self.wait().and_then(|()| rustix::io::write(&self.file, self.portion(rest)));
            match step {
                Ok(0) => return (written, Some(Errno::NOSPC)),
                Ok(n) => written += n,
                Err(Errno::INTR) => {}
                Err(cause) => return (written, Some(cause)),
            }
        }
        (written, None)
    }

    /// A pipe with room at all takes 4 KiB without blocking and without mixing in other writers' bytes
    /// (pipe(7)).
    /// Portions end at a line end where one is near enough.
    fn portion<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        if self.regular || bytes.len() <= PIPE_BYTES_MAX {
            return bytes;
        }
        let portion = &bytes[..PIPE_BYTES_MAX];
        memchr::memrchr(b'\n', portion).map_or(portion, |end| &portion[..=end])
    }

    fn wait(&mut self) -> Result<(), Errno> {
        if self.regular {
            return Ok(());
        }
        let patience = if self.stuck { Duration::ZERO } else { PATIENCE };
        let patience = Timespec::try_from(patience).map_err(|_| Errno::INVAL)?;
        let mut polled = [PollFd::new(&self.file, PollFlags::OUT)];
        // Errors and hang-ups are ready too: the write then says which.
        let ready = poll(&mut polled, Some(&patience))? > 0;
        self.stuck = !ready;
        if ready { Ok(()) } else { Err(Errno::AGAIN) }
    }
}

/// How many bytes from `at` belong to a line that began before it.
fn unfinished(lines: &[u8], at: usize) -> usize {
    if at == 0 || lines[at - 1] == b'\n' {
        return 0;
    }
    let rest = &lines[at..];
    memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1)
}

fn line_count(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// How long a pipe without room is waited for before its lines are given up.
const PATIENCE: Duration = Duration::from_millis(100);
const PIPE_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn pipe() -> (File, Sink) {
        let (reader, writer) = io::pipe().unwrap();
        (File::from(OwnedFd::from(reader)), Sink::new(File::from(OwnedFd::from(writer))))
    }

    #[test]
    fn a_full_pipe_loses_lines_and_never_half_a_line() {
        let (mut reader, mut sink) = pipe();
        let long = format!("{}\n", "x".repeat(999));
        let (mut told, mut lost) = (0, 0);
        for _ in 0..200 {
            told += 1;
            lost += sink.put(long.as_bytes()).err().map_or(0, |lost| lost.lines);
        }
        assert!(lost > 0, "a pipe holds 64 KiB by default");
        reader.read_exact(&mut vec![0; 50_000]).unwrap();
        sink.put(b"again\n").unwrap();
        drop(sink);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        let (whole, again) = rest.split_at(rest.len() - 6);
        assert_eq!(again, "again\n");
        assert!(whole.lines().all(|line| line.len() == 999), "only whole lines");
        assert_eq!(whole.lines().count() as u64 + 50 + lost, told);
    }

    #[test]
    fn a_line_cut_by_a_full_pipe_is_finished_first() {
        let (mut reader, mut sink) = pipe();
        let huge = format!("{}\n", "y".repeat(200_000));
        let lost = sink.put(format!("{huge}second\n").as_bytes()).unwrap_err();
        assert_eq!(lost, Lost { lines: 1, cause: Errno::AGAIN });
        let all = std::thread::spawn(move || {
            let mut all = String::new();
            reader.read_to_string(&mut all).map(|_| all).unwrap()
        });
        while sink.put(b"").is_err() {}
        sink.put(b"third\n").unwrap();
        drop(sink);
        assert_eq!(all.join().unwrap(), format!("{huge}third\n"));
    }

    #[test]
    fn a_reader_that_left_is_an_error_and_no_signal() {
        let (reader, mut sink) = pipe();
        drop(reader);
        assert_eq!(sink.put(b"one\ntwo\n"), Err(Lost { lines: 2, cause: Errno::PIPE }));
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(Sink::new(full).put(b"one\n"), Err(Lost { lines: 1, cause: Errno::NOSPC }));
    }
}
