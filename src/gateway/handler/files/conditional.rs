//! Preconditions of GET and HEAD, in the order of RFC 9110 section 13.2.2.
//!
//! A date that is no date, or one sent twice, is as good as not sent (sections 13.1.3 and 13.1.4).

use crate::gateway::handler::files::etag::{Comparison, ETag};
use crate::http::{Method, Request, date};

/// What the preconditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// The client has it already: 304.
    NotModified,
    /// The client wants something else than there is: 412.
    Failed,
}

/// Judges everything but `Range`. `modified` is the second of `Last-Modified`, where there is one.
pub(super) fn judge(request: &Request<'_>, etag: &ETag, modified: Option<u64>) -> Verdict {
    // Steps 1 and 2. A tag, where sent, makes the date irrelevant: it knows better.
    let holds = match names_tag(request, "if-match", etag, Comparison::Strong) {
        Some(named) => named,
        None => is_modified_since(request, "if-unmodified-since", modified) != Some(true),
    };
    if !holds {
        return Verdict::Failed;
    }
    // Steps 3 and 4.
    let is_known = match names_tag(request, "if-none-match", etag, Comparison::Weak) {
        Some(named) => named,
        None => is_modified_since(request, "if-modified-since", modified) == Some(false),
    };
    if is_known { Verdict::NotModified } else { Verdict::Proceed }
}

/// Step 5: whether `Range` is to be looked at. Only GET has ranges (section 14.2).
pub(super) fn range_applies(request: &Request<'_>, etag: &ETag, modified: Option<u64>) -> bool {
    if request.method() != Method::Get {
        return false;
    }
    let mut lines = request.fields_named("if-range");
    match (lines.next(), lines.next()) {
        (None, _) => true,
        // Dates must be equal, not just late enough: the client glues this part to what it has (section
        // 13.1.5).
        (Some(value), None) => {
            etag.is_exactly(value) || (modified.is_some() && date::parse(value) == modified)
        }
        (Some(_), Some(_)) => false,
    }
}

/// Whether any line of the field names the tag; `None` where there is no such field.
fn names_tag(request: &Request<'_>, field: &str, etag: &ETag, comparison: Comparison) -> Option<bool> {
    request.field(field)?;
    Some(request.fields_named(field).any(|line| etag.is_in(line, comparison)))
}

/// Whether the file was written after the field's date; `None` where that cannot be told.
fn is_modified_since(request: &Request<'_>, field: &str, modified: Option<u64>) -> Option<bool> {
    let mut lines = request.fields_named(field);
    let (Some(value), None) = (lines.next(), lines.next()) else { return None };
    Some(modified? > date::parse(value)?)
}
