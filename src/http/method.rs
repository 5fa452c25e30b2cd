//! Request methods (RFC 9110 section 9) and sets of them.

use std::fmt;

/// A request method. Case-sensitive; what is not listed is [`Method::Unknown`] and answered 501.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// GET: transfer a representation.
    Get,
    /// HEAD: the head GET would have, without the body.
    Head,
    /// POST: let the resource process the body.
    Post,
    /// PUT: replace the resource by the body.
    Put,
    /// DELETE: remove the resource.
    Delete,
    /// PATCH: change part of the resource (RFC 5789).
    Patch,
    /// OPTIONS: ask what is allowed.
    Options,
    /// CONNECT: only proxies grant it; refused here.
    Connect,
    /// TRACE: reflects credentials; refused here.
    Trace,
    /// A well-formed token nobody here knows.
    Unknown,
}

impl Method {
    /// Every method, in the order of the enum.
    pub const ALL: [Method; 10] = [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Delete,
        Method::Patch,
        Method::Options,
        Method::Connect,
        Method::Trace,
        Method::Unknown,
    ];

    /// Reads a method token. Methods are case-sensitive: `get` is not GET (RFC 9110 section 9.1).
    #[must_use]
    pub fn from_bytes(token: &[u8]) -> Method {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"PATCH" => Method::Patch,
            b"OPTIONS" => Method::Options,
            b"CONNECT" => Method::Connect,
            b"TRACE" => Method::Trace,
            _ => Method::Unknown,
        }
    }

    /// The method as it is written on the wire; `OTHER` for [`Method::Unknown`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Patch => "PATCH",
            Method::Options => "OPTIONS",
            Method::Connect => "CONNECT",
            Method::Trace => "TRACE",
            Method::Unknown => "OTHER",
        }
    }
}

/// The methods a resource answers, as written in `Allow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MethodSet(u16);

impl MethodSet {
    /// What every readable resource answers.
    pub const READ: MethodSet = MethodSet::of(&[Method::Get, Method::Head, Method::Options]);

    /// A set of exactly these methods.
    #[must_use]
    pub const fn of(methods: &[Method]) -> MethodSet {
        let mut bits = 0;
        let mut at = 0;
        while at < methods.len() {
            bits |= 1 << methods[at] as u16;
            at += 1;
        }
        MethodSet(bits)
    }

    /// The methods of both sets.
    #[must_use]
    pub const fn union(self, other: MethodSet) -> MethodSet {
        MethodSet(self.0 | other.0)
    }

    /// Whether the method is in the set.
    #[must_use]
    pub const fn contains(self, method: Method) -> bool {
        self.0 & (1 << method as u16) != 0
    }
}

/// As in `Allow: GET, HEAD, OPTIONS` (RFC 9110 section 10.2.1).
impl fmt::Display for MethodSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = Method::ALL.into_iter().filter(|method| self.contains(*method));
        for (at, method) in members.enumerate() {
            out.write_str(if at == 0 { "" } else { ", " })?;
            out.write_str(method.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_case_sensitive() {
        assert_eq!(Method::from_bytes(b"GET"), Method::Get);
        assert_eq!(Method::from_bytes(b"get"), Method::Unknown);
    }

    #[test]
    fn every_method_reads_back_as_itself() {
        for method in Method::ALL.into_iter().filter(|method| *method != Method::Unknown) {
            assert_eq!(Method::from_bytes(method.as_str().as_bytes()), method);
        }
    }

    #[test]
    fn a_set_writes_itself_as_allow_does() {
        assert_eq!(MethodSet::READ.to_string(), "GET, HEAD, OPTIONS");
        assert!(!MethodSet::READ.contains(Method::Post));
    }
}
