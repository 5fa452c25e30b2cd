//! Where a server listens, as it is written behind `servers` and `proxy`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::config::site::Address;
use crate::config::values::unix_path;

const FORMS: &str = "write http://HOST:PORT or unix:PATH";

/// `http://HOST[:PORT]`, `HOST:PORT`, `:PORT`, `PORT` or `unix:PATH`. Relative paths begin at `folder`.
pub(in crate::config) fn server(text: &str, folder: &Path) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = unix_path(path)?;
        let path = folder.join(path);
        return unix_path(&path.to_string_lossy()).map(Address::Unix);
    }
    let (rest, port) = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (rest, Some(80)),
        Some((scheme, _)) => return Err(other_scheme(scheme)),
        None => (text, None),
    };
    if let Some(path) = rest.strip_prefix("unix:") {
        return Err(format!("for a unix socket write unix:{}", path.trim_end_matches(':')));
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    match authority {
        "" => Err(format!("no address given; {FORMS}")),
        _ if authority.contains(['/', '?', '#']) => {
            Err(String::from("a server has no path; use strip-prefix or rewrite in the route"))
        }
        _ if authority.contains('@') => {
            Err(String::from("a server's address holds no password; take it out"))
        }
        _ => host_and_port(authority, port),
    }
}

fn other_scheme(scheme: &str) -> String {
    match scheme.eq_ignore_ascii_case("https") {
        true => String::from(
            "https:// upstreams are not yet supported; write http://, or put a TLS tunnel between",
        ),
        false => format!("{scheme}:// is not spoken here; {FORMS}"),
    }
}

fn host_and_port(text: &str, usual_port: Option<u16>) -> Result<Address, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return checked_port(address.port()).map(|_| Address::Socket(address));
    }
    if let Ok(port) = text.parse::<u16>() {
        return checked_port(port).map(|port| Address::Socket((Ipv4Addr::LOCALHOST, port).into()));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        let port = usual_port.ok_or_else(|| format!("no port; write {}", SocketAddr::new(ip, 8080)))?;
        return Ok(Address::Socket(SocketAddr::new(ip, port)));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => {
            let number = port.parse().map_err(|_| format!("`{port}` is no port; {FORMS}"))?;
            (host, checked_port(number)?)
        }
        None => (text, usual_port.ok_or_else(|| format!("no port; {FORMS}"))?),
    };
    match host {
        "" => Ok(Address::Socket((Ipv4Addr::LOCALHOST, port).into())),
        _ => host_name(host).map(|host| Address::Name(host, port)),
    }
}

fn checked_port(port: u16) -> Result<u16, String> {
    match port {
        0 => Err(String::from("nobody listens on port 0; write the server's")),
        _ => Ok(port),
    }
}

/// A name that can be looked up, in lower case.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    const BYTES_MAX: usize = 253;
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let labels = text.strip_suffix('.').unwrap_or(text);
    // `1.2.3` and `0x7f.1` are names to some and addresses to others.
    let last = labels.rsplit('.').next().unwrap_or_default();
    let is_number_like = last.starts_with(|letter: char| letter.is_ascii_digit())
        && last.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'x');
    match text.len() <= BYTES_MAX && labels.split('.').all(is_label) && !is_number_like {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!("`{text}` is no name of a host; write letters, digits, dashes and dots")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn read(text: &str) -> Result<Address, String> {
        server(text, Path::new("/etc"))
    }

    #[test]
    fn servers_are_written_in_many_ways() {
        let socket = |text: &str| Address::Socket(text.parse().expect(text));
        for (text, meant) in [
            ("http://127.0.0.1:9000", socket("127.0.0.1:9000")),
            ("HTTP://127.0.0.1:9000/", socket("127.0.0.1:9000")),
            ("127.0.0.1:9000", socket("127.0.0.1:9000")),
            (":9000", socket("127.0.0.1:9000")),
            ("9000", socket("127.0.0.1:9000")),
            ("http://10.0.0.1", socket("10.0.0.1:80")),
            ("http://[::1]", socket("[::1]:80")),
            ("[::1]:9000", socket("[::1]:9000")),
            ("http://App.Internal", Address::Name("app.internal".into(), 80)),
            ("app:9000", Address::Name("app".into(), 9000)),
            ("unix:/run/a.sock", Address::Unix(PathBuf::from("/run/a.sock"))),
            ("unix:a.sock", Address::Unix(PathBuf::from("/etc/a.sock"))),
        ] {
            assert_eq!(read(text), Ok(meant), "{text}");
        }
    }

    #[test]
    fn what_is_no_server_is_put_right() {
        for (text, told) in [
            ("", "no address given"),
            ("https://a", "not yet supported"),
            ("ftp://a", "ftp:// is not spoken here"),
            ("http://a:9000/base", "a server has no path"),
            ("http://u:p@a", "no password"),
            ("http://unix:/run/a.sock:", "write unix:/run/a.sock"),
            ("app", "no port"),
            ("10.0.0.1", "no port; write 10.0.0.1:8080"),
            ("app:x", "`x` is no port"),
            ("app:65536", "`65536` is no port"),
            ("app:0", "port 0"),
            ("1.2.3:80", "no name of a host"),
            ("0x7f.1:80", "no name of a host"),
            ("a b:80", "no name of a host"),
            ("a..b:80", "no name of a host"),
            ("unix:", "no path given"),
        ] {
            let problem = read(text).expect_err(text);
            assert!(problem.contains(told), "{text}: {problem}");
        }
    }
}
