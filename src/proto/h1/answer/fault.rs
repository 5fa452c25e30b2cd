//! The ways in which an upstream can break a rule.

use crate::proto::Violation;

/// A broken rule of an answer: a variant each, so that tests and metrics can name it.
///
/// The client gets 502 if its answer has not begun, and the upstream's connection is never used again: nobody
/// knows where its next answer would begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The connection ended before any byte of an answer: a connection that was idle may end so at any time.
    NoAnswer,
    /// The connection ended within an answer.
    Cut,
    /// The first line is not `version SP status SP reason`.
    BadStatusLine,
    /// Not HTTP/1.0 or HTTP/1.1.
    BadVersion,
    /// A status that is not from 100 to 599.
    BadStatus,
    /// A field line breaks RFC 9112 section 5.
    BadField,
    /// A line ends in a lone LF.
    BareLineFeed,
    /// More field lines than the limit.
    TooManyFields,
    /// The head is over the limit.
    HeadTooLong,
    /// More than one `Content-Length`, equal or not.
    LengthTwice,
    /// A `Content-Length` that is no number.
    BadLength,
    /// Both `Content-Length` and `Transfer-Encoding` (RFC 9112 section 6.3, 3).
    LengthAndCoding,
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 section 6.1).
    CodingInHttp10,
    /// A `Transfer-Encoding` other than `chunked`, once: nobody asked for another.
    BadCoding,
    /// More interim answers than the limit.
    TooManyInterims,
    /// An interim answer in HTTP/1.0, which has none (RFC 9110 section 15.2).
    InterimInHttp10,
    /// 101 though nobody asked for another protocol, or without saying which (RFC 9110 section 15.2.2).
    BadSwitch,
    /// A chunk's size line or end is malformed.
    BadChunk,
    /// A chunk's extension is over the limit.
    ExtensionTooLong,
    /// The trailer section is malformed.
    BadTrailer,
    /// The trailer section is over the limit.
    TrailerTooLong,
}

impl Fault {
    /// Every fault, in the order of the enum.
    pub const ALL: [Fault; 21] = [
        Fault::NoAnswer,
        Fault::Cut,
        Fault::BadStatusLine,
        Fault::BadVersion,
        Fault::BadStatus,
        Fault::BadField,
        Fault::BareLineFeed,
        Fault::TooManyFields,
        Fault::HeadTooLong,
        Fault::LengthTwice,
        Fault::BadLength,
        Fault::LengthAndCoding,
        Fault::CodingInHttp10,
        Fault::BadCoding,
        Fault::TooManyInterims,
        Fault::InterimInHttp10,
        Fault::BadSwitch,
        Fault::BadChunk,
        Fault::ExtensionTooLong,
        Fault::BadTrailer,
        Fault::TrailerTooLong,
    ];

    /// The labels of [`Fault::ALL`], for metrics.
    pub const LABELS: [&'static str; Fault::ALL.len()] = {
        let mut labels = [""; Fault::ALL.len()];
        let mut at = 0;
        while at < labels.len() {
            labels[at] = Fault::ALL[at].label();
            at += 1;
        }
        labels
    };

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Fault::NoAnswer => "no_answer",
            Fault::Cut => "cut",
            Fault::BadStatusLine => "bad_status_line",
            Fault::BadVersion => "bad_version",
            Fault::BadStatus => "bad_status",
            Fault::BadField => "bad_field",
            Fault::BareLineFeed => "bare_line_feed",
            Fault::TooManyFields => "too_many_fields",
            Fault::HeadTooLong => "head_too_long",
            Fault::LengthTwice => "length_twice",
            Fault::BadLength => "bad_length",
            Fault::LengthAndCoding => "length_and_coding",
            Fault::CodingInHttp10 => "coding_in_http10",
            Fault::BadCoding => "bad_coding",
            Fault::TooManyInterims => "too_many_interims",
            Fault::InterimInHttp10 => "interim_in_http10",
            Fault::BadSwitch => "bad_switch",
            Fault::BadChunk => "bad_chunk",
            Fault::ExtensionTooLong => "extension_too_long",
            Fault::BadTrailer => "bad_trailer",
            Fault::TrailerTooLong => "trailer_too_long",
        }
    }
}

/// What the readers that requests and answers share have to say of an answer.
impl From<Violation> for Fault {
    fn from(violation: Violation) -> Fault {
        match violation {
            Violation::BareLineFeed => Fault::BareLineFeed,
            Violation::HeadTooLong => Fault::HeadTooLong,
            // The lengths of all chunks together are beyond 64 bits.
            Violation::BadChunk | Violation::BodyTooLarge => Fault::BadChunk,
            Violation::ExtensionTooLong => Fault::ExtensionTooLong,
            Violation::BadTrailer => Fault::BadTrailer,
            Violation::TrailerTooLong => Fault::TrailerTooLong,
            _ => Fault::BadField,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_stands_at_its_own_number_with_a_label_of_its_own() {
        for (at, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, at);
        }
        let mut labels = Fault::LABELS.to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Fault::ALL.len());
    }
}
