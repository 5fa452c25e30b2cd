//! The fields that the protocol itself must understand: Host, Connection, Expect, and how the body is framed.

use crate::config::Limits;
use crate::http::{Framing, HeadIndex, KnownHost, Span, Version};
use crate::proto::Violation;
use crate::proto::h1::authority::is_authority;
use crate::proto::h1::hop::Persistence;
use crate::proto::h1::lexis::{decimal, is_token};

/// What the field lines said about host, connection and body, before it is weighed together.
#[derive(Default)]
pub(super) struct Facts {
    /// Of a target in absolute form.
    pub(super) authority: Option<Span>,
    host: Option<Span>,
    length: Option<u64>,
    chunked: bool,
    coded: bool,
    connection: Persistence,
    expects: Option<Expectation>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expectation {
    Continue,
    Other,
}

impl Facts {
    /// Notes a field that the protocol itself must understand. Told apart by length first: most are none of
    /// these.
    #[inline]
    pub(super) fn note(
        &mut self,
        name: &[u8],
        value: &[u8],
        span: Span,
        known: &mut KnownHost,
    ) -> Result<(), Violation> {
        match name.len() {
            4 if is_word(name, *b"host") => self.note_host(value, span, known),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.note_expectation(value);
                Ok(())
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.connection.note(value);
                Ok(())
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.note_length(value),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.note_coding(value),
            _ => Ok(()),
        }
    }

    /// RFC 9112 section 3.2: exactly one, and a valid one.
    #[inline]
    fn note_host(&mut self, value: &[u8], span: Span, known: &mut KnownHost) -> Result<(), Violation> {
        if self.host.is_some() {
            return Err(Violation::HostTwice);
        }
        self.host = Some(span);
        if known.is(value) {
            return Ok(());
        }
        if !is_authority(value) {
            return Err(Violation::BadHost);
        }
        known.set(value);
        Ok(())
    }

    /// RFC 9110 section 10.1.1: one expectation is defined; whatever stands beside it is another.
    #[cold]
    fn note_expectation(&mut self, value: &[u8]) {
        let is_known =
            value.eq_ignore_ascii_case(b"100-continue") && self.expects != Some(Expectation::Other);
        self.expects = Some(if is_known { Expectation::Continue } else { Expectation::Other });
    }

    /// RFC 9112 section 6.3, 5. The leave to accept `5, 5` is not taken: it exists only because of broken
    /// senders.
    #[inline(never)]
    fn note_length(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.length.is_some() {
            return Err(Violation::LengthTwice);
        }
        self.length = Some(decimal(value).ok_or(Violation::BadLength)?);
        Ok(())
    }

    /// RFC 9112 section 6.1: `chunked`, once, and nothing else.
    #[inline(never)]
    fn note_coding(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.coded {
            return Err(Violation::BadCoding);
        }
        self.coded = true;
        self.chunked = value.eq_ignore_ascii_case(b"chunked");
        if self.chunked {
            return Ok(());
        }
        let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let is_list = codings.clone().all(is_token);
        let names_chunked_last =
            codings.next_back().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
        let names_chunked_before = codings.any(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        // 501 only for a sound list of codings that end in chunked, or one unknown coding: all else is
        // malformed.
        let is_sound = is_list && !names_chunked_before;
        if is_sound && (names_chunked_last || !value.contains(&b',')) {
            return Err(Violation::UnknownCoding);
        }
        Err(Violation::BadCoding)
    }

    /// Weighs the fields together.
    pub(super) fn settle(self, index: &mut HeadIndex, limits: &Limits) -> Result<(), Violation> {
        let is_http11 = index.version == Version::Http11;
        // RFC 9112 section 3.2
        if is_http11 && self.host.is_none() {
            return Err(Violation::HostMissing);
        }
        // RFC 9112 section 3.2.2: the target's authority replaces the one in `Host`, which must be there all
        // the same.
        index.host = self.authority.or(self.host).unwrap_or_default();
        // RFC 9112 section 6.3, 3: whoever sends both wants two readers to disagree.
        if self.coded && self.length.is_some() {
            return Err(Violation::LengthAndCoding);
        }
        // RFC 9112 section 6.1: HTTP/1.0 has no codings; its framing is faulty.
        if self.coded && !is_http11 {
            return Err(Violation::CodingInHttp10);
        }
        index.framing = match self.length {
            _ if self.chunked => Framing::Chunked,
            None | Some(0) => Framing::None,
            Some(length) if length > limits.body_bytes_max => return Err(Violation::BodyTooLarge),
            Some(length) => Framing::Length(length),
        };
        // RFC 9112 section 9.3
        index.persistent = self.connection.stays(is_http11);
        index.names_options = self.connection.names_options;
        // RFC 9110 section 10.1.1: ignored in HTTP/1.0, and where no body follows.
        let expects = self.expects.filter(|_| is_http11);
        if expects == Some(Expectation::Other) {
            return Err(Violation::UnknownExpectation);
        }
        index.expects_continue = expects.is_some() && index.framing != Framing::None;
        Ok(())
    }
}

/// Whether a name of four letters is this one, in any case; three instructions for the one field every
/// request has.
#[inline]
fn is_word(name: &[u8], word: [u8; 4]) -> bool {
    const CASE_BITS: u32 = u32::from_le_bytes([0x20; 4]);
    // With this bit set, a byte equals a letter only if it was that letter, small or capital.
    name.first_chunk().is_some_and(|name| u32::from_le_bytes(*name) | CASE_BITS == u32::from_le_bytes(word))
}
