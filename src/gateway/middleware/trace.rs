//! Where a request stands in a distributed trace: W3C Trace Context, level 1.
//!
//! A trace that the caller is in goes on with a span of our own, otherwise one begins; both are noted, for
//! handlers that call others and for the access log, and passed on to servers behind. Whether a trace is
//! recorded is the caller's choice and is passed on; of a trace that begins here nothing is recorded, since
//! nobody here records.
//! The answer says nothing: `traceresponse` is a draft, and `traceparent` is a field of requests. A client
//! that wants a name for its request has `X-Request-Id`.
//! Not here: sending spans anywhere.

use std::str;

use super::numbers::{Numbers, mix, random};
use super::{Flow, Middleware};
use crate::gateway::exchange::Exchange;
use crate::gateway::notes::Trace;
use crate::http::Request;

/// As much of a `tracestate` as is passed on at most; the standard wants at least as much.
const STATE_BYTES_MAX: usize = 512;
/// Of one that has more members, nothing is believed.
const STATE_MEMBERS_MAX: usize = 32;
const KEY_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 256;

/// See the module.
///
/// ```
/// use myriapod::gateway::middleware::Tracing;
/// use myriapod::gateway::{Exchange, Gateway};
///
/// let gateway = Gateway::new().with_middleware(Tracing::new());
///
/// fn handler(exchange: &mut Exchange) -> String {
///     let notes = exchange.notes();
///     let traceparent = notes.trace().map(|trace| trace.to_string()).unwrap_or_default();
///     format!("to be sent on: {traceparent} and {}", notes.trace_state())
/// }
/// ```
pub struct Tracing {
    /// Tells processes apart whose numbers meet by chance.
    process: u64,
    numbers: Numbers,
}

impl Tracing {
    /// Traces and spans that nobody else has.
    #[must_use]
    pub fn new() -> Tracing {
        Tracing::with_seed(random())
    }

    /// The traces and spans of this seed, one after the other: for tests that want to know them.
    #[must_use]
    pub fn with_seed(seed: u64) -> Tracing {
        Tracing { process: mix(!seed), numbers: Numbers::with_seed(seed) }
    }

    fn begin(&self) -> Trace {
        // Each half is of use alone: there are tracers that know the lower one only, or sample by the upper.
        let number = self.numbers.next();
        let trace_id = u128::from(mix(self.process ^ number)) << 64 | u128::from(number);
        Trace { trace_id: trace_id.max(1), span_id: self.span_id(), is_sampled: false }
    }

    fn span_id(&self) -> u64 {
        // 0 is no id.
        self.numbers.next().max(1)
    }
}

impl Default for Tracing {
    fn default() -> Tracing {
        Tracing::new()
    }
}

impl Middleware for Tracing {
    fn enter(&self, exchange: &mut Exchange<'_>) -> Flow {
        let request = exchange.request();
        let notes = exchange.notes_mut();
        match caller(&request) {
            None => notes.set_trace(self.begin()),
            Some(trace) => {
                notes.set_trace(Trace { span_id: self.span_id(), ..trace });
                take_state(&request, notes.trace_state_mut());
            }
        }
        notes.tell_trace_upstream();
        Flow::On
    }
}

/// Where the caller says it stands. Two places are none.
fn caller(request: &Request<'_>) -> Option<Trace> {
    let mut values = request.fields_named("traceparent");
    let value = values.next().filter(|_| values.next().is_none())?;
    Trace::parse(value)
}

/// Section 3.3: several fields are one list. Of a list that is too long the end is left out, member by
/// member; of one with a mistake in it, everything.
fn take_state(request: &Request<'_>, state: &mut String) {
    let members = request.fields_named("tracestate").flat_map(|value| value.split(|byte| *byte == b','));
    let members = members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty());
    let mut is_full = false;
    for (count, member) in members.enumerate() {
        let text = str::from_utf8(member).ok().filter(|_| is_member(member) && count < STATE_MEMBERS_MAX);
        let Some(text) = text else { return state.clear() };
        is_full |= state.len() + usize::from(!state.is_empty()) + text.len() > STATE_BYTES_MAX;
        if !is_full {
            state.push_str(if state.is_empty() { "" } else { "," });
            state.push_str(text);
        }
    }
}

