//! A dump reads back, says where its values came from, and shows who overruled whom.

use std::fs;
use std::path::PathBuf;

use crate::config::raw::{Raw, Written};
use crate::config::{Config, Loaded, load};

/// A folder of its own that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("myriapod-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("public")).expect("a folder");
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn loaded(raw: Raw) -> Loaded {
    load(&raw).unwrap_or_else(|mistakes| {
        panic!("{}", mistakes.iter().map(|mistake| format!("{mistake}\n")).collect::<String>())
    })
}

fn from(path: &std::path::Path) -> Raw {
    Raw { config: Some(Written::flag(path)), ..Raw::default() }
}

/// A route begins on another line in another file.
fn without_lines(mut config: Config) -> Config {
    config.site.routes.iter_mut().for_each(|route| route.line = 0);
    // What stood in some of them stands in the dump itself.
    config.site.files.clear();
    config
}

const SITE: &str = r#"
listen = [":80", "unix:run.sock"]
access-log = "access.log"
root = "public"
max-head = "8k"
server-header = "a \"b\" \\"
pin = [0]
[trust]
proxies = "10.0.0.0/8"
connections-per-address = 5
[upstream."a.b c"]
servers = ["http://app:80", { url = "unix:app.sock", weight = 3, backup = true }]
hash-by = "header:x-user"
total-timeout = "1m"
max-connections = 7
health = { status = "200,300-399", host = "h" }
eject = { slower-than = 3 }
breaker = false
fallback.upstream = "other"
[upstream.other]
servers = [9000]
fallback = { file = "sorry.html", status = 500 }
[upstream.third]
servers = [9001]
fallback = { body = "tab\tquote\"\u0001", content-type = "text/html" }
[middleware.limit]
rate-limit = { requests = 5, per = "90s", by = "cookie:sid" }
[middleware.few]
concurrency = { requests = 5, by = "everybody" }
[middleware.in]
access.deny = "::1"
[middleware.who]
basic = { users-file = "users", field = "x-user" }
[middleware.token]
jwt = { keys = [{ algorithm = "HS256", secret-file = "secret", id = "a" }, { jwks = "keys.json" }, { algorithm = "ES256", key-file = "public.pem" }], issuer = "i", audience = "a", leeway = "5s", claims = { "a.b" = "x-a" }, cookie = "c" }
[middleware.raw]
jwt.keys = { algorithm = "HS256", secret-hex = "ff00112233445566778899aabbccddeeff00112233445566778899aabbccddee" }
[middleware.edit]
headers.request = { set = { b = "{{x}} {client}", a = "2" }, add = { c = ["1", "2"], d = "3" }, remove = "e" }
[middleware.pages]
cors.origins = ["https://a"]
[middleware.id]
request-id = true
[middleware.trace]
trace = true
[middleware.careful]
secure-headers = true
[[route]]
host = ["a.example", "*.b.example"]
path = "/users/{id}/{*rest}"
methods = ["GET", "POST"]
headers = { x-a = "1", x-b = true }
proxy = "a.b c"
host-header = "upstream.example"
rewrite = "/v2/{rest}/{id}{query}"
use = ["token", "limit"]
max-body = "1500"
[[route]]
path = "/api/*"
proxy = "http://127.0.0.1:7000"
strip-prefix = "/api"
upgrades = true
[[route]]
path = "/old"
redirect = "https://{host}{path}"
[[route]]
path = "/static/*"
files = "public"
strip-prefix = "/static"
[[route]]
name = "ok"
path = "/ok"
respond = { body = "ok", status = 201 }
"#;

fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    folder.file("site.toml", SITE);
    folder.file("sorry.html", "sorry");
    folder.file("secret", "0123456789abcdef0123456789abcdef\n");
    folder.file("public.pem", "-----BEGIN PUBLIC KEY-----\nMFk=\n-----END PUBLIC KEY-----\n");
    folder.file("keys.json", "{\"keys\":[{}]}");
    let hash = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
    folder.file("users", &format!("# who\nalice:{hash}\n\nbob:{hash}\n"));
    folder
}

#[test]
fn a_dump_reads_back_as_what_is_in_force() {
    let folder = folder("dump");
    let first = loaded(from(&folder.0.join("site.toml")));
    let others = ["keys.json", "public.pem", "secret", "sorry.html", "users"].map(|name| folder.0.join(name));
    assert_eq!(first.config.site.files, others);
    let elsewhere = folder.file("public/again.toml", &first.dump());
    let again = loaded(from(&elsewhere));
    assert_eq!(without_lines(again.config), without_lines(first.config), "{}", first.lines.len());
    // And a dump of the dump says the same, but for the places.
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split(" # ").next().unwrap_or_default().trim_end().to_owned()).collect()
    };
    assert_eq!(
        values(&loaded(from(&elsewhere)).dump()),
        values(&loaded(from(&folder.0.join("site.toml"))).dump())
    );
}

