//! A request head as an index of offsets, and a view that reads it.
//!
//! An index never points: offsets survive the sliding and moving of the buffer they belong to. A [`Request`]
//! borrows index and bytes together, so nothing can refill the buffer while somebody reads it.
//! Not here: who writes an index (`proto::h1::head`), and what a request leads to (`gateway`).

use crate::base::short::is_same;
use crate::http::Method;

/// The longest head that spans can describe; configuration may lower it, never raise it.
pub const HEAD_BYTES_MAX: usize = 65_535;
/// The most fields one head may have; configuration may lower it, never raise it.
pub const FIELDS_MAX: usize = 128;

const _: () = assert!(HEAD_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(FIELDS_MAX <= u8::MAX as usize);

/// Where something lies, counted from the first byte of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    len: u16,
}

impl Span {
    /// The span of `len` bytes from `start`. Both must lie within [`HEAD_BYTES_MAX`].
    #[must_use]
    pub fn new(start: usize, len: usize) -> Span {
        debug_assert!(start + len <= HEAD_BYTES_MAX);
        Span { start: start as u16, len: len as u16 }
    }

    /// The bytes it covers.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[usize::from(self.start)..usize::from(self.start) + usize::from(self.len)]
    }

    /// The first byte's offset.
    #[must_use]
    pub fn start(self) -> usize {
        usize::from(self.start)
    }

    /// How many bytes it covers.
    #[must_use]
    pub fn len(self) -> usize {
        usize::from(self.len)
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// Where one field line's name and value lie; white space around the value is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldSpan {
    /// The name, as it was sent.
    pub name: Span,
    /// The value, trimmed.
    pub value: Span,
}

/// The versions that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How the body of a request is delimited (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes follow the head; never 0.
    Length(u64),
    /// Chunks follow the head.
    Chunked,
}

/// Where the parts of one head lie.
///
/// Large, so there is one scratch copy per reactor; the request at hand is the only one that uses it.
#[derive(Clone, Debug)]
pub struct HeadIndex {
    /// The method.
    pub method: Method,
    /// The version.
    pub version: Version,
    /// How the body is delimited.
    pub framing: Framing,
    /// Whether the client asks to keep the connection (RFC 9112 section 9.3).
    pub persistent: bool,
    /// Whether the client waits for 100 before it sends the body (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
    /// Whether `Connection` says more than whether it stays, so that its options must be looked at.
    pub names_options: bool,
    /// The request line without its line end, for logs.
    pub line: Span,
    /// The path as sent, without the query.
    pub path: Span,
    /// The query without its `?`; empty when there is none.
    pub query: Span,
    /// The authority: of the target in absolute form, else of `Host` (RFC 9112 section 3.2.2). May be empty.
    pub host: Span,
    /// The length of the head, final empty line included.
    pub head_len: u16,
    /// How many of `fields` are in use.
    pub field_count: u8,
    /// The field lines in the order sent.
    pub fields: [FieldSpan; FIELDS_MAX],
    /// The last authority found valid.
    pub known_host: KnownHost,
    /// The path decoded and without dot segments, where that differs from the path as sent.
    pub plain_path: Option<String>,
}

/// An authority that was checked before: most requests to a server name the same one, and comparing it is a
/// tenth of checking it again.
#[derive(Clone, Debug)]
pub struct KnownHost {
    bytes: [u8; KnownHost::LEN_MAX],
    len: u8,
}

impl KnownHost {
    /// Longer ones are checked each time.
    const LEN_MAX: usize = 63;

    /// Whether this is the one.
    #[must_use]
    #[inline]
    pub fn is(&self, authority: &[u8]) -> bool {
        is_same(&self.bytes[..usize::from(self.len)], authority)
    }

    /// Remembers this one instead.
    pub fn set(&mut self, authority: &[u8]) {
        if let Some(bytes) = self.bytes.get_mut(..authority.len()) {
            bytes.copy_from_slice(authority);
            self.len = authority.len() as u8;
        }
    }
}

impl Default for KnownHost {
    fn default() -> KnownHost {
        KnownHost { bytes: [0; KnownHost::LEN_MAX], len: 0 }
    }
}

