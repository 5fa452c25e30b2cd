//! Calls what others wrote, and outlives its panics.
//!
//! Promises to return, whatever is thrown: what was thrown may throw again when it is dropped. Cannot help a
//! process that is built to abort, nor a drop that panics during an unwinding.
//! Not here: what to make of it, and what a half-done call leaves behind in values that others see too.

use std::panic::{self, AssertUnwindSafe};

/// Calls it. `None`: it panicked.
#[inline]
pub fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) => {
            bury(payload);
            None
        }
    }
}

#[cold]
fn bury(payload: Box<dyn std::any::Any + Send>) {
    if let Err(next) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // It may go on so for ever; this one is left alone.
        std::mem::forget(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic::panic_any(Bomb);
        }
    }

    #[test]
    fn what_is_thrown_may_throw_again() {
        assert_eq!(guarded(|| 1), Some(1));
        assert_eq!(guarded(|| panic!("as told")), None::<()>);
        assert_eq!(guarded(|| panic::panic_any(Bomb)), None::<()>);
    }
}
