//! Pages as an operator sees them.

use std::path::PathBuf;

use super::*;
use crate::config::{Raw, Written, load};

const SITE: &str = r#"
max-body = "2m"
[upstream.app]
servers = ["http://127.0.0.1:9000", { url = "http://127.0.0.1:9001", weight = 5 }, { url = "unix:/run/app.sock", backup = true }]
[upstream.users]
servers = ["http://127.0.0.1:9000", "http://127.0.0.1:9001"]
hash-by = "header:x-user"
[middleware.limit]
rate-limit = { requests = 100, per = "1s", burst = 50 }
[middleware.auth]
jwt.keys = { algorithm = "HS256", secret = "0123456789abcdef0123456789abcdef" }
[[route]]
name = "users"
host = "api.example.com"
path = "/users/{id}"
methods = ["GET"]
proxy = "users"
rewrite = "/v2/{id}"
use = ["auth", "limit"]
max-body = "1m"
[[route]]
path = "/old/*"
redirect = "https://{host}{path}{query}"
[[route]]
path = "/app/*"
headers = { x-canary = "1" }
proxy = "app"
strip-prefix = "/app"
upgrades = true
"#;

/// A file that goes with the test.
struct Site(PathBuf);

impl Site {
    fn new(name: &str) -> Site {
        Site::of(name, SITE)
    }

    fn of(name: &str, text: &str) -> Site {
        let path = std::env::temp_dir().join(format!("myriapod-explain-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).expect("a file");
        Site(path)
    }

    /// The page, with the file's name cut short.
    fn asked(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> Result<String, String> {
        let raw = Raw { config: Some(Written::flag(&self.0)), ..Raw::default() };
        let loaded = load(&raw).expect("sound");
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect();
        let from = "192.0.2.1".parse().expect("an address");
        let page = explain(&loaded, &Question { method, url, headers: &headers, from })?;
        Ok(page.replace(&self.0.display().to_string(), "site.toml"))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_page_tells_the_whole_way_of_a_request() {
    let page = Site::new("way").asked("GET", "http://api.example.com/users/7?x=1", &[("X-User", "anna")]);
    assert_eq!(
        page.unwrap(),
        "\
GET http://api.example.com/users/7?x=1

route      users  (site.toml:15)
           api.example.com, /users/{id}
           {id} is 7
passes     1. auth: a token signed by HS256  (site.toml:11)
           2. limit: 100 requests in 1s for each client, 50 at once  (site.toml:9)
body       up to 1m  (site.toml:20)
goes to    upstream users  (site.toml:17)
path       /v2/7  (site.toml:18)
host       as the client says
protocol   HTTP and nothing else
server     the same for the same header x-user
           127.0.0.1:9000  <- this one
           127.0.0.1:9001
waits      connect 1s, first byte 30s, between bytes 30s, with retries 1m
retries    up to 2, while below 20 % of requests
"
    );
}

#[test]
fn where_the_request_does_not_decide_shares_are_told() {
    let page = Site::new("shares").asked("GET", "/app/x", &[("x-canary", "1")]).unwrap();
    for line in [
        "path       without /app  (site.toml:28)",
        "protocol   may switch, as WebSocket  (site.toml:29)",
        "server     in turn, by weight",
        "           127.0.0.1:9000  16 %",
        "           127.0.0.1:9001  83 %",
        "           unix:/run/app.sock  only when all others are out",
    ] {
        assert!(page.lines().any(|told| told == line), "{line}\n{page}");
    }
}

#[test]
fn what_no_route_takes_is_told_with_what_comes_then() {
    let site = Site::new("none");
    let page = site.asked("GET", "/app/x", &[]).unwrap();
    assert!(page.contains("route      none takes it\n"), "{page}");
    assert!(page.contains("then       the built-in endpoints: health\nelse       404 Not Found\n"), "{page}");
    let page = site.asked("POST", "http://api.example.com/users/7", &[]).unwrap();
    assert!(page.contains("refused    405 Method Not Allowed") && page.contains("allowed    GET"), "{page}");
}

#[test]
fn what_all_but_took_a_request_is_told() {
    let site = Site::of(
        "near",
        "[[route]]\npath = \"/api\"\nrespond = \"a\"\n[[route]]\npath = \"/b\"\nhost = \"b.test\"\nrespond = \"b\"\n\
         [[route]]\npath = \"/c\"\nheaders = { x-c = true }\nrespond = \"c\"\n",
    );
    for (path, told) in [
        (
            "/api/x",
            "near       /api, which is that path alone; with what is below it is /api/*  (site.toml:2)",
        ),
        ("/b", "near       b.test/b, which is for the host b.test  (site.toml:5)"),
        ("/c", "near       /c, which wants other headers: x-c  (site.toml:9)"),
    ] {
        let page = site.asked("GET", path, &[]).unwrap();
        assert!(page.lines().any(|line| line == told), "{told}\n{page}");
        assert_eq!(page.matches("\nnear ").count(), 1, "{page}");
    }
    assert!(!site.asked("GET", "/apix", &[]).unwrap().contains("near"));
}

#[test]
fn a_request_that_is_none_is_refused_as_it_would_be() {
    let site = Site::new("refused");
    for (url, headers) in [("/%2f", &[][..]), ("/", &[("Content-Length", "x")]), ("/", &[("Host", "a b")])] {
        let page = site.asked("GET", url, headers).unwrap();
        assert!(page.contains("refused    400 Bad Request: "), "{page}");
    }
    assert!(site.asked("GET", "ftp://a/", &[]).unwrap_err().contains("ftp:// is not spoken here"));
    assert!(site.asked("GET", "a/b", &[]).unwrap_err().contains("write http://a/b or /a/b"));
}

#[test]
fn a_redirect_is_told_with_its_holes_filled() {
    let page = Site::new("redirect").asked("GET", "http://a.example:8080/old/x?y=1", &[]).unwrap();
    let line = "answer     308 Permanent Redirect, to https://a.example/old/x?y=1  (site.toml:23)";
    assert!(page.lines().any(|told| told == line), "{page}");
}