impl Default for HeadIndex {
    fn default() -> HeadIndex {
        HeadIndex {
            method: Method::Unknown,
            version: Version::Http11,
            framing: Framing::None,
            persistent: false,
            expects_continue: false,
            names_options: false,
            line: Span::default(),
            path: Span::default(),
            query: Span::default(),
            host: Span::default(),
            head_len: 0,
            field_count: 0,
            known_host: KnownHost::default(),
            fields: [FieldSpan::default(); FIELDS_MAX],
            plain_path: None,
        }
    }
}

impl HeadIndex {
    /// Makes it describe what another describes. Of the large array only what is in use is touched.
    pub fn copy_from(&mut self, other: &HeadIndex) {
        let count = usize::from(other.field_count);
        self.method = other.method;
        self.version = other.version;
        self.framing = other.framing;
        self.persistent = other.persistent;
        self.expects_continue = other.expects_continue;
        self.names_options = other.names_options;
        self.line = other.line;
        self.path = other.path;
        self.query = other.query;
        self.host = other.host;
        self.head_len = other.head_len;
        self.field_count = other.field_count;
        self.fields[..count].copy_from_slice(&other.fields[..count]);
        self.plain_path.clone_from(&other.plain_path);
    }

    /// The field lines in the order sent.
    #[must_use]
    pub fn fields(&self) -> &[FieldSpan] {
        &self.fields[..usize::from(self.field_count)]
    }
}

/// A request's head as handlers see it. Copies nothing.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    index: &'a HeadIndex,
    bytes: &'a [u8],
}

impl<'a> Request<'a> {
    /// A view of the head that `index` describes and `bytes` begin with.
    #[must_use]
    pub fn new(index: &'a HeadIndex, bytes: &'a [u8]) -> Request<'a> {
        debug_assert!(usize::from(index.head_len) <= bytes.len());
        Request { index, bytes }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.index.method
    }

    /// The method as sent, for one that is [`Method::Unknown`] here and known to another.
    #[must_use]
    pub fn method_token(&self) -> &'a [u8] {
        self.line().split(|byte| *byte == b' ').next().unwrap_or_default()
    }

    /// The version the client speaks.
    #[must_use]
    pub fn version(&self) -> Version {
        self.index.version
    }

    /// How the body is delimited.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.index.framing
    }

    /// The path: decoded once, without dot segments or doubled slashes. Begins with `/`, or is `*`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        // The head's reader lets only UTF-8 pass; an empty path is unreachable and harmless.
        std::str::from_utf8(self.path_bytes()).unwrap_or_default()
    }

    /// [`path`](Request::path) as bytes, which spares looking at them again.
    #[must_use]
    #[inline]
    pub fn path_bytes(&self) -> &'a [u8] {
        match &self.index.plain_path {
            Some(path) => path.as_bytes(),
            None => self.index.path.of(self.bytes),
        }
    }

    /// The path exactly as sent.
    #[must_use]
    pub fn raw_path(&self) -> &'a [u8] {
        self.index.path.of(self.bytes)
    }

    /// The query as sent, without its `?`; empty when there is none.
    #[must_use]
    pub fn query(&self) -> &'a [u8] {
        self.index.query.of(self.bytes)
    }

    /// Path and query as sent, where the path was sent as it is understood: nothing in it was decoded.
    #[must_use]
    pub fn plain_target(&self) -> Option<&'a [u8]> {
        if self.index.plain_path.is_some() {
            return None;
        }
        let (path, query) = (self.index.path, self.index.query);
        let end = if query.is_empty() { path.start() + path.len() } else { query.start() + query.len() };
        self.bytes.get(path.start()..end)
    }

    /// The host and port the client addressed; empty when it named none.
    #[must_use]
    pub fn host(&self) -> &'a [u8] {
        self.index.host.of(self.bytes)
    }

    /// The request line as sent, for logs.
    #[must_use]
    pub fn line(&self) -> &'a [u8] {
        self.index.line.of(self.bytes)
    }

    /// Index and bytes, for who writes the head anew.
    #[must_use]
    #[inline]
    pub(crate) fn parts(&self) -> (&'a HeadIndex, &'a [u8]) {
        (self.index, self.bytes)
    }

    /// The value of the first field of that name, in any case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields_named(name).next()
    }

    /// The values of every field of that name, in the order sent.
    pub fn fields_named<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.fields()
            .filter(move |(sent, _)| sent.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Every field's name and value, in the order sent.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let bytes = self.bytes;
        self.index.fields().iter().map(move |field| (field.name.of(bytes), field.value.of(bytes)))
    }
}
