//! Which fields are for one connection and which for whoever is at the far end (RFC 9110 section 7.6.1).
//!
//! Names are told apart by their length first: most fields are none of these.

/// Options of `Connection` that are looked at one by one. Nobody sends so many but to keep us busy: beyond
/// them every field that may be named counts as named.
const OPTIONS_MAX: usize = 32;

/// Whether a field is of that name, in any case and with `_` for `-`: programs behind CGI and its heirs
/// cannot tell such twins apart. `wanted` is in lower case.
#[inline]
pub(super) fn is_like(name: &[u8], wanted: &[u8]) -> bool {
    name.len() == wanted.len() && name.iter().zip(wanted).all(|(sent, want)| folded(*sent) == *want)
}

/// Lower case, and `-` for `_`.
#[inline]
pub(super) fn folded(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}

/// What `Connection` says of the connection itself (RFC 9112 section 9.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Persistence {
    close: bool,
    keep_alive: bool,
    /// Whether it says more than that, for who passes the message on.
    pub names_options: bool,
}

impl Persistence {
    /// A value of `Connection`.
    #[inline(never)]
    pub(super) fn note(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            let (close, keep_alive) =
                (option.eq_ignore_ascii_case(b"close"), option.eq_ignore_ascii_case(b"keep-alive"));
            self.close |= close;
            self.keep_alive |= keep_alive;
            self.names_options |= !close && !keep_alive && !option.is_empty();
        }
    }

    /// Whether it stays: `close` wins over `keep-alive`, which only HTTP/1.0 needs.
    pub(super) fn stays(self, is_http11: bool) -> bool {
        !self.close && (is_http11 || self.keep_alive)
    }
}

/// The fields that `Connection` names, so that they end here.
#[derive(Default)]
pub(super) struct Named<'a> {
    options: Vec<&'a [u8]>,
    is_over: bool,
}

impl<'a> Named<'a> {
    /// The options in all those values of `Connection`.
    #[cold]
    pub(super) fn of(values: impl Iterator<Item = &'a [u8]>) -> Named<'a> {
        let mut named = Named::default();
        let options = values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        for option in options.filter(|option| !option.is_empty()) {
            named.is_over = named.options.len() == OPTIONS_MAX;
            if named.is_over {
                break;
            }
            named.options.push(option);
        }
        named
    }

    /// Whether the field ends here.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        if self.options.is_empty() || is_for_all(name) {
            return false;
        }
        self.is_over || self.options.iter().any(|option| option.eq_ignore_ascii_case(name))
    }
}

/// Fields that are meant for everybody on the way, and that `Connection` has no business naming (RFC 9110
/// section 7.6.1 forbids it): somebody between us and the origin of the message relies on them, and a peer
/// that could have them taken out would speak for another. `X-Forwarded-For` in `Connection` once made a
/// proxy's word vanish behind it.
fn is_for_all(name: &[u8]) -> bool {
    const FOR_ALL: [&[u8]; 16] = [
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"cookie",
        b"date",
        b"forwarded",
        b"host",
        b"location",
        b"origin",
        b"range",
        b"set-cookie",
        b"vary",
        b"www-authenticate",
        b"x-real-ip",
    ];
    is_forwarding(name) || FOR_ALL.iter().any(|wanted| name.eq_ignore_ascii_case(wanted))
}

/// RFC 9110 section 6.5.1: whether a field may come as a trailer. Not one that frames, routes, authenticates,
/// or otherwise decides about what came before it: some programs merge trailers with the fields of the head.
#[must_use]
pub fn is_trailer_allowed(name: &[u8]) -> bool {
    const FORBIDDEN: [&[u8]; 40] = [
        b"accept-ranges",
        b"age",
        b"allow",
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-type",
        b"cookie",
        b"date",
        b"expect",
        b"expires",
        b"forwarded",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"location",
        b"max-forwards",
        b"origin",
        b"pragma",
        b"proxy",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"range",
        b"retry-after",
        b"server",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"vary",
        b"via",
        b"warning",
        b"www-authenticate",
        b"x-real-ip",
    ];
    let is_condition = name.get(..3).is_some_and(|begin| is_like(begin, b"if-"));
    !is_condition && !is_forwarding(name) && !FORBIDDEN.iter().any(|wanted| is_like(name, wanted))
}

/// `X-Forwarded-` and whatever follows.
#[inline]
pub(super) fn is_forwarding(name: &[u8]) -> bool {
    const BEGIN: &[u8] = b"x-forwarded-";
    matches!(name, [b'x' | b'X', b'-' | b'_', b'f' | b'F', ..])
        && name.get(..BEGIN.len()).is_some_and(|begin| is_like(begin, BEGIN))
}
