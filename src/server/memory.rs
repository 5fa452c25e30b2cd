//! Giving memory back to the system.

use crate::base::spare::Spare;

/// Has the allocator return what the calling thread freed.
///
/// It does so by itself only while the thread goes on allocating, and a reactor that has become idle does
/// not: after 15 000 busy connections 79 MiB stayed behind. Of use where `mimalloc` is the global allocator,
/// as in the binary; elsewhere there is nothing to return and this does nothing.
pub(super) fn release() {
    // SAFETY: takes a flag, works on the calling thread's own heap, and touches no block that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Has the system take back what holds nothing: whole pages of it, for the rest belongs to others too. Its
/// address range stays reserved, and whoever writes there again gets fresh pages.
pub(super) fn discard(spare: Spare<'_>) {
    let page = page_bytes();
    let before = spare.start().align_offset(page);
    let bytes = spare.bytes().saturating_sub(before) / page * page;
    if bytes == 0 {
        return;
    }
    let start = spare.start().wrapping_add(before);
    // SAFETY: the range lies within the spare memory, which is ours alone and in which nobody counts on what
    // is there. What the system refuses, as it does for locked memory, stays as it is.
    let _ = unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) };
}

fn page_bytes() -> usize {
    // SAFETY: asks for a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(PAGE_BYTES_MAX)
}

/// Pages are no larger on any machine that runs Linux.
const PAGE_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    /// Which of the pages from there on have memory.
    fn pages_present<const N: usize>(start: *const u8) -> [bool; N] {
        let map = File::open("/proc/self/pagemap").unwrap();
        std::array::from_fn(|number| {
            let mut entry = [0; 8];
            let page = start.addr() / page_bytes() + number;
            map.read_exact_at(&mut entry, page as u64 * 8).unwrap();
            u64::from_ne_bytes(entry) >> 63 == 1
        })
    }

    #[test]
    fn whole_pages_go_and_who_shares_a_page_keeps_it() {
        let page = page_bytes();
        let mut bytes = vec![7_u8; 8 * page];
        let lead = bytes.as_ptr().align_offset(page);
        let first = bytes.as_ptr().wrapping_add(lead);
        assert_eq!(pages_present(first), [true; 7]);
        bytes.truncate(lead + 1);
        discard(Spare::of(&mut bytes.spare_capacity_mut()[..6 * page]));
        assert_eq!(pages_present(first), [true, false, false, false, false, false, true]);
        assert_eq!(bytes, vec![7; lead + 1]);
    }

    #[test]
    fn what_is_less_than_a_page_stays() {
        let page = page_bytes();
        let mut bytes = vec![7_u8; 3 * page];
        let lead = bytes.as_ptr().align_offset(page);
        let first = bytes.as_ptr().wrapping_add(lead);
        bytes.truncate(lead + 1);
        let spare = bytes.spare_capacity_mut();
        discard(Spare::of(&mut spare[..page]));
        discard(Spare::of(&mut spare[..0]));
        assert_eq!(pages_present(first), [true, true]);
    }
}
