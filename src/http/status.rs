//! Status codes and their reason phrases (RFC 9110 section 15).

use std::fmt;

/// A status code of three digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(u16);

impl Status {
    /// Go on and send the body.
    pub const CONTINUE: Status = Status(100);
    /// Another protocol from here on.
    pub const SWITCHING_PROTOCOLS: Status = Status(101);
    /// Answered.
    pub const OK: Status = Status(200);
    /// Made.
    pub const CREATED: Status = Status(201);
    /// Taken on; not done yet.
    pub const ACCEPTED: Status = Status(202);
    /// Done, and nothing to show for it.
    pub const NO_CONTENT: Status = Status(204);
    /// A part of the representation, as asked.
    pub const PARTIAL_CONTENT: Status = Status(206);
    /// Lives elsewhere, for good.
    pub const MOVED_PERMANENTLY: Status = Status(301);
    /// Lives elsewhere for now.
    pub const FOUND: Status = Status(302);
    /// Look there for the outcome, by GET.
    pub const SEE_OTHER: Status = Status(303);
    /// The client's copy is current.
    pub const NOT_MODIFIED: Status = Status(304);
    /// Lives elsewhere for now; keep the method.
    pub const TEMPORARY_REDIRECT: Status = Status(307);
    /// Lives elsewhere, for good; keep the method.
    pub const PERMANENT_REDIRECT: Status = Status(308);
    /// The request broke a rule of its grammar.
    pub const BAD_REQUEST: Status = Status(400);
    /// Say who you are; see `WWW-Authenticate`.
    pub const UNAUTHORIZED: Status = Status(401);
    /// Not for this client.
    pub const FORBIDDEN: Status = Status(403);
    /// Nothing is here.
    pub const NOT_FOUND: Status = Status(404);
    /// Something is here, but not for this method; see `Allow`.
    pub const METHOD_NOT_ALLOWED: Status = Status(405);
    /// Nothing here has a form that the client accepts.
    pub const NOT_ACCEPTABLE: Status = Status(406);
    /// The client was too slow.
    pub const REQUEST_TIMEOUT: Status = Status(408);
    /// Stands against the state of the resource.
    pub const CONFLICT: Status = Status(409);
    /// Was here, and will not be again.
    pub const GONE: Status = Status(410);
    /// A condition of the request does not hold.
    pub const PRECONDITION_FAILED: Status = Status(412);
    /// The body is over the limit.
    pub const CONTENT_TOO_LARGE: Status = Status(413);
    /// The target is over the limit.
    pub const URI_TOO_LONG: Status = Status(414);
    /// The body is of a type that is not taken here.
    pub const UNSUPPORTED_MEDIA_TYPE: Status = Status(415);
    /// No byte of the range asked for exists.
    pub const RANGE_NOT_SATISFIABLE: Status = Status(416);
    /// The expectation is not one we know.
    pub const EXPECTATION_FAILED: Status = Status(417);
    /// The body is well-formed and means nothing that can be done.
    pub const UNPROCESSABLE_CONTENT: Status = Status(422);
    /// Say which version you mean; see `If-Match`.
    pub const PRECONDITION_REQUIRED: Status = Status(428);
    /// The client asks too often; see `Retry-After`.
    pub const TOO_MANY_REQUESTS: Status = Status(429);
    /// The head is over the limit.
    pub const HEAD_TOO_LARGE: Status = Status(431);
    /// Our fault.
    pub const INTERNAL_SERVER_ERROR: Status = Status(500);
    /// Nobody here knows this method or coding.
    pub const NOT_IMPLEMENTED: Status = Status(501);
    /// Whom we asked gave no sound answer.
    pub const BAD_GATEWAY: Status = Status(502);
    /// Full, or draining; try again later.
    pub const SERVICE_UNAVAILABLE: Status = Status(503);
    /// The answer did not come in time.
    pub const GATEWAY_TIMEOUT: Status = Status(504);
    /// A version of HTTP that is not spoken here.
    pub const VERSION_NOT_SUPPORTED: Status = Status(505);

    /// Every status this server may send, in rising order.
    pub const ALL: [Status; 37] = [
        Status::CONTINUE,
        Status::OK,
        Status::CREATED,
        Status::ACCEPTED,
        Status::NO_CONTENT,
        Status::PARTIAL_CONTENT,
        Status::MOVED_PERMANENTLY,
        Status::FOUND,
        Status::SEE_OTHER,
        Status::NOT_MODIFIED,
        Status::TEMPORARY_REDIRECT,
        Status::PERMANENT_REDIRECT,
        Status::BAD_REQUEST,
        Status::UNAUTHORIZED,
        Status::FORBIDDEN,
        Status::NOT_FOUND,
        Status::METHOD_NOT_ALLOWED,
        Status::NOT_ACCEPTABLE,
        Status::REQUEST_TIMEOUT,
        Status::CONFLICT,
        Status::GONE,
        Status::PRECONDITION_FAILED,
        Status::CONTENT_TOO_LARGE,
        Status::URI_TOO_LONG,
        Status::UNSUPPORTED_MEDIA_TYPE,
        Status::RANGE_NOT_SATISFIABLE,
        Status::EXPECTATION_FAILED,
        Status::UNPROCESSABLE_CONTENT,
        Status::PRECONDITION_REQUIRED,
        Status::TOO_MANY_REQUESTS,
        Status::HEAD_TOO_LARGE,
        Status::INTERNAL_SERVER_ERROR,
        Status::NOT_IMPLEMENTED,
        Status::BAD_GATEWAY,
        Status::SERVICE_UNAVAILABLE,
        Status::GATEWAY_TIMEOUT,
        Status::VERSION_NOT_SUPPORTED,
    ];

