//! A directory that nothing leads out of.
//!
//! The kernel resolves every name (`openat2` with RESOLVE_BENEATH), so no rename and no link can slip between
//! a check and its use. Symbolic links are followed as long as they stay below the root; an absolute link
//! counts as leaving, wherever it points. Not here: which names are hidden, and what is said to a client.

use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2};
use rustix::io::{Errno, pread};

/// How often a name is resolved anew when a rename elsewhere made the kernel unsure (EAGAIN).
const RESOLVE_TRIES_MAX: u32 = 4;

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
/// Without NONBLOCK, opening a FIFO would wait for its writer.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directory, held open by its inode: it may be renamed and is still the one that was named when it was
/// opened.
#[derive(Debug)]
pub(super) struct Root {
    descriptor: OwnedFd,
    /// Neither sent to another thread nor seen by one: there the number may mean another file, and closing it
    /// would close a stranger's. The compiler sees to that.
    _stays_here: PhantomData<*const ()>,
}

/// What a name leads to.
#[derive(Debug)]
pub(super) enum Entry {
    /// A regular file, open.
    File(OpenFile),
    /// A directory.
    Folder,
}

/// Why a name that may well be here is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The server's user may not read it.
    Forbidden,
    /// Out of descriptors or memory, for now.
    Exhausted,
    /// The disk failed, or the file changed while it was read.
    Broken,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Root> {
        let descriptor = rustix::fs::open(path, FOLDER, Mode::empty())?;
        // Tried once here, so that a kernel without openat2 fails the start and not every request.
        openat2(&descriptor, ".", FOLDER, Mode::empty(), RESOLVE)?;
        Ok(Root { descriptor, _stays_here: PhantomData })
    }

    /// Opens what is called `name`, relative to the root. `None`: nothing that could be served.
    pub(super) fn find(&self, name: &str) -> Result<Option<Entry>, Refusal> {
        match self.resolve(name, READ) {
            Ok(descriptor) => OpenFile::look(descriptor),
            // A folder that may be entered but not listed is still a folder.
            Err(Errno::ACCESS) if self.resolve(name, FOLDER).is_ok() => Ok(Some(Entry::Folder)),
            Err(error) => sort(error),
        }
    }

    fn resolve(&self, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let mut tries = 1;
        loop {
            match openat2(&self.descriptor, name, flags, Mode::empty(), RESOLVE) {
                Err(Errno::AGAIN | Errno::INTR) if tries < RESOLVE_TRIES_MAX => tries += 1,
                outcome => return outcome,
            }
        }
    }
}

/// Tells what is not here from what is here and cannot be had.
pub(super) fn sort(error: Errno) -> Result<Option<Entry>, Refusal> {
    match error {
        // XDEV and LOOP: a link that leaves the root, or leads nowhere. NXIO and NODEV: a socket, a dead
        // device.
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::NAMETOOLONG
        | Errno::LOOP
        | Errno::XDEV
        | Errno::NXIO
        | Errno::NODEV => Ok(None),
        Errno::ACCESS | Errno::PERM => Err(Refusal::Forbidden),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::INTR => Err(Refusal::Exhausted),
        _ => Err(Refusal::Broken),
    }
}

/// A regular file, open for reading, and what was true of it then.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) descriptor: OwnedFd,
    pub(super) len: u64,
    pub(super) inode: u64,
    /// When it was last written: seconds since 1970, which may be negative, and nanoseconds.
    pub(super) modified: (i64, u64),
}

impl OpenFile {
    /// Asks the descriptor, not the name: the name may mean another file by now.
    fn look(descriptor: OwnedFd) -> Result<Option<Entry>, Refusal> {
        let stat = fstat(&descriptor).map_err(|_| Refusal::Broken)?;
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Some(Entry::File(OpenFile::new(descriptor, &stat))),
            FileType::Directory => Some(Entry::Folder),
            _ => None,
        })
    }

    fn new(descriptor: OwnedFd, stat: &Stat) -> OpenFile {
        OpenFile {
            descriptor,
            len: u64::try_from(stat.st_size).unwrap_or_default(),
            inode: stat.st_ino,
            modified: (stat.st_mtime, stat.st_mtime_nsec as _),
        }
    }

    /// The second it was last written in; `None` where HTTP cannot write such a date.
    pub(super) fn modified_seconds(&self) -> Option<u64> {
        u64::try_from(self.modified.0).ok()
    }

    /// Reads exactly `len` bytes from `first` on. A file that is shorter by now is [`Refusal::Broken`]: its
    /// length is about to be promised.
    pub(super) fn read(&self, first: u64, len: usize) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::with_capacity(len);
        while bytes.len() < len {
            let at = first + bytes.len() as u64;
            match pread(&self.descriptor, spare_capacity(&mut bytes), at) {
                Ok(0) => return Err(Refusal::Broken),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(sort(error).err().unwrap_or(Refusal::Broken)),
            }
        }
        // The vector may have more room than was asked for, and the file may have grown.
        bytes.truncate(len);
        Ok(bytes)
    }
}
