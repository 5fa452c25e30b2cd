//! What is remembered of an exchange until it is answered, however it is answered.
//!
//! Middleware writes on the way in and reads on the way out; handlers read. Stays with the connection, and a
//! copy travels with a request that goes to a worker.

use std::any::{Any, TypeId};
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use crate::base::guarded::guarded;
use crate::gateway::edits::Edits;

/// See the module. Reused, so that it allocates nothing in the steady state.
///
/// Invariant: without a trace there is no state of one.
#[derive(Clone, Default)]
pub struct Notes {
    /// Whether anything was written, so that most need not be cleared.
    is_used: bool,
    /// How many of the chain's middleware were entered.
    entered: u8,
    /// The site's route that takes it, and how many of its steps it has entered.
    route: Option<u32>,
    entered_route: u8,
    /// Which of those that may refuse its route's requests has refused it.
    refuser: Option<u8>,
    request_id: String,
    trace: Option<Trace>,
    trace_state: String,
    upstream: Edits,
    quotas: Vec<Quota>,
    values: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
    held: Vec<Arc<dyn Any + Send + Sync>>,
}

/// Where a client stands with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Which limit.
    pub id: u64,
    /// How many requests are left.
    pub remaining: u32,
    /// Seconds until there is one, if none is; else until all are back.
    pub wait_s: u64,
}

/// Where a request stands in a distributed trace (W3C Trace Context).
///
/// Writes itself as the `traceparent` of whatever is called next:
///
/// ```
/// use myriapod::gateway::notes::Trace;
///
/// let trace = Trace { trace_id: 0xabc, span_id: 0x1f, is_sampled: true };
/// assert_eq!(trace.to_string(), "00-00000000000000000000000000000abc-000000000000001f-01");
/// assert_eq!(Trace::parse(trace.to_string().as_bytes()), Some(trace));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The whole trace.
    pub trace_id: u128,
    /// This server's part of it, the parent of whatever it calls.
    pub span_id: u64,
    /// Whether the caller records it.
    pub is_sampled: bool,
}

impl Trace {
    /// Reads a `traceparent`, so that `span_id` is the caller's part. `None`: it is none, and whoever gets
    /// it begins a trace of its own.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Trace> {
        let (known, rest) = value.split_at_checked(Trace::LEN)?;
        let [version, trace_id, span_id, flags] = parts(known)?;
        // Version 255 is forbidden. Later versions may say more, behind another dash.
        match (hex(version)?, rest.first()) {
            (0, None) | (1..=254, None | Some(b'-')) => {}
            _ => return None,
        }
        let (trace_id, span_id, flags) = (hex(trace_id)?, hex(span_id)? as u64, hex(flags)?);
        // Of the flags, a later version too must keep the meaning of the last.
        (trace_id != 0 && span_id != 0).then_some(Trace { trace_id, span_id, is_sampled: flags & 1 == 1 })
    }

    /// Bytes of a `traceparent` of version 0, and the least of any other.
    const LEN: usize = 55;
}

/// As the value of `traceparent`, version 0.
impl fmt::Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.is_sampled))
    }
}

/// Version, trace, span and flags, each of its length.
fn parts(known: &[u8]) -> Option<[&[u8]; 4]> {
    let mut parts = known.split(|byte| *byte == b'-');
    let mut next = |len| parts.next().filter(|part| part.len() == len);
    Some([next(2)?, next(32)?, next(16)?, next(2)?])
}

