//! What is remembered of an exchange until it is answered, however it is answered.
//!
//! Middleware writes on the way in and reads on the way out; handlers read. Stays with the connection, and a
//! copy travels with a request that goes to a worker.

use std::any::{Any, TypeId};
use std::sync::Arc;

/// See the module. Reused, so that it allocates nothing in the steady state.
#[derive(Clone, Default)]
pub struct Notes {
    /// Whether anything was written, so that most need not be cleared.
    is_used: bool,
    /// How many of the chain's middleware were entered.
    entered: u8,
    request_id: String,
    trace: Option<Trace>,
    values: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
}

/// Where a request stands in a distributed trace (W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The whole trace.
    pub trace_id: u128,
    /// This server's part of it, the parent of whatever it calls.
    pub span_id: u64,
    /// Whether the caller records it.
    pub is_sampled: bool,
}

impl Notes {
    /// The request's id, empty when no middleware gave it one.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Gives the request an id.
    pub fn set_request_id(&mut self, id: &str) {
        self.is_used = true;
        self.request_id.clear();
        self.request_id.push_str(id);
    }

    /// Where the request stands in a trace, if anything said so.
    #[must_use]
    pub fn trace(&self) -> Option<Trace> {
        self.trace
    }

    /// Says where the request stands in a trace.
    pub fn set_trace(&mut self, trace: Trace) {
        self.is_used = true;
        self.trace = Some(trace);
    }

    /// Keeps a value, one of each type: what an authentication found out, say.
    pub fn keep<T: Send + Sync + 'static>(&mut self, value: T) {
        self.is_used = true;
        let id = TypeId::of::<T>();
        self.values.retain(|(known, _)| *known != id);
        self.values.push((id, Arc::new(value)));
    }

    /// The value of that type that was kept.
    #[must_use]
    pub fn kept<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let (_, value) = self.values.iter().find(|(known, _)| *known == TypeId::of::<T>())?;
        value.downcast_ref()
    }

    /// Forgets everything, for the next exchange.
    pub fn clear(&mut self) {
        if self.is_blank() {
            return;
        }
        self.is_used = false;
        self.entered = 0;
        self.request_id.clear();
        self.trace = None;
        self.values.clear();
    }

    /// Makes it the same as another, in the memory it has.
    pub fn copy_from(&mut self, other: &Notes) {
        if self.is_blank() && other.is_blank() {
            return;
        }
        self.is_used = other.is_used;
        self.entered = other.entered;
        self.set_request_id(&other.request_id);
        self.trace = other.trace;
        self.values.clone_from(&other.values);
    }

    /// Whether anything is noted.
    #[must_use]
    #[inline]
    pub fn is_blank(&self) -> bool {
        !self.is_used
    }

    pub(crate) fn entered(&self) -> usize {
        usize::from(self.entered)
    }

    pub(crate) fn set_entered(&mut self, count: usize) {
        self.is_used = true;
        self.entered = count as u8;
    }
}

/// The server's shared state: one value of each type.
#[derive(Clone, Default)]
pub struct State(Vec<(TypeId, Arc<dyn Any + Send + Sync>)>);

impl State {
    /// Adds a value; one of the same type is replaced.
    pub fn keep<T: Send + Sync + 'static>(&mut self, value: T) {
        let id = TypeId::of::<T>();
        self.0.retain(|(known, _)| *known != id);
        self.0.push((id, Arc::new(value)));
    }

    /// The value of that type.
    #[must_use]
    pub fn of<T: Send + Sync + 'static>(&self) -> Option<&T> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == TypeId::of::<T>())?;
        value.downcast_ref()
    }
}
