//! The fields of an upstream's answer that its client gets.

use super::AnswerIndex;
use crate::http::FieldSpan;
use crate::proto::h1::hop::Named;

/// Appends the field lines that are for the client, written anew: without those for one connection, those
/// that `Connection` names, framing, which is said anew, `Server`, which is ours, and those that `is_taken`.
/// Tells whether `Date` is among them, which a gateway passes on (RFC 9110 section 6.6.1).
pub fn relay_fields(
    index: &AnswerIndex,
    bytes: &[u8],
    out: &mut Vec<u8>,
    is_taken: impl Fn(&[u8]) -> bool,
) -> bool {
    let named = if index.names_options { Named::of(options(index, bytes)) } else { Named::default() };
    let mut has_date = false;
    out.reserve(usize::from(index.head_len));
    for field in index.fields() {
        let name = field.name.of(bytes);
        let role = role(name);
        if role == Role::EndsHere || named.contains(name) || is_taken(name) {
            continue;
        }
        // A second one is nobody's date.
        if role == Role::Date && std::mem::replace(&mut has_date, true) {
            continue;
        }
        write_line(bytes, field, out);
    }
    has_date
}

fn options<'a>(index: &'a AnswerIndex, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let is_connection = |field: &&FieldSpan| field.name.of(bytes).eq_ignore_ascii_case(b"connection");
    index.fields().iter().filter(is_connection).map(|field| field.value.of(bytes))
}

/// A line as we would write it, in one copy where that is how it came.
#[inline]
pub(in crate::proto::h1) fn write_line(bytes: &[u8], field: &FieldSpan, out: &mut Vec<u8>) {
    let (name_end, value_at) = (field.name.start() + field.name.len(), field.value.start());
    if value_at == name_end + 2 && bytes[name_end + 1] == b' ' {
        out.extend_from_slice(&bytes[field.name.start()..value_at + field.value.len()]);
    } else {
        out.extend_from_slice(field.name.of(bytes));
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value.of(bytes));
    }
    out.extend_from_slice(b"\r\n");
}

#[derive(PartialEq, Eq)]
enum Role {
    Passes,
    EndsHere,
    Date,
}

#[inline]
fn role(name: &[u8]) -> Role {
    let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
    let ends_here = match name.len() {
        2 => is(b"te"),
        4 if is(b"date") => return Role::Date,
        6 => is(b"server"),
        // `Upgrade` in an answer says what else is spoken on that connection: not on ours.
        7 => is(b"upgrade") || is(b"trailer"),
        10 => is(b"connection") || is(b"keep-alive"),
        14 => is(b"content-length"),
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        // For us, if for anybody: the client has no business with a proxy behind its gateway.
        18 => is(b"proxy-authenticate"),
        25 => is(b"proxy-authentication-info"),
        _ => false,
    };
    if ends_here { Role::EndsHere } else { Role::Passes }
}
