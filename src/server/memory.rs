//! Giving memory back to the system.

/// Has the allocator return what the calling thread freed.
///
/// It does so by itself only while the thread goes on allocating, and a reactor that has become idle does
/// not: after 15 000 busy connections 79 MiB stayed behind. Of use where `mimalloc` is the global allocator,
/// as in the binary; elsewhere there is nothing to return and this does nothing.
pub(super) fn release() {
    // SAFETY: takes a flag, works on the calling thread's own heap, and touches no block that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
