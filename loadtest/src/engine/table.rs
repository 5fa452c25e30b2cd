//! A descriptor table for each thread: the limit on descriptors then holds for every thread alone.
//!
//! What was open before the thread left stays open in both tables; what it opens afterwards is its own, and
//! must not be sent to another thread.

use std::io;

/// Gives the calling thread a table of its own.
///
/// # Errors
/// When the kernel, or a sandbox around it, forbids both ways.
pub fn make_private() -> io::Result<()> {
    // Tests have servers in the same process: what those close would stay open in the copies.
    if cfg!(test) {
        return Ok(());
    }
    // Closing the highest number there can be closes nothing; containers allow it where they forbid
    // `unshare`.
    // SAFETY: three integers; no descriptor has this number.
    let outcome = unsafe {
        libc::syscall(libc::SYS_close_range, libc::c_uint::MAX, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE)
    };
    if outcome == 0 {
        return Ok(());
    }
    // SAFETY: an integer; descriptors that are open stay open under the same numbers.
    match unsafe { libc::unshare(libc::CLONE_FILES) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether threads of this process may leave the common table; tried by a thread that ends at once.
pub fn can_be_private() -> bool {
    std::thread::spawn(|| make_private().is_ok()).join().unwrap_or(false)
}

/// Raises the limit on descriptors as far as it may go, and tells how far that is.
pub fn raise_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