#[test]
fn every_value_has_its_place() {
    let folder = Folder::new("places");
    let path = folder.file(
        "site.toml",
        "idle-timeout = \"9s\"\nhead-timeout = \"9s\"\nbody-timeout = \"9s\"\n\
         [upstream.app]\nservers = [9000]\nretries = 1\n[[route]]\nproxy = \"app\"\n",
    );
    let raw = Raw {
        head_timeout: Some(Written::flag("8s")),
        body_timeout: Some(Written::environment("7s")),
        dir: Some(Written::argument("/")),
        ..from(&path)
    };
    let page = loaded(raw).dump();
    let name = path.display();
    let has = |line: String| {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(page.lines().any(|told| squeezed(told) == line), "{line}\n{page}");
    };
    has(format!("idle-timeout = \"9s\" # {name}:1"));
    has(String::from("head-timeout = \"8s\" # --head-timeout"));
    has(String::from("body-timeout = \"7s\" # MYRIAPOD_BODY_TIMEOUT"));
    has(String::from("root = \"/\" # DIR"));
    has(String::from("write-timeout = \"30s\" # default"));
    has(String::from("# admin is not set"));
    has(format!("servers = [\"http://127.0.0.1:9000\"] # {name}:5"));
    has(format!("retries = 1 # {name}:6"));
    has(String::from("connect-timeout = \"1s\" # default"));
    has(format!("proxy = \"app\" # {name}:8"));
}

#[test]
fn flags_come_before_variables_before_the_file() {
    let folder = Folder::new("order");
    let path =
        folder.file("site.toml", "listen = 1\nidle-timeout = 1\nhead-timeout = 1\nroot = \"nowhere\"\n");
    let told = load(&from(&path)).expect_err("no such root");
    assert_eq!(told.len(), 1);
    let raw = Raw {
        idle_timeout: Some(Written::flag("3")),
        head_timeout: Some(Written::environment("2")),
        root: Some(Written::environment("/")),
        listen: vec![Written::flag("2")],
        ..from(&path)
    };
    let config = loaded(raw).config;
    assert_eq!((config.limits.idle_ms_max, config.limits.head_ms_max), (3_000, 2_000));
    assert_eq!(config.fixed.root, Some(PathBuf::from("/")));
    assert_eq!(config.fixed.listen.len(), 1, "a list is replaced and not added to");
}

#[test]
fn mistakes_of_flags_and_of_the_file_are_told_together() {
    let folder = Folder::new("both");
    let path = folder.file("site.toml", "[upstream.a]\nservers = [9000]\n[[route]]\nproxy = \"b\"\n");
    folder.file("late.toml", "a = 1\nidle-timeout = \"10x\"\nb = 1\n");
    let raw = Raw { idle_timeout: Some(Written::flag("10x")), ..from(&path) };
    let told: Vec<String> =
        load(&raw).expect_err("mistakes").iter().map(|told| told.problem.clone()).collect();
    assert_eq!(told, ["not a duration; write 500ms, 30s or 2m", "no such upstream; there are a"]);
    let told = load(&from(&folder.0.join("late.toml"))).expect_err("mistakes");
    let lines: Vec<u32> = told.iter().map(|told| told.excerpt.as_ref().unwrap().spot.line).collect();
    assert_eq!(lines, [1, 2, 3], "in the order of the file, whoever found them");
    assert!(told.iter().all(|told| !told.in_one_line().contains('\n')), "a log has a line for each");
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_of_its_flag() {
    let folder = Folder::new("unread");
    for (path, told) in [("nowhere.toml", "no such file"), ("public", "is a folder")] {
        let path = folder.0.join(path);
        let mistakes = load(&from(&path)).expect_err("unreadable");
        assert_eq!(mistakes.len(), 1);
        let shown = mistakes[0].to_string();
        assert!(shown.starts_with(&format!("--config {}: {told}", path.display())), "{shown}");
    }
    let path = folder.0.join("latin.toml");
    fs::write(&path, b"# a\n# \xe4\n").expect("a file");
    assert!(load(&from(&path)).expect_err("not text")[0].problem.starts_with("not UTF-8 in line 2"));
}
