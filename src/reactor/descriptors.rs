//! The reactor's private descriptor table, and what must exist before it is made.
//!
//! Threads of a process share one table, whose every use takes a reference and whose growth stops everybody.
//! A thread can leave it: then no system call of its counts references, and the limit on descriptors holds
//! for it alone.
//! What was open before stays open in both tables; what is opened after exists in one, and must never be sent
//! to, or dropped on, another thread.

use std::fs::File;
use std::io;

/// Gives the calling thread a table of its own, with copies of all that is open.
///
/// # Errors
/// When the kernel, or a sandbox around it, forbids both ways.
pub fn make_private() -> io::Result<()> {
    // Closing the highest descriptor there can be closes nothing; containers allow it where they forbid
    // `unshare`.
    // SAFETY: `close_range` takes three integers; no descriptor with this number is owned by anything.
    let outcome = unsafe {
        libc::syscall(libc::SYS_close_range, libc::c_uint::MAX, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE)
    };
    if outcome == 0 {
        return Ok(());
    }
    // SAFETY: `unshare` takes an integer; descriptors that are open stay open under the same numbers.
    match unsafe { libc::unshare(libc::CLONE_FILES) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this process may give threads tables of their own; tried by a thread that ends at once.
#[must_use]
pub fn can_be_private() -> bool {
    std::thread::spawn(|| make_private().is_ok()).join().unwrap_or(false)
}

/// Grows the calling thread's table to `count` descriptors now, so that it need not grow under load.
/// Failing is harmless: the table grows later.
pub fn grow(count: u32) {
    let highest = i32::try_from(count).unwrap_or(i32::MAX).saturating_sub(1);
    if let Ok(any) = File::open("/dev/null") {
        // The copy takes the highest number and is closed again at once; the table keeps its size.
        drop(rustix::io::fcntl_dupfd_cloexec(&any, highest));
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_is_opened_in_a_private_table_is_not_in_the_other() {
        if !can_be_private() {
            return;
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        let (done, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            make_private().unwrap();
            let file = File::open("/proc/self/stat").unwrap();
            grow(500);
            // A number far above those of other tests.
            let high = rustix::io::fcntl_dupfd_cloexec(&file, 400).unwrap();
            sender.send(high.as_raw_fd()).unwrap();
            let _ = ended.recv();
        });
        let number = receiver.recv().unwrap();
        assert!(!std::path::Path::new(&format!("/proc/self/fd/{number}")).exists());
        drop(done);
        thread.join().unwrap();
    }
}