/// A number of at most 32 digits. Capitals are no digits here: the standard wants them refused.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(number << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
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

    /// Says where the request stands in a trace. What was said in another trace is forgotten.
    pub fn set_trace(&mut self, trace: Trace) {
        self.is_used = true;
        if self.trace.is_none_or(|known| known.trace_id != trace.trace_id) {
            self.trace_state.clear();
        }
        self.trace = Some(trace);
    }

    /// What the callers' tracers say to those that come behind us: the `tracestate` to be sent beside
    /// [`trace`](Notes::trace). Empty when they say nothing.
    #[must_use]
    pub fn trace_state(&self) -> &str {
        &self.trace_state
    }

    /// Where that is written, once there is a trace.
    pub(crate) fn trace_state_mut(&mut self) -> &mut String {
        debug_assert!(self.trace.is_some(), "a state of no trace");
        &mut self.trace_state
    }

    /// Says upstream where the request stands in its trace; what the client said of it is taken out.
    pub(crate) fn tell_trace_upstream(&mut self) {
        let Some(trace) = self.trace else { return };
        let mut parent = [0; Trace::LEN];
        let _ = write!(&mut parent[..], "{trace}");
        self.upstream.set("traceparent", parent);
        match self.trace_state.as_str() {
            "" => self.upstream.remove("tracestate"),
            state => self.upstream.set("tracestate", state),
        }
    }

    /// What its fields are to say upstream, besides and instead of what the client said.
    #[must_use]
    pub fn upstream(&self) -> &Edits {
        &self.upstream
    }

    /// Where middleware says what the fields are to say upstream.
    pub fn upstream_mut(&mut self) -> &mut Edits {
        self.is_used = true;
        &mut self.upstream
    }

    /// Where its client stands with the limits that it has passed, and the one that it has not.
    #[must_use]
    pub fn quotas(&self) -> &[Quota] {
        &self.quotas
    }

    /// Says where its client stands with one more limit.
    pub fn add_quota(&mut self, quota: Quota) {
        self.is_used = true;
        self.quotas.push(quota);
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

    /// Holds a value until the exchange is over, however it ends: a permit, say, that comes back when it is
    /// dropped. Nobody reads it.
    pub fn hold<T: Send + Sync + 'static>(&mut self, value: T) {
        self.is_used = true;
        self.held.push(Arc::new(value));
    }

    /// Whether something ends with the exchange, so that these notes are not to outlive it.
    #[must_use]
    #[inline]
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Forgets everything, for the next exchange.
    pub fn clear(&mut self) {
        if self.is_blank() {
            return;
        }
        self.is_used = false;
        self.entered = 0;
        self.route = None;
        self.entered_route = 0;
        self.refuser = None;
        self.request_id.clear();
        self.trace = None;
        self.trace_state.clear();
        self.upstream.clear();
        self.quotas.clear();
        if !self.values.is_empty() || !self.held.is_empty() {
            // What is dropped was written by others, and a reactor drops it. One panic does not keep the
            // rest: a vector drops all that is in it.
            let _ = guarded(|| self.held.clear());
            let _ = guarded(|| self.values.clear());
        }
    }

    /// Makes it the same as another, in the memory it has.
    pub fn copy_from(&mut self, other: &Notes) {
        if self.is_blank() && other.is_blank() {
            return;
        }
        self.is_used = other.is_used;
        self.entered = other.entered;
        self.route = other.route;
        self.entered_route = other.entered_route;
        self.refuser = other.refuser;
        self.request_id.clone_from(&other.request_id);
        self.trace = other.trace;
        self.trace_state.clone_from(&other.trace_state);
        self.upstream.clone_from(&other.upstream);
        self.quotas.clone_from(&other.quotas);
        self.values.clone_from(&other.values);
        self.held.clone_from(&other.held);
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

    /// The number of the site's route that takes it.
    pub(crate) fn route(&self) -> Option<usize> {
        self.route.map(|number| number as usize)
    }

    pub(crate) fn set_route(&mut self, number: usize) {
        self.is_used = true;
        self.route = Some(number as u32);
    }

    /// Which of those that may refuse its route's requests has refused it.
    pub(crate) fn refuser(&self) -> Option<usize> {
        self.refuser.map(usize::from)
    }

    pub(crate) fn set_refuser(&mut self, number: usize) {
        self.refuser = u8::try_from(number).ok();
    }

    pub(crate) fn entered_route(&self) -> usize {
        usize::from(self.entered_route)
    }

    pub(crate) fn set_entered_route(&mut self, count: usize) {
        self.entered_route = count as u8;
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn is_read(value: &str) -> bool {
        Trace::parse(value.as_bytes()).is_some()
    }

    #[test]
    fn a_traceparent_is_read_as_the_standard_has_it() {
        let trace = Trace::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(trace.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((trace.span_id, trace.is_sampled), (0xb7ad_6b71_6920_3331, true));
        assert_eq!(trace.to_string(), GOOD);
    }

    #[test]
    fn flags_that_nobody_knows_are_not_passed_on() {
        let trace = Trace::parse(GOOD.replace("-01", "-fe").as_bytes()).unwrap();
        assert!(!trace.is_sampled);
        assert!(trace.to_string().ends_with("-00"));
    }

    #[test]
    fn what_was_kept_may_panic_when_it_is_dropped() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("as told");
            }
        }
        let mut notes = Notes::default();
        notes.keep(Bomb);
        notes.clear();
        assert!(notes.is_blank() && notes.kept::<Bomb>().is_none());
    }

    #[test]
    fn a_later_version_may_say_more_and_this_one_may_not() {
        assert!(is_read(&GOOD.replacen("00", "01", 1)));
        assert!(is_read(&GOOD.replacen("00", "fe", 1)));
        assert!(is_read(&(GOOD.replacen("00", "cc", 1) + "-what-is-to-come")));
        assert!(!is_read(&(GOOD.replacen("00", "cc", 1) + ".what-is-to-come")));
        assert!(!is_read(&(GOOD.to_owned() + "-")));
        assert!(!is_read(&GOOD.replacen("00", "ff", 1)));
    }

    #[test]
    fn what_is_not_a_traceparent_is_none() {
        let zero_trace = format!("00-{:032}-b7ad6b7169203331-01", 0);
        let zero_span = format!("00-0af7651916cd43dd8448eb211c80319c-{:016}-01", 0);
        for value in ["", "00", "-", "---", &GOOD[..54], &zero_trace, &zero_span, &GOOD.to_uppercase()] {
            assert!(!is_read(value), "{value}");
        }
        for at in 0..GOOD.len() {
            for byte in ["g", "A", " ", "_", "\0"] {
                let mut value = GOOD.to_owned();
                value.replace_range(at..=at, byte);
                assert!(!is_read(&value), "{value}");
            }
        }
    }

    #[test]
    fn a_new_trace_has_no_state_of_the_old_one() {
        let trace = Trace { trace_id: 1, span_id: 1, is_sampled: false };
        let mut notes = Notes::default();
        notes.set_trace(trace);
        notes.trace_state_mut().push_str("a=1");
        let mut copy = Notes::default();
        copy.copy_from(&notes);
        assert_eq!(copy.trace_state(), "a=1");
        copy.set_trace(Trace { span_id: 2, ..trace });
        assert_eq!(copy.trace_state(), "a=1", "another span of the same trace");
        copy.set_trace(Trace { trace_id: 2, ..trace });
        assert_eq!(copy.trace_state(), "");
        notes.clear();
        assert!(notes.is_blank() && notes.trace_state().is_empty());
    }

    proptest! {
        #[test]
        fn every_trace_reads_back_as_itself(
            trace_id in 1..=u128::MAX, span_id in 1..=u64::MAX, is_sampled: bool,
        ) {
            let trace = Trace { trace_id, span_id, is_sampled };
            prop_assert_eq!(Trace::parse(trace.to_string().as_bytes()), Some(trace));
        }

        #[test]
        fn what_is_read_was_written_so(
            value in "(00|[0-9a-f]{2})-[0-9a-f]{31,32}-[0-9a-f]{16,17}-[0-9a-f]{2,3}(-.{0,3})?",
        ) {
            if let Some(trace) = Trace::parse(value.as_bytes()) {
                prop_assert_eq!(&trace.to_string()[3..53], &value[3..53]);
                prop_assert!(value.len() == 55 || !value.starts_with("00"));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Trace::parse(&value);
        }
    }
}