    /// The status of that number, from 100 to 599 (RFC 9110 section 15): whatever an upstream answers, ours
    /// to pass on.
    #[must_use]
    pub const fn from_code(code: u16) -> Option<Status> {
        if code >= 100 && code <= 599 { Some(Status(code)) } else { None }
    }

    /// Number and reason phrase as a line of text, `404 Not Found\n`: the body of a short answer, and
    /// what the status line says. Empty for a status that few would know.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self.0 {
            100 => "100 Continue\n",
            101 => "101 Switching Protocols\n",
            103 => "103 Early Hints\n",
            200 => "200 OK\n",
            201 => "201 Created\n",
            202 => "202 Accepted\n",
            203 => "203 Non-Authoritative Information\n",
            204 => "204 No Content\n",
            205 => "205 Reset Content\n",
            206 => "206 Partial Content\n",
            207 => "207 Multi-Status\n",
            300 => "300 Multiple Choices\n",
            301 => "301 Moved Permanently\n",
            302 => "302 Found\n",
            303 => "303 See Other\n",
            304 => "304 Not Modified\n",
            307 => "307 Temporary Redirect\n",
            308 => "308 Permanent Redirect\n",
            400 => "400 Bad Request\n",
            401 => "401 Unauthorized\n",
            402 => "402 Payment Required\n",
            403 => "403 Forbidden\n",
            404 => "404 Not Found\n",
            405 => "405 Method Not Allowed\n",
            406 => "406 Not Acceptable\n",
            408 => "408 Request Timeout\n",
            409 => "409 Conflict\n",
            410 => "410 Gone\n",
            411 => "411 Length Required\n",
            412 => "412 Precondition Failed\n",
            413 => "413 Content Too Large\n",
            414 => "414 URI Too Long\n",
            415 => "415 Unsupported Media Type\n",
            416 => "416 Range Not Satisfiable\n",
            417 => "417 Expectation Failed\n",
            421 => "421 Misdirected Request\n",
            422 => "422 Unprocessable Content\n",
            423 => "423 Locked\n",
            424 => "424 Failed Dependency\n",
            425 => "425 Too Early\n",
            426 => "426 Upgrade Required\n",
            428 => "428 Precondition Required\n",
            429 => "429 Too Many Requests\n",
            431 => "431 Request Header Fields Too Large\n",
            451 => "451 Unavailable For Legal Reasons\n",
            500 => "500 Internal Server Error\n",
            501 => "501 Not Implemented\n",
            502 => "502 Bad Gateway\n",
            503 => "503 Service Unavailable\n",
            504 => "504 Gateway Timeout\n",
            505 => "505 HTTP Version Not Supported\n",
            507 => "507 Insufficient Storage\n",
            508 => "508 Loop Detected\n",
            511 => "511 Network Authentication Required\n",
            _ => "",
        }
    }

    /// The standard reason phrase.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.text().get(4..).unwrap_or_default().trim_end()
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }

    /// The hundreds: 2 for 204.
    #[must_use]
    pub const fn class(self) -> u16 {
        self.0 / 100
    }

    /// Whether answers with this status end behind their head (RFC 9110 section 6.4.1).
    #[must_use]
    pub const fn is_bodiless(self) -> bool {
        self.0 < 200 || self.0 == 204 || self.0 == 304
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            "" => write!(out, "{}", self.0),
            text => out.write_str(text.trim_end()),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_reason_and_three_digits() {
        for status in Status::ALL {
            assert!((100..600).contains(&status.code()));
            assert!(!status.reason().is_empty());
            assert_eq!(status.text(), format!("{} {}\n", status.code(), status.reason()));
        }
    }

    /// Upstreams answer with statuses that nobody here ever would.
    #[test]
    fn statuses_of_others_show_their_number() {
        assert_eq!(Status::from_code(404), Some(Status::NOT_FOUND));
        assert_eq!(Status::from_code(418).map(|status| status.to_string()).as_deref(), Some("418"));
        assert_eq!((Status::from_code(99), Status::from_code(600)), (None, None));
    }

    #[test]
    fn informational_204_and_304_have_no_body() {
        let bodiless: Vec<u16> = Status::ALL.iter().filter(|s| s.is_bodiless()).map(|s| s.code()).collect();
        assert_eq!(bodiless, [100, 204, 304]);
    }
}
