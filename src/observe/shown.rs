//! What whoever asks is shown, and what replaces it now and then.

use std::sync::{Arc, Mutex, PoisonError};

/// See the module. Looked at by scrapers, never on the way of a request.
#[derive(Debug)]
pub struct Shown<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Shown<T> {
    fn default() -> Shown<T> {
        Shown(Mutex::new(None))
    }
}

impl<T> Shown<T> {
    /// What is shown, if anything is.
    #[must_use]
    pub fn look(&self) -> Option<Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on this is shown.
    pub fn show(&self, what: Option<Arc<T>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}