/// `key=value` of the characters that are allowed in them.
fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let is_of_key = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let is_of_value = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=KEY_BYTES_MAX).contains(&key.len())
        && (1..=VALUE_BYTES_MAX).contains(&value.len())
        && key[0].is_ascii_alphanumeric()
        && key.iter().all(is_of_key)
        && value.iter().all(is_of_value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::middleware::tests::Head;
    use proptest::prelude::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn noted(fields: &[(&str, &str)]) -> (Trace, String) {
        let (notes, response) = Head::get("/", fields).pass(&Tracing::with_seed(1));
        assert_eq!(response.fields.lines().concat(), b"", "nothing is answered");
        let (trace, state) = (notes.trace().unwrap(), notes.trace_state());
        let state = if state.is_empty() { String::new() } else { format!("tracestate: {state}\r\n") };
        let passed_on = format!("traceparent: {trace}\r\n{state}");
        assert_eq!(str::from_utf8(notes.upstream().lines()), Ok(&*passed_on));
        assert!(notes.upstream().takes(b"traceparent") && notes.upstream().takes(b"tracestate"));
        (notes.trace().unwrap(), notes.trace_state().to_owned())
    }

    fn state(values: &[&str]) -> String {
        let mut fields = vec![("traceparent", PARENT)];
        fields.extend(values.iter().map(|value| ("tracestate", *value)));
        noted(&fields).1
    }

    #[test]
    fn a_callers_trace_goes_on_with_a_span_of_our_own() {
        let (trace, state) = noted(&[("traceparent", PARENT), ("tracestate", "rojo=00f067aa0ba902b7")]);
        let parent = Trace::parse(PARENT.as_bytes()).unwrap();
        assert_eq!((trace.trace_id, trace.is_sampled), (parent.trace_id, true));
        assert!(trace.span_id != parent.span_id && trace.span_id != 0);
        assert_eq!(state, "rojo=00f067aa0ba902b7");
    }

    #[test]
    fn without_a_valid_parent_a_trace_begins_and_its_state_is_ignored() {
        let forbidden = PARENT.replacen("00", "ff", 1);
        let malformed = [("traceparent", &*forbidden), ("tracestate", "a=1")];
        let twice = [("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "a=1")];
        for fields in [&[("tracestate", "a=1")][..], &malformed, &twice] {
            let (trace, state) = noted(fields);
            assert!(!PARENT.contains(&format!("{:032x}", trace.trace_id)), "{fields:?}");
            assert!(trace.trace_id != 0 && trace.span_id != 0 && !trace.is_sampled);
            assert_eq!(state, "");
        }
    }

    #[test]
    fn traces_that_begin_here_are_all_different() {
        let middleware = Tracing::new();
        let begin = || Head::get("/", &[]).pass(&middleware).0.trace().unwrap();
        let (one, other) = (begin(), begin());
        assert!(one.trace_id != other.trace_id && one.span_id != other.span_id);
        assert_ne!(one.trace_id as u64, other.trace_id as u64);
        assert_ne!(one.trace_id >> 64, other.trace_id >> 64);
    }

    #[test]
    fn a_state_over_several_fields_is_one_list() {
        assert_eq!(state(&["a=1 , b=2", "", ",c=3,"]), "a=1,b=2,c=3");
        assert_eq!(state(&["tenant@vendor=x y,0a_-*/=~"]), "tenant@vendor=x y,0a_-*/=~");
    }

    #[test]
    fn a_state_with_a_mistake_is_dropped_and_the_trace_is_kept() {
        let many = (0..33).map(|number| format!("k{number}=v")).collect::<Vec<_>>();
        let long_key = format!("{}=1", "k".repeat(257));
        let long_value = format!("k={}", "v".repeat(257));
        for value in ["a", "=1", "A=1", "a b=1", "a=1=2", "a=", "a=\u{e9}", "a=\t1", "_a=1"] {
            assert_eq!(state(&["ok=1", value]), "", "{value:?}");
        }
        assert_eq!(state(&[&many.join(",")]), "");
        assert_eq!(state(&[&many[..32].join(",")]), many[..32].join(","));
        assert_eq!((state(&[&long_key]), state(&[&long_value])), (String::new(), String::new()));
    }

    #[test]
    fn a_long_state_loses_its_end_by_whole_members() {
        let members: Vec<String> = (0..6).map(|number| format!("k{number}={}", "v".repeat(97))).collect();
        // Five of a hundred bytes and four commas; the last, though short, comes behind one that was left
        // out.
        let sent = members.join(",") + ",z=1";
        assert_eq!(state(&[&sent]), members[..5].join(","));
    }

    proptest! {
        #[test]
        fn a_state_that_is_passed_on_is_bounded_and_reads_the_same_again(
            values in proptest::collection::vec("([a-z]{1,3}[@=]?=[ -~]{0,90},? ?){0,9}", 0..4)
        ) {
            let values: Vec<&str> = values.iter().map(|value| value.trim()).collect();
            let passed_on = state(&values);
            prop_assert!(passed_on.len() <= STATE_BYTES_MAX);
            prop_assert_eq!(state(&[&passed_on]), passed_on);
        }
    }
}
