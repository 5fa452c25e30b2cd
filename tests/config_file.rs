//! The configuration file as an operator meets it: mistakes, checks, dumps and explanations, by the binary.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("myriapod-file-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("public")).expect("a folder");
        Folder(path)
    }

    fn with(self, name: &str, text: &str) -> Folder {
        fs::write(self.0.join(name), text).expect("a file");
        self
    }

    /// Runs the binary in this folder, so that messages are the same everywhere.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_myriapod"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MYRIAPOD_") {
                command.env_remove(name);
            }
        }
        let output: Output = command.args(words).current_dir(&self.0).output().expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().expect("a code"), text(&output.stdout), text(&output.stderr))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SITE: &str = "\
[upstream.app]
servers = [\"http://127.0.0.1:9000\"]

[[route]]
path = \"/api/*\"
proxy = \"app\"
";

#[test]
fn a_sound_file_is_ok() {
    let folder = Folder::new("sound").with("site.toml", SITE);
    let (code, out, err) = folder.run(&["--config", "site.toml", "--check"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.ends_with("# site.toml is ok: routes 1, upstreams 1, middleware 0\n"), "{out}");
}

#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let text = "\
idle-timeout = \"10x\"
[upstream.app]
servers = [\"http://127.0.0.1:9000\"]
balence = \"least\"
[[route]]
path = \"/api\"
proxy = \"ap\"
[[route]]
path = \"/api
";
    let folder = Folder::new("mistakes").with("broken.toml", text);
    let (code, out, err) = folder.run(&["--config", "broken.toml"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("myriapod: error: broken.toml:9:"), "what is no TOML comes first: {err}");

    let folder = folder.with("site.toml", &text[..text.len() - 24]);
    let (code, out, err) = folder.run(&["--config", "site.toml", "--check", "--log-level", "wran"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert_eq!(
        err,
        "\
myriapod: error: --log-level wran: no such choice; did you mean warn? (one of error, warn, info, debug)
myriapod: error: site.toml:1:16: not a duration; write 500ms, 30s or 2m
    1 | idle-timeout = \"10x\"
      |                ^^^^^
myriapod: error: site.toml:4:1: no such key; did you mean `balance`?
    4 | balence = \"least\"
      | ^^^^^^^
myriapod: error: site.toml:7:9: no such upstream; did you mean `app`?
    7 | proxy = \"ap\"
      |         ^^^^
"
    );
}

#[test]
fn what_may_not_be_meant_is_told_and_does_not_stop() {
    let text = format!(
        "{SITE}[[route]]\npath = \"/x\"\nrespond = \"a\"\nmethods = [\"GET\", \"PUT\"]\n\
                        [[route]]\npath = \"/x\"\nrespond = \"b\"\nmethods = [\"PUT\"]\n"
    );
    let (code, _, err) =
        Folder::new("warn").with("site.toml", &text).run(&["--config", "site.toml", "--check"]);
    assert_eq!(code, 0);
    assert_eq!(
        err,
        "\
myriapod: warning: site.toml:11:1: is never reached: route `GET,PUT /x` (line 7) takes all its requests
   11 | [[route]]
      | ^^^^^^^^^
"
    );
}

#[test]
fn a_dump_can_be_served() {
    let folder = Folder::new("dump").with("site.toml", SITE);
    let (code, dumped, _) =
        folder.run(&["proxy", "--to", "9001", "--config", "site.toml", "--dump", "--admin", "1"]);
    assert_eq!(code, 0);
    assert!(
        dumped.contains("# --admin\n") && dumped.contains("# site.toml:2\n") && dumped.contains("# --to\n")
    );
    let folder = folder.with("again.toml", &dumped);
    let (code, out, err) = folder.run(&["--config", "again.toml", "--check"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("\nadmin = 127.0.0.1:1\n"), "{out}");
    assert!(out.ends_with("# again.toml is ok: routes 2, upstreams 2, middleware 0\n"), "{out}");
}

#[test]
fn a_request_is_explained() {
    let folder = Folder::new("explain").with("site.toml", SITE);
    let (code, out, err) = folder.run(&["explain", "--config", "site.toml", "GET", "http://a/api/x"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("\nroute      /api/*  (site.toml:5)\n"), "{out}");
    assert!(out.contains("\ngoes to    upstream app  (site.toml:6)\n"), "{out}");
    let (code, _, err) = folder.run(&["explain", "GET", "gopher://a"]);
    assert_eq!(code, 2);
    assert_eq!(err, "myriapod: error: gopher:// is not spoken here; write http://HOST/PATH or /PATH\n");
}

#[test]
fn routes_leave_of_the_endpoints_those_of_health() {
    let folder = Folder::new("endpoints").with("site.toml", SITE);
    let (_, out, _) = folder.run(&["--config", "site.toml", "--check"]);
    assert!(out.contains("\nendpoints = health\n"), "{out}");
    let (_, out, _) = folder.run(&["--config", "site.toml", "--check", "--endpoints", "all"]);
    assert!(out.contains("\nendpoints = all\n"), "{out}");
}

#[test]
fn who_names_the_file_alone_is_told_the_flag() {
    let folder = Folder::new("alone").with("site.toml", SITE);
    let (code, _, err) = folder.run(&["site.toml"]);
    assert_eq!(code, 2);
    assert_eq!(err, "myriapod: error: site.toml: is a file; to be told by it write --config site.toml\n");
    let (_, _, err) = folder.run(&["other.toml"]);
    assert_eq!(
        err,
        "myriapod: error: other.toml: no such directory; for a configuration write --config other.toml\n"
    );
}

#[test]
fn a_key_of_upstreams_in_a_route_is_sent_there() {
    let text = format!("{SITE}retries = 1\n");
    let (_, _, err) = Folder::new("there").with("site.toml", &text).run(&["--config", "site.toml"]);
    assert!(err.contains("site.toml:7:1: no such key here; this is a matter of servers"), "{err}");
}

#[test]
fn a_file_that_is_not_there_is_one_line() {
    let (code, _, err) = Folder::new("missing").run(&["--config", "site.toml"]);
    assert_eq!(code, 2);
    assert_eq!(err, "myriapod: error: --config site.toml: no such file; name one that exists\n");
}

#[test]
fn the_example_is_sound_and_says_what_it_shows() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/site.toml");
    let folder = Folder::new("example");
    let (code, out, err) = folder.run(&["--config", example, "--check"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let (code, out, _) =
        folder.run(&["explain", "--config", example, "GET", "http://api.example.com/users/7"]);
    assert_eq!(code, 0);
    assert!(out.contains("\nroute      users  ") && out.contains("\npath       /v2/users/7  "), "{out}");
}

/// Each stands alone, so that it can be tried.
#[test]
fn every_site_that_the_manual_shows_is_sound() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the manual");
    let shown = readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let folder = Folder::new("shown").with("secret", &"0123456789abcdef".repeat(2));
    let mut count = 0;
    for text in shown.filter(|text| text.contains("[[route]]")) {
        fs::write(folder.0.join("site.toml"), text).expect("a file");
        let (code, out, err) = folder.run(&["--config", "site.toml", "--check"]);
        assert_eq!((code, err.as_str()), (0, ""), "{text}\n{out}");
        count += 1;
    }
    assert!(count >= 7, "only {count} are found");
}

/// The page that the manual shows for its first site.
#[test]
fn the_manual_explains_a_request_as_the_binary_does() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the manual");
    let site = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a site");
    let words = "explain --config site.toml GET http://localhost/api/users";
    let shown = readme.split(&format!("$ myriapod {words}\n")).nth(1).expect("a page");
    let folder = Folder::new("explains").with("site.toml", site);
    let (code, out, err) = folder.run(&words.split(' ').collect::<Vec<_>>());
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(Some(out.as_str()), shown.split("```").next());
}

#[test]
fn the_manual_knows_every_key_and_shows_what_is_sound() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the manual");
    let manual =
        readme.split("\n## ").find(|part| part.starts_with("Configuration file")).expect("a section");
    let shown = manual.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a file");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/site.toml");
    let folder = Folder::new("manual").with("site.toml", shown);
    let (code, out, err) = folder.run(&["--config", "site.toml", "--check"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");

    let (_, dumped, _) = folder.run(&["--config", example, "--dump"]);
    let site = dumped.split("\n[").skip(1).flat_map(str::lines);
    let rows = site
        .map(|line| line.trim_start_matches("# "))
        .filter(|line| !line.contains(']') || line.contains(" = "));
    let keys = rows.filter_map(|line| line.split([' ', '=']).next()).filter(|key| !key.is_empty());
    for key in keys.filter(|key| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')) {
        assert!(manual.contains(&format!("`{key}`")), "`{key}` is not in the manual");
    }
}

#[test]
fn a_server_whose_name_nobody_knows_is_a_warning() {
    let site =
        "[upstream.app]\nservers = [\"nobody.invalid:80\"]\n[[route]]\npath = \"/*\"\nproxy = \"app\"\n";
    let folder = Folder::new("nobody").with("site.toml", site);
    let (code, page, told) = folder.run(&["--config", "site.toml", "--check"]);
    assert_eq!(code, 0, "{told}");
    assert!(page.contains("site.toml is ok"), "{page}");
    assert!(told.contains("warning: server nobody.invalid is not found: "), "{told}");
}
