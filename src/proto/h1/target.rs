//! The request target in its forms (RFC 9112 section 3.2).

use crate::http::path::{self, PlainPath};
use crate::http::{HEAD_BYTES_MAX, HeadIndex, Method, Span};
use crate::proto::Violation;
use crate::proto::h1::authority::is_authority;
use crate::proto::h1::fields::Facts;
use crate::proto::h1::lexis::{Stop, TARGET, byte_at, run_end};

/// RFC 9112 section 3.2: the forms of a target, of which authority-form is CONNECT's. Tells where it ends.
#[inline]
pub(super) fn read_target(
    bytes: &[u8],
    start: usize,
    index: &mut HeadIndex,
    facts: &mut Facts,
) -> Result<usize, Stop> {
    match &bytes[start..] {
        [b'/', ..] => read_path(bytes, start, index),
        [b'*', b' ', ..] if index.method == Method::Options => {
            (index.path, index.query, index.plain_path) = (Span::new(start, 1), Span::default(), None);
            Ok(start + 1)
        }
        _ => read_absolute(bytes, start, index, facts),
    }
}

/// RFC 9112 section 3.2.1: path and query. Tells where they end.
#[inline]
fn read_path(bytes: &[u8], start: usize, index: &mut HeadIndex) -> Result<usize, Stop> {
    let (path_len, is_plain) = path::scan(&bytes[start..]);
    let path_end = fitting(start + path_len)?;
    let mut end = path_end;
    index.query = Span::default();
    if byte_at(bytes, path_end)? == b'?' {
        end = fitting(run_end(bytes, path_end + 1, TARGET)?)?;
        index.query = Span::new(path_end + 1, end - path_end - 1);
    }
    index.path = Span::new(start, path_len);
    index.plain_path = None;
    if !is_plain {
        index.plain_path = match path::plain(&bytes[start..path_end]) {
            Ok(PlainPath::AsSent) => None,
            Ok(PlainPath::Decoded(path)) => Some(path),
            Err(_) => return Err(Violation::BadTarget.into()),
        };
    }
    Ok(end)
}

/// RFC 9112 section 3.2.2: `http://authority/path?query`. Tells where it ends.
#[cold]
fn read_absolute(
    bytes: &[u8],
    start: usize,
    index: &mut HeadIndex,
    facts: &mut Facts,
) -> Result<usize, Stop> {
    let end = fitting(run_end(bytes, start, TARGET)?)?;
    let target = &bytes[start..end];
    if target.is_empty() || matches!(bytes[end], b'\r' | b'\n') {
        return Err(Stop::BadLine);
    }
    let scheme_len = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)))
        .ok_or(Violation::BadTarget)?
        .len();
    let rest = &target[scheme_len..];
    let authority_len = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    if authority_len == 0 || !is_authority(&rest[..authority_len]) {
        return Err(Violation::BadTarget.into());
    }
    facts.authority = Some(Span::new(start + scheme_len, authority_len));
    let path_at = start + scheme_len + authority_len;
    if bytes[path_at] == b'/' {
        return read_path(bytes, path_at, index);
    }
    // RFC 9110 section 4.2.3: an empty path means `/`.
    let query_at = end.min(path_at + 1);
    index.path = Span::new(path_at, 0);
    index.query = Span::new(query_at, end - query_at);
    index.plain_path = Some("/".to_owned());
    Ok(end)
}

/// An offset that spans can hold.
#[inline]
fn fitting(offset: usize) -> Result<usize, Violation> {
    if offset + " HTTP/1.1\r\n".len() <= HEAD_BYTES_MAX { Ok(offset) } else { Err(Violation::TargetTooLong) }
}
