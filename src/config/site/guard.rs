//! What requests pass through on their way to a route's action, as plain data.

use std::path::PathBuf;

use super::FieldEdit;
use crate::config::Cidr;

/// One of the things that requests pass through; routes name it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its name in routes, logs and metrics; unique.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
}

/// What a [`Step`] does.
#[derive(Clone, Debug, PartialEq)]
pub enum StepKind {
    /// Lets so many requests pass in a time. Over it: 429.
    RateLimit(RateLimit),
    /// Lets so many requests be under way at once. Over it: 503.
    Concurrency(ConcurrencyLimit),
    /// Lets clients in by their address. Others: 403.
    Access {
        /// Let in; none: everybody who is not denied.
        allow: Vec<Cidr>,
        /// Kept out, even if allowed.
        deny: Vec<Cidr>,
    },
    /// Lets in who shows a good token. Others: 401.
    Jwt(Jwt),
    /// Lets in who knows a password. Others: 401.
    Basic(BasicAuth),
    /// Changes fields.
    Fields {
        /// Of requests, on their way upstream.
        request: Vec<FieldEdit>,
        /// Of answers.
        response: Vec<FieldEdit>,
    },
    /// Gives every request a name, or keeps the one it has.
    RequestId,
    /// Begins or goes on with a W3C trace, and passes it on.
    Trace,
    /// Lets pages of these origins call; `*` alone: of every one.
    Cors {
        /// Origins as browsers send them.
        origins: Vec<String>,
    },
    /// Adds the fields that make browsers careful.
    SecureFields,
}

/// What a request is counted, balanced or known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOf {
    /// The client's address; of IPv6, its network of 64 bits.
    Client,
    /// The value of a field, by its name in lower case.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
    /// A claim of the token that a JWT step before has found good. Strings, numbers and truth values.
    Claim(String),
    /// All requests together.
    Everybody,
}

/// A token bucket (GCRA) for each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// So many requests...
    pub requests: u32,
    /// ... in so many milliseconds.
    pub per_ms: u32,
    /// How many may come at once, beyond the steady rate; at least 1.
    pub burst: u32,
    /// Who shares a bucket. A request without such a key counts by its client's address.
    pub by: KeyOf,
    /// Keys that are known at once. The table has a fixed size; where it is full, the key that was idle
    /// longest makes room, hence begins anew.
    pub keys_max: u32,
}

/// Requests under way at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    /// So many.
    pub requests: u32,
    /// Who shares the limit.
    pub by: KeyOf,
    /// Keys that are known at once. A key for which there is no room is let in uncounted.
    pub keys_max: u32,
}

/// How tokens are judged (RFC 7519, RFC 8725).
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    /// Keys, each for one algorithm: what a token's head says chooses among them and nothing else.
    pub keys: Vec<KeySource>,
    /// `iss` must be this.
    pub issuer: Option<String>,
    /// `aud` must be, or contain, one of these.
    pub audiences: Vec<String>,
    /// How far clocks may be apart, in seconds; at most 60.
    pub leeway_seconds: u32,
    /// Where the token is: this cookie; `None`: `Authorization: Bearer`.
    pub cookie: Option<String>,
    /// Claims that are passed upstream in fields. What a client sends in such a field is always taken out.
    pub claims: Vec<ClaimRule>,
    /// What `WWW-Authenticate` names.
    pub realm: String,
    /// Whether the token itself goes upstream.
    pub forwards_token: bool,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A secret or a public key that stands in the configuration or a file of its own.
    Local {
        /// For this algorithm only.
        algorithm: Algorithm,
        /// `kid` must be this, where it is said.
        id: Option<String>,
        /// For HS256 the secret's bytes; else the public key as PEM.
        key: Vec<u8>,
    },
    /// A JWKS file (RFC 7517), read at each reload. Keys without `alg` have that of their kind.
    Jwks(PathBuf),
}

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// A claim that is passed upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    /// The claim.
    pub claim: String,
    /// The field that carries it.
    pub field: String,
}

/// Who may come in with a password (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// What `WWW-Authenticate` names.
    pub realm: String,
    /// Who may.
    pub users: Vec<User>,
    /// The field that carries the user's name upstream; what a client sends in it is taken out.
    pub field: Option<String>,
}

/// A name and what its password is hashed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// A hash in its usual spelling: bcrypt `$2b$...`, argon2id `$argon2id$...`.
    pub hash: String,
}
