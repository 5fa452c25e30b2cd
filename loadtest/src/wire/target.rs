//! What is asked of whom: the address, the bytes of a request, what a right answer is.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::wire::answer::Expected;

/// Requests in the prepared block, so that a pipelined batch is one `send`.
const BATCH_BYTES: usize = 64 * 1024;

/// Everything a connection needs to know about the other side.
#[derive(Clone, Debug)]
pub struct Target {
    pub address: SocketAddr,
    pub expected: Expected,
    pub is_head_request: bool,
    /// The request, as many times over as is useful.
    batch: Vec<u8>,
    request_bytes: usize,
}

/// A request before it is bytes.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub method: String,
    pub path: String,
    /// With the port, where it is not 80.
    pub host: String,
    /// `Name: value`.
    pub fields: Vec<String>,
    pub body: Vec<u8>,
    /// Asks for the end of the connection with the answer.
    pub closes: bool,
}

/// The parts of an `http://` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub host: String,
    pub port: u16,
    pub path: String,
}

impl Target {
    /// Puts the request into bytes.
    pub fn new(address: SocketAddr, question: &Question, expected: Expected) -> Target {
        let request = question.encode();
        let times = (BATCH_BYTES / request.len()).max(1);
        Target {
            address,
            expected,
            is_head_request: question.method == "HEAD",
            request_bytes: request.len(),
            batch: request.repeat(times),
        }
    }

    /// Bytes of one request.
    pub fn request_bytes(&self) -> u64 {
        self.request_bytes as u64
    }

    /// The next bytes to send when so many are owed: a request that was cut goes on where it was.
    pub fn owed(&self, owed: u64) -> &[u8] {
        let of_current = owed % self.request_bytes();
        let from = if of_current == 0 { 0 } else { self.request_bytes - of_current as usize };
        let rest = &self.batch[from..];
        &rest[..rest.len().min(usize::try_from(owed).unwrap_or(usize::MAX))]
    }
}

impl Question {
    /// Puts it into bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.path, self.host);
        for field in &self.fields {
            head += field;
            head += "\r\n";
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        if self.closes {
            head += "Connection: close\r\n";
        }
        head += "\r\n";
        [head.as_bytes(), &self.body].concat()
    }
}

impl Url {
    /// Reads `http://host[:port][/path]`; the scheme may be left out.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Url, String> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => return Err(format!("{scheme}:// is not spoken here, only http://")),
            None => text,
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) if rest[at..].starts_with('/') => (&rest[..at], rest[at..].to_string()),
            Some(at) => (&rest[..at], format!("/{}", &rest[at..])),
            None => (rest, "/".to_string()),
        };
        let path = path.split('#').next().unwrap_or("/").to_string();
        if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(format!("{text:?} has a space or control character in its path; write %20"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("{port:?} is not a port"))?)
            }
            _ => (authority, 80),
        };
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Ok(Url { host: host.to_string(), port, path })
    }

    /// What `Host` says.
    pub fn authority(&self) -> String {
        match self.port {
            80 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// The first address the name has.
    ///
    /// # Errors
    /// When it has none, or is not of this host and that was not allowed.
    pub fn resolve(&self, may_leave_host: bool) -> Result<SocketAddr, String> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut all = (host, self.port)
            .to_socket_addrs()
            .map_err(|error| format!("cannot find the address of {host}: {error}"))?;
        let address = all.next().ok_or_else(|| format!("{host} has no address"))?;
        if !address.ip().is_loopback() && !may_leave_host {
            return Err(format!(
                "{} is not this host; load is sent elsewhere only with --allow-remote, and only ever to \
                 machines that are yours",
                address.ip()
            ));
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(question: &Question) -> Target {
        Target::new("127.0.0.1:1".parse().unwrap(), question, Expected::default())
    }

    fn get() -> Question {
        Question { method: "GET".into(), path: "/a".into(), host: "h:1".into(), ..Question::default() }
    }

    #[test]
    fn a_request_that_was_cut_goes_on_where_it_was() {
        let target = target(&get());
        let one = b"GET /a HTTP/1.1\r\nHost: h:1\r\n\r\n";
        let (size, mut owed, mut sent) = (one.len() as u64, 3 * one.len() as u64, Vec::new());
        assert_eq!(target.request_bytes(), size);
        while owed > 0 {
            let piece = &target.owed(owed)[..target.owed(owed).len().min(7)];
            sent.extend_from_slice(piece);
            owed -= piece.len() as u64;
        }
        assert_eq!(sent, one.repeat(3));
    }

    #[test]
    fn a_body_has_its_length() {
        let question = Question { method: "POST".into(), body: b"abc".to_vec(), closes: true, ..get() };
        let bytes = question.encode();
        let expected = "POST /a HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn urls_are_read_as_people_write_them() {
        let url = |text| Url::parse(text).map(|url| (url.authority(), url.path));
        assert_eq!(url("http://127.0.0.1:8080/a?b#c"), Ok(("127.0.0.1:8080".into(), "/a?b".into())));
        assert_eq!(url("localhost"), Ok(("localhost".into(), "/".into())));
        assert_eq!(url(":8080/x"), Ok(("127.0.0.1:8080".into(), "/x".into())));
        assert_eq!(url("[::1]:80?q"), Ok(("[::1]".into(), "/?q".into())));
        assert!(url("https://a").unwrap_err().contains("only http://"));
        assert!(url("http://a:b/").unwrap_err().contains("not a port"));
        assert!(url("http://a/b c").unwrap_err().contains("%20"));
    }

    #[test]
    fn other_hosts_are_refused_unless_allowed() {
        let url = Url::parse("http://192.0.2.1:80/").unwrap();
        assert!(url.resolve(false).unwrap_err().contains("--allow-remote"));
        assert!(url.resolve(true).is_ok());
        assert!(Url::parse("http://127.9.9.9:1").unwrap().resolve(false).is_ok());
        assert!(Url::parse("http://[::1]:1").unwrap().resolve(false).is_ok());
    }
}
