//! The page at `/` of a server that was told nothing else: what is served, the flags in use, what to try
//! first.
//!
//! Written once, at the start; every value in it is escaped. It loads nothing, runs nothing, and its policy
//! says so.
//! What it links to is not served here: see `server`, which puts the endpoints together.

use std::net::SocketAddr;

use crate::config::{Config, Listen, Setting};
use crate::gateway::exchange::Exchange;
use crate::gateway::handler::{BodyPlan, Handler};
use crate::http::{Body, Fields, Response, Status};

const TEMPLATE: &str = include_str!("welcome.html");

const FIELDS: &str = "Content-Type: text/html; charset=utf-8\r\n\
    Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Cache-Control: no-cache\r\n";

/// What `--demo` adds.
const DEMO: &str = "<p class=\"row\"><a href=\"/work?ms=50\">/work</a>\
    <span>keeps a worker waiting for so many milliseconds</span></p>\n\
    <p class=\"row\"><a href=\"/cpu?us=200\">/cpu</a>\
    <span>keeps a worker computing for so many microseconds</span></p>\n";

/// See the module.
pub struct Welcome {
    page: Vec<u8>,
}

impl Welcome {
    /// The page of a server with these settings, which listens there: with the ports that the kernel chose.
    #[must_use]
    pub fn new(config: &Config, listen: &[Listen]) -> Welcome {
        // Values come last, so that braces in them stay what they are.
        let page = TEMPLATE
            .replace("{version}", env!("CARGO_PKG_VERSION"))
            .replace("{demo}", if config.fixed.demo { DEMO } else { "" })
            .replace("{commands}", &commands(listen))
            .replace("{settings}", &settings(&config.changed()));
        Welcome { page: page.into_bytes() }
    }
}

impl Handler for Welcome {
    fn body(&self) -> BodyPlan {
        BodyPlan::Ignore
    }

    fn handle(&self, _: &mut Exchange<'_>) -> Response {
        // A copy per request is fine for a page that people look at; benchmarks have `/plaintext`.
        let body = Body::Owned(self.page.clone());
        Response { status: Status::OK, fields: Fields::fixed(FIELDS), body }
    }
}

/// What to type first, a line each. Load generators speak TCP only.
fn commands(listen: &[Listen]) -> String {
    let lines = match listen.first() {
        Some(Listen::Tcp(address)) => {
            let at = reachable(*address);
            vec![
                format!("curl --data-binary 'any body' http://{at}/echo"),
                format!("wrk -t2 -c64 -d10s --latency http://{at}/plaintext"),
                format!("ab -k -c64 -n200000 http://{at}/plaintext"),
            ]
        }
        Some(Listen::Unix(path)) => {
            let path = path.display();
            vec![
                format!("curl --unix-socket '{path}' http://localhost/plaintext"),
                format!("curl --unix-socket '{path}' --data-binary 'any body' http://localhost/echo"),
            ]
        }
        None => Vec::new(),
    };
    lines.iter().map(|line| format!("<i>$ </i>{}\n", escaped(line))).collect()
}

/// An address that a client on this machine can connect to.
fn reachable(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("localhost:{}", address.port()),
        false => address.to_string(),
    }
}

fn settings(changed: &[Setting]) -> String {
    if changed.is_empty() {
        return String::from("<p class=\"row\"><span>all defaults</span><span></span></p>\n");
    }
    changed.iter().map(setting).collect()
}

fn setting(setting: &Setting) -> String {
    let value = setting.value.as_deref().unwrap_or("not set");
    let (name, value) = (escaped(setting.name), escaped(value));
    format!("<p class=\"row\"><span>--{name}</span><code>{value}</code></p>\n")
}

