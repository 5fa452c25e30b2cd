//! What a gateway is told to do, as plain data: routes, what they pass through, the upstreams behind them.
//!
//! Complete and in one unit per name: whoever has a [`Site`] need not ask for defaults. Names are resolved:
//! a route knows its upstream by its number. How it is written in a file is `config::file`'s business; what
//! is made of it, `gateway::site`'s.

mod guard;
mod name_book;
mod upstream;

use std::path::PathBuf;

use crate::http::{MethodSet, Status};

pub use guard::{
    Algorithm, BasicAuth, ClaimRule, ConcurrencyLimit, Jwt, KeyOf, KeySource, RateLimit, Step, StepKind, User,
};
pub use name_book::NameBook;
pub use upstream::{
    Address, Balance, Breaker, Ejection, Fallback, Health, Retries, ServerSpec, Timeouts, Upstream,
};

use crate::config::Cidr;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Site {
    /// Tried in the order of how closely they match, then in the order written.
    pub routes: Vec<Route>,
    /// What routes pass requests on to.
    pub upstreams: Vec<Upstream>,
    /// What routes make requests pass through.
    pub steps: Vec<Step>,
    /// Whom to believe about who a client is.
    pub trust: Trust,
    /// Files that it was read from besides the configuration's own: keys, passwords, fallbacks.
    pub files: Vec<PathBuf>,
}

/// Whom to believe about who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Peers whose `X-Forwarded-For` and `Forwarded` are believed.
    pub proxies: Vec<Cidr>,
    /// Whether connections begin with a PROXY protocol header, and must.
    pub proxy_protocol: bool,
    /// Connections that one address may have open at once; `None`: no limit.
    pub connections_per_address_max: Option<u32>,
}

/// Which requests it takes, and what becomes of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name in logs and metrics; unique.
    pub name: String,
    /// Hosts it answers for; none: every one.
    pub hosts: Vec<HostPattern>,
    /// Paths it answers for.
    pub path: PathPattern,
    /// Methods it answers; `None`: every one.
    pub methods: Option<MethodSet>,
    /// Fields that must be there.
    pub fields: Vec<FieldMatch>,
    /// What becomes of its requests.
    pub action: Action,
    /// Places in [`Site::steps`], in the order in which requests pass.
    pub steps: Vec<usize>,
    /// Bytes of body it takes. Over it: 413. `None`: the server's limit.
    pub body_bytes_max: Option<u64>,
    /// The line of the file where it begins; 0: no file.
    pub line: u32,
}

impl Route {
    /// Whether no request passes it by.
    #[must_use]
    pub fn takes_everything(&self) -> bool {
        let is_any = self.hosts.is_empty() && self.methods.is_none() && self.fields.is_empty();
        is_any && self.path == PathPattern::Prefix(String::from("/"))
    }
}

/// A host, in lower case, without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// This one.
    Exact(String),
    /// Every host below it: `*.example.com` is `.example.com` here.
    Below(String),
}

/// Which paths a route takes. Paths are compared decoded and without dot segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// This path and all below it: `/api` takes `/api` and `/api/x`, not `/apix`; `/` takes all.
    Prefix(String),
    /// One path, or a pattern with parameters: `/users/{id}`, `/files/{*rest}`.
    Pattern(String),
}

/// A field that must be there, and what it must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMatch {
    /// Its name, in lower case.
    pub name: String,
    /// Its whole value; `None`: any.
    pub value: Option<String>,
}

/// What becomes of a route's requests.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// They are passed on.
    Proxy(Proxy),
    /// They are answered with files.
    Files {
        /// The folder.
        root: PathBuf,
        /// Cut off the path before it is looked up, from the front; empty: nothing.
        strip: String,
    },
    /// They are sent elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: Status,
        /// Where to.
        to: Template,
    },
    /// They all get this.
    Respond(FixedReply),
}

/// An answer that is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedReply {
    /// The status.
    pub status: Status,
    /// What the body is.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// How requests are passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// A place in [`Site::upstreams`].
    pub upstream: usize,
    /// What `Host` says upstream.
    pub host: HostRule,
    /// What the path becomes.
    pub path: PathRule,
    /// Whether a client may switch to another protocol, as WebSocket.
    pub upgrades: bool,
}

/// What `Host` says upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRule {
    /// What the client said.
    Keep,
    /// The server's own name and port.
    Server,
    /// This.
    Set(String),
}

/// What the path becomes upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRule {
    /// What it is.
    Keep,
    /// Without this prefix.
    Strip(String),
    /// This.
    Rewrite(Template),
}

/// Text with holes, as `/v2/{id}` or `https://{host}{path}{query}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As written.
    Text(String),
    /// `{host}`: the host the client named, without its port.
    Host,
    /// `{path}`: the path as it was understood, encoded: without dot segments and doubled slashes.
    Path,
    /// `{query}`: the query with its `?`, or nothing.
    Query,
    /// `{client}`: the client's address.
    Client,
    /// `{request_id}`: the request's name, where it has one.
    RequestId,
    /// Any other name: what stands for it in the route's pattern, encoded again; the number of the name.
    Param(u8),
}

/// A change to a message's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldEdit {
    /// Replaces every field of that name, or adds it.
    Set(String, Template),
    /// Adds a field.
    Add(String, Template),
    /// Takes every field of that name out.
    Remove(String),
}
