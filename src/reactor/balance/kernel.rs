//! What the kernel is asked for: maps, a page of one of them, programs, and to run these for a listener.
//!
//! Bare system calls, each with the few attributes it needs here. What is made here is there before any
//! reactor takes a table of descriptors of its own, so each has it; the kernel keeps maps and programs for as
//! long as a listener or a mapped page needs them.

use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use super::assembler::Instruction;
use super::page::{Head, Slot};

const MAP_CREATE: c_int = 0;
const MAP_UPDATE_ELEM: c_int = 2;
const PROG_LOAD: c_int = 5;
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_REUSEPORT_SOCKARRAY: u32 = 20;
const PROG_TYPE_SK_REUSEPORT: u32 = 21;
/// The values of the map can be mapped into memory.
const MMAPABLE: u32 = 1 << 10;
const NAME: [u8; 16] = *b"myriapod\0\0\0\0\0\0\0\0";
/// What the helpers that we call do not ask for: one that is compatible with theirs.
const LICENSE: &[u8] = b"MIT OR Apache-2.0\0";

/// The attributes of `BPF_MAP_CREATE`.
#[repr(C)]
struct MapToCreate {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
    inner_map: u32,
    numa_node: u32,
    name: [u8; 16],
}

/// The attributes of `BPF_MAP_UPDATE_ELEM`.
#[repr(C)]
struct Entry {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The attributes of `BPF_PROG_LOAD`.
#[repr(C)]
struct ProgramToLoad {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// Calls `bpf`, whose answer is a descriptor or 0.
fn bpf<T>(command: c_int, attributes: &T) -> io::Result<c_int> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes behind the reference, all of them initialised: none of
    // the structs has padding of its own. What their addresses point at lives through the call.
    let outcome: c_long =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    match c_int::try_from(outcome) {
        Ok(outcome @ 0..) => Ok(outcome),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As [`bpf`], for commands that make a descriptor.
fn made<T>(command: c_int, attributes: &T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the kernel has just made it, with close-on-exec, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address_of<T: ?Sized>(what: &T) -> u64 {
    std::ptr::from_ref(what).cast::<u8>() as u64
}

/// A map of so many listeners.
pub(super) fn make_listeners(entries: u32) -> io::Result<OwnedFd> {
    make_map(MAP_TYPE_REUSEPORT_SOCKARRAY, 8, entries, 0)
}

fn make_map(kind: u32, value_bytes: u32, entries: u32, flags: u32) -> io::Result<OwnedFd> {
    let map = MapToCreate {
        kind,
        key_bytes: 4,
        value_bytes,
        entries,
        flags,
        inner_map: 0,
        numa_node: 0,
        name: NAME,
    };
    made(MAP_CREATE, &map)
}

/// Puts a listener into its place. It leaves by itself when it is closed.
pub(super) fn enter_listener(map: &OwnedFd, place: u32, listener: RawFd) -> io::Result<()> {
    let value = listener as u64;
    let entry = Entry {
        map: map.as_raw_fd() as u32,
        padding: 0,
        key: address_of(&place),
        value: address_of(&value),
        flags: 0,
    };
    bpf(MAP_UPDATE_ELEM, &entry).map(drop)
}

/// Hands a program to the kernel, which checks it first; what it finds wrong is the last of its words.
pub(super) fn load(code: &[Instruction]) -> io::Result<OwnedFd> {
    let program = |log: &mut [u8]| ProgramToLoad {
        kind: PROG_TYPE_SK_REUSEPORT,
        instructions: code.len() as u32,
        code: address_of(code),
        license: address_of(LICENSE),
        log_level: u32::from(!log.is_empty()),
        log_bytes: log.len() as u32,
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kernel_version: 0,
        flags: 0,
        name: NAME,
    };
    made(PROG_LOAD, &program(&mut [])).map_err(|error| match error.raw_os_error() {
        // Once more, to be told why.
        Some(libc::EINVAL | libc::EACCES) => explained(error, |log| made(PROG_LOAD, &program(log))),
        _ => error,
    })
}

fn explained(error: io::Error, retry: impl FnOnce(&mut [u8]) -> io::Result<OwnedFd>) -> io::Error {
    let mut log = vec![0; 1 << 16];
    let _ = retry(&mut log);
    let text = String::from_utf8_lossy(&log);
    let lines = text.trim_end_matches('\0').lines();
    match lines.rev().find(|line| !line.is_empty() && !line.starts_with("processed ")) {
        Some(line) => io::Error::new(error.kind(), format!("{error}: {line}")),
        None => error,
    }
}

/// Has the kernel ask the program where clients of this listener's address go.
pub(super) fn attach(program: &OwnedFd, listener: RawFd) -> io::Result<()> {
    let fd: c_int = program.as_raw_fd();
    let (value, size) = ((&raw const fd).cast(), size_of_val(&fd) as libc::socklen_t);
    // SAFETY: `value` points at `size` bytes that live through the call, which copies them.
    let outcome =
        unsafe { libc::setsockopt(listener, libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_EBPF, value, size) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The page of counts, in our memory and in the kernel's at once.
///
/// Invariant: `start` is the begin of a mapping of `bytes`, zeroed when it was made, which holds a [`Head`]
/// and `slots` [`Slot`]s behind it and lasts as long as this.
#[derive(Debug)]
pub(super) struct Page {
    start: NonNull<u8>,
    bytes: usize,
    slots: u32,
}

// SAFETY: what is in the mapping is atomic, and reached by shared references only.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// A page that the kernel has too, and the map by which programs reach it.
    pub(super) fn shared(slots: u32) -> io::Result<(Page, OwnedFd)> {
        // One more than there are: a program walks by them, and who has CAP_BPF and not all rights may not
        // even think of an address behind the last byte.
        let bytes = Page::bytes_of(slots + 1) as u32;
        let map = make_map(MAP_TYPE_ARRAY, bytes, 1, MMAPABLE)?;
        let page = Page::map(slots, libc::MAP_SHARED, map.as_raw_fd())?;
        Ok((page, map))
    }

    /// A page of our own, which no program reads.
    #[cfg(test)]
    pub(super) fn private(slots: u32) -> Page {
        Page::map(slots, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1).expect("memory")
    }

    fn bytes_of(slots: u32) -> usize {
        size_of::<Head>() + slots as usize * size_of::<Slot>()
    }

    fn map(slots: u32, flags: c_int, fd: RawFd) -> io::Result<Page> {
        let bytes = Page::bytes_of(slots);
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses an address where nothing is mapped.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, rights, flags, fd, 0) };
        match NonNull::new(start.cast()) {
            Some(start) if start.as_ptr() != libc::MAP_FAILED.cast() => Ok(Page { start, bytes, slots }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The part of that reactor.
    pub(super) fn slot(&self, number: u32) -> &Slot {
        assert!(number < self.slots, "no such reactor");
        let offset = Page::bytes_of(number);
        // SAFETY: the slot lies within the mapping (see the invariant), aligned since mappings begin on pages
        // and both sizes are multiples of its alignment; any bytes make a `Slot`, whose fields are atomic.
        unsafe { self.start.add(offset).cast().as_ref() }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it outlives this.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