/// For text between tags and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;
    use crate::gateway::Gateway;
    use crate::gateway::handler::{Alive, Echo, Json, Lifecycle, Metrics, Plaintext, Ready};
    use crate::http::{HeadIndex, Method, Request, Span};
    use crate::observe::log::Log;

    const PAGE_BYTES_MAX: usize = 8 * 1024;

    fn page(config: &Config, listen: &[Listen]) -> String {
        String::from_utf8(Welcome::new(config, listen).page).unwrap()
    }

    fn rooted_at(root: &str) -> Config {
        let mut config = Config::default();
        config.fixed.root = Some(PathBuf::from(root));
        config
    }

    /// What the server serves by default.
    fn gateway() -> Gateway {
        let lifecycle = Arc::new(Lifecycle::default());
        let metrics = Metrics {
            site: Arc::default(),
            reloads: Arc::default(),
            keeper: Arc::default(),
            tallies: Vec::new(),
            worker_tallies: Vec::new(),
            lifecycle: Arc::clone(&lifecycle),
            log: Log::silent(),
            start_unix_seconds: 0,
            connections_max: 1,
            descriptor_limit: 1,
            accept: ("hash", String::new()),
        };
        let config = Config::default();
        Gateway::new()
            .with("/", Welcome::new(&config, &config.fixed.listen))
            .with("/plaintext", Plaintext)
            .with("/json", Json)
            .with("/echo", Echo)
            .with("/healthz", Alive)
            .with("/readyz", Ready(lifecycle))
            .with("/metrics", metrics)
    }

    fn answer(gateway: &Gateway, method: Method, path: &str) -> Response {
        let index = HeadIndex { method, path: Span::new(0, path.len()), ..HeadIndex::default() };
        gateway.answer(Request::new(&index, path.as_bytes())).expect("answered at the head")
    }

    #[test]
    fn every_link_leads_somewhere() {
        let gateway = gateway();
        let page = page(&Config::default(), &Config::default().fixed.listen);
        let links: Vec<&str> =
            page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(links, ["/plaintext", "/json", "/healthz", "/readyz", "/metrics"]);
        for link in links {
            assert_eq!(answer(&gateway, Method::Get, link).status, Status::OK, "{link}");
        }
        assert!(page.contains("/echo"));
        assert_eq!(answer(&gateway, Method::Post, "/echo").status, Status::OK);
    }

    #[test]
    fn what_keeps_workers_busy_is_linked_where_it_is_served() {
        let mut config = Config::default();
        let listen = config.fixed.listen.clone();
        assert!(!page(&config, &listen).contains("/work"));
        config.fixed.demo = true;
        let page = page(&config, &listen);
        assert!(page.contains("href=\"/work?ms=50\"") && page.contains("href=\"/cpu?us=200\""), "{page}");
    }

    #[test]
    fn the_page_allows_itself_nothing_but_its_style() {
        let answer = answer(&gateway(), Method::Get, "/");
        let fields = String::from_utf8(answer.fields.lines().concat()).unwrap();
        let policy = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n";
        assert!(fields.contains(policy), "{fields}");
        for word in ["<script", "<link", "<img", "url(", "@import", "src=", "http:", "https:"] {
            assert!(!TEMPLATE.contains(word), "{word}");
        }
    }

    #[test]
    fn values_cannot_become_markup() {
        let config = rooted_at("/srv/<script>alert(\"1\")</script>&'{commands}");
        let page = page(&config, &config.fixed.listen);
        assert!(!page.contains("<script"), "{page}");
        let escaped = "/srv/&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;{commands}";
        assert!(page.contains(escaped), "{page}");
        let socket = Listen::Unix(PathBuf::from("/run/<b>"));
        assert!(!self::page(&Config::default(), &[socket]).contains("<b>"));
    }

    #[test]
    fn only_what_was_changed_is_listed() {
        let listen = Config::default().fixed.listen;
        assert!(page(&Config::default(), &listen).contains("all defaults"));
        let changed = page(&rooted_at("/srv"), &listen);
        assert!(changed.contains("--root") && !changed.contains("all defaults"));
        assert!(!changed.contains("--backlog"));
    }

    #[test]
    fn commands_name_an_address_that_can_be_reached() {
        let at = |address: &str| page(&Config::default(), &[Listen::Tcp(address.parse().unwrap())]);
        assert!(at("0.0.0.0:81").contains("http://localhost:81/plaintext"));
        assert!(at("[::]:81").contains("http://localhost:81/plaintext"));
        assert!(at("[::1]:81").contains("http://[::1]:81/plaintext"));
        let unix = page(&Config::default(), &[Listen::Unix(PathBuf::from("/run/a.sock"))]);
        assert!(unix.contains("--unix-socket &#39;/run/a.sock&#39;") && !unix.contains("wrk "));
    }

    #[test]
    fn the_page_is_small_and_whole() {
        let page = page(&Config::default(), &Config::default().fixed.listen);
        assert!(page.len() <= PAGE_BYTES_MAX, "{} bytes", page.len());
        for name in ["{version}", "{demo}", "{commands}", "{settings}"] {
            assert!(TEMPLATE.contains(name) && !page.contains(name), "{name}");
        }
    }
}
