//! The ways in which a peer can break a rule.

use crate::http::Status;

/// A broken rule: a variant each, so that tests and metrics can name it.
///
/// The connection is closed behind the answer: after a framing error nobody knows where the next request
/// begins (RFC 9112 section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Violation {
    /// The request line is not `method SP target SP version`.
    BadRequestLine,
    /// The target has a byte or a form that RFC 9112 section 3.2 does not allow.
    BadTarget,
    /// Not HTTP/1.0 or HTTP/1.1.
    BadVersion,
    /// CONNECT; this is no proxy.
    ConnectRefused,
    /// A field line breaks RFC 9112 section 5.
    BadField,
    /// A line ends in a lone LF (RFC 9112 section 2.2 lets us refuse it).
    BareLineFeed,
    /// More field lines than the limit.
    TooManyFields,
    /// The head is over the limit.
    HeadTooLong,
    /// The target alone is over the limit.
    TargetTooLong,
    /// HTTP/1.1 without `Host` (RFC 9112 section 3.2).
    HostMissing,
    /// More than one `Host`.
    HostTwice,
    /// A `Host` that is no host and port.
    BadHost,
    /// More than one `Content-Length`, equal or not.
    LengthTwice,
    /// A `Content-Length` that is no number.
    BadLength,
    /// Both `Content-Length` and `Transfer-Encoding`: a smuggling attempt (RFC 9112 section 6.3, 3).
    LengthAndCoding,
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 section 6.1).
    CodingInHttp10,
    /// A transfer coding other than `chunked`.
    UnknownCoding,
    /// A `Transfer-Encoding` that is no list of codings, or lists `chunked` twice.
    BadCoding,
    /// A chunk's size line or end is malformed.
    BadChunk,
    /// A chunk's extension is over the limit.
    ExtensionTooLong,
    /// The trailer section is malformed.
    BadTrailer,
    /// The trailer section is over the limit.
    TrailerTooLong,
    /// The body is over the limit.
    BodyTooLarge,
    /// An expectation other than `100-continue`.
    UnknownExpectation,
    /// The head did not come in time.
    HeadTimeout,
    /// The body came too slowly.
    BodyTimeout,
}

impl Violation {
    /// Every violation, in the order of the enum.
    pub const ALL: [Violation; 26] = [
        Violation::BadRequestLine,
        Violation::BadTarget,
        Violation::BadVersion,
        Violation::ConnectRefused,
        Violation::BadField,
        Violation::BareLineFeed,
        Violation::TooManyFields,
        Violation::HeadTooLong,
        Violation::TargetTooLong,
        Violation::HostMissing,
        Violation::HostTwice,
        Violation::BadHost,
        Violation::LengthTwice,
        Violation::BadLength,
        Violation::LengthAndCoding,
        Violation::CodingInHttp10,
        Violation::UnknownCoding,
        Violation::BadCoding,
        Violation::BadChunk,
        Violation::ExtensionTooLong,
        Violation::BadTrailer,
        Violation::TrailerTooLong,
        Violation::BodyTooLarge,
        Violation::UnknownExpectation,
        Violation::HeadTimeout,
        Violation::BodyTimeout,
    ];

    /// The labels of [`Violation::ALL`], for metrics.
    pub const LABELS: [&'static str; Violation::ALL.len()] = {
        let mut labels = [""; Violation::ALL.len()];
        let mut at = 0;
        while at < labels.len() {
            labels[at] = Violation::ALL[at].label();
            at += 1;
        }
        labels
    };

    /// The status it is answered with.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Violation::BadVersion => Status::VERSION_NOT_SUPPORTED,
            Violation::ConnectRefused | Violation::UnknownCoding => Status::NOT_IMPLEMENTED,
            Violation::TooManyFields | Violation::HeadTooLong | Violation::TrailerTooLong => {
                Status::HEAD_TOO_LARGE
            }
            Violation::TargetTooLong => Status::URI_TOO_LONG,
            Violation::BodyTooLarge => Status::CONTENT_TOO_LARGE,
            Violation::UnknownExpectation => Status::EXPECTATION_FAILED,
            Violation::HeadTimeout | Violation::BodyTimeout => Status::REQUEST_TIMEOUT,
            _ => Status::BAD_REQUEST,
        }
    }

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Violation::BadRequestLine => "bad_request_line",
            Violation::BadTarget => "bad_target",
            Violation::BadVersion => "bad_version",
            Violation::ConnectRefused => "connect_refused",
            Violation::BadField => "bad_field",
            Violation::BareLineFeed => "bare_line_feed",
            Violation::TooManyFields => "too_many_fields",
            Violation::HeadTooLong => "head_too_long",
            Violation::TargetTooLong => "target_too_long",
            Violation::HostMissing => "host_missing",
            Violation::HostTwice => "host_twice",
            Violation::BadHost => "bad_host",
            Violation::LengthTwice => "length_twice",
            Violation::BadLength => "bad_length",
            Violation::LengthAndCoding => "length_and_coding",
            Violation::CodingInHttp10 => "coding_in_http10",
            Violation::UnknownCoding => "unknown_coding",
            Violation::BadCoding => "bad_coding",
            Violation::BadChunk => "bad_chunk",
            Violation::ExtensionTooLong => "extension_too_long",
            Violation::BadTrailer => "bad_trailer",
            Violation::TrailerTooLong => "trailer_too_long",
            Violation::BodyTooLarge => "body_too_large",
            Violation::UnknownExpectation => "unknown_expectation",
            Violation::HeadTimeout => "head_timeout",
            Violation::BodyTimeout => "body_timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_violation_stands_at_its_own_number_with_an_error_status() {
        for (at, violation) in Violation::ALL.into_iter().enumerate() {
            assert_eq!(violation as usize, at);
            assert!(violation.status().code() >= 400);
        }
    }

    #[test]
    fn labels_are_distinct() {
        let mut labels = Violation::LABELS.to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Violation::ALL.len());
    }
}
