//! Stories of files that are served, and of those that are not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, Timespec, Timestamps, mkfifoat};
use rustix::io::Errno;

use super::*;
use crate::http::path::{PlainPath, plain};
use crate::http::{FieldSpan, HeadIndex, Span};

/// A directory of its own for one test, gone with it: a root to serve, and a secret beside it.
struct Folder {
    path: PathBuf,
    files: Files,
}

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("myriapod-files-{}-{test}", std::process::id()));
        fs::create_dir_all(path.join("root/sub")).unwrap();
        fs::write(path.join("secret.txt"), "secret").unwrap();
        let files = Files::new(&path.join("root"), 0).unwrap();
        Folder { path, files }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join("root").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The answer to a head; `{E}` and `{L}` in it stand for tag and date of `/a.txt`.
    fn ask(&self, head: &str) -> Option<Answer> {
        let head = if head.contains('{') {
            let file = self.get("/a.txt");
            head.replace("{E}", file.field("ETag").unwrap())
                .replace("{L}", file.field("Last-Modified").unwrap())
        } else {
            head.to_owned()
        };
        let sent = Sent::new(&head);
        self.files.answer(&Request::new(&sent.index, &sent.bytes), "", None).map(Answer::new)
    }

    fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target}")).expect(target)
    }

    fn is_absent(&self, target: &str) -> bool {
        self.ask(&format!("GET {target}")).is_none()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A head as the protocol would have read it: `METHOD target`, then field lines.
struct Sent {
    index: HeadIndex,
    bytes: Vec<u8>,
}

impl Sent {
    fn new(head: &str) -> Sent {
        let mut index = HeadIndex::default();
        let span_of = |part: &str| Span::new(part.as_ptr() as usize - head.as_ptr() as usize, part.len());
        let mut lines = head.lines();
        let line = lines.next().unwrap();
        let (method, target) = line.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        index.method = Method::from_bytes(method.as_bytes());
        index.line = span_of(line);
        index.path = span_of(path);
        index.query = if query.is_empty() { Span::default() } else { span_of(query) };
        if let Ok(PlainPath::Decoded(path)) = plain(path.as_bytes()) {
            index.plain_path = Some(path);
        }
        for (at, line) in lines.enumerate() {
            let (name, value) = line.split_once(':').unwrap();
            index.fields[at] = FieldSpan { name: span_of(name), value: span_of(value.trim()) };
            index.field_count += 1;
        }
        index.head_len = head.len() as u16;
        Sent { index, bytes: head.as_bytes().to_vec() }
    }
}

/// An answer with its body read.
#[derive(Debug)]
struct Answer {
    code: u16,
    fields: String,
    len: Option<u64>,
    body: Vec<u8>,
}

impl Answer {
    fn new(response: Response) -> Answer {
        let fields = String::from_utf8(response.fields.lines().concat()).unwrap();
        let (code, len) = (response.status.code(), response.body.len());
        let body = match response.body {
            Body::Empty | Body::Reflect | Body::Source(_) => Vec::new(),
            Body::Static(bytes) => bytes.to_vec(),
            Body::Owned(bytes) => bytes,
            Body::File(range) => {
                let mut bytes = vec![0; range.len as usize];
                let read = rustix::io::pread(&range.file, &mut bytes[..], range.offset).unwrap();
                assert_eq!(read as u64, range.len);
                bytes
            }
        };
        Answer { code, fields, len, body }
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = values.next();
        assert_eq!(values.next(), None, "{name} twice");
        value
    }
}

#[test]
fn a_file_comes_with_its_type_and_validators() {
    let folder = Folder::new("type");
    folder.write("a.txt", "0123456789");
    folder.write("b.no-such-type", "b");
    folder.write("c.png", "c");
    folder.write("d", "d");
    folder.write("a b?#%.html", "e");
    let answer = folder.get("/a.txt?x=../../y");
    assert_eq!((answer.code, &answer.body[..]), (200, &b"0123456789"[..]));
    assert_eq!(answer.field("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.field("Accept-Ranges"), Some("bytes"));
    assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"));
    assert!(answer.field("ETag").unwrap().starts_with('"'));
    assert!(answer.field("Last-Modified").unwrap().ends_with(" GMT"));
    assert_eq!(folder.get("/b.no-such-type").field("Content-Type"), Some("application/octet-stream"));
    assert_eq!(folder.get("/c.png").field("Content-Type"), Some("image/png"));
    assert_eq!(folder.get("/d").field("Content-Type"), Some("application/octet-stream"));
    assert_eq!(folder.get("/a%20b%3f%23%25.html").field("Content-Type"), Some("text/html; charset=utf-8"));
}

#[test]
fn small_files_are_read_and_large_ones_are_handed_over() {
    let folder = Folder::new("sizes");
    for (name, size) in [("s", READ_WHOLE_BYTES_MAX), ("l", READ_WHOLE_BYTES_MAX + 1)] {
        let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        folder.write(name, &content);
        let sent = Sent::new(&format!("GET /{name}"));
        let response = folder.files.answer(&Request::new(&sent.index, &sent.bytes), "", None).unwrap();
        assert_eq!(matches!(response.body, Body::File(_)), name == "l");
        assert_eq!(Answer::new(response).body, content);
    }
    let part = folder.ask("GET /l\nRange: bytes=250-252").unwrap();
    assert_eq!((part.code, &part.body[..]), (206, &[250, 0, 1][..]));
    let part = folder.ask("GET /l\nRange: bytes=0-32768").unwrap();
    assert_eq!((part.code, part.len), (206, Some(READ_WHOLE_BYTES_MAX + 1)));
}

#[test]
fn head_tells_the_length_that_get_sends() {
    let folder = Folder::new("head");
    folder.write("a.txt", "0123456789");
    folder.write("empty", "");
    folder.write("large", vec![0; 100_000]);
    for target in ["/a.txt", "/empty", "/large"] {
        let (head, get) = (folder.ask(&format!("HEAD {target}")).unwrap(), folder.get(target));
        assert_eq!((head.code, head.len, &head.fields), (get.code, get.len, &get.fields), "{target}");
    }
    assert_eq!(folder.get("/empty").len, Some(0));
}

#[test]
fn a_folder_is_its_index_and_has_a_slash() {
    let folder = Folder::new("index");
    folder.write("index.html", "home");
    folder.write("with space/index.html", "space");
    folder.write("odd/index.html/x", "x");
    assert_eq!(folder.get("/").body, b"home");
    assert_eq!(folder.get("/").field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(folder.get("/with%20space/").body, b"space");
    assert!(folder.is_absent("/sub/"));
    assert!(folder.is_absent("/odd/"));
    let table = [
        ("/sub", "/sub/"),
        ("/sub?a=b&c=%2f", "/sub/?a=b&c=%2f"),
        ("/with%20space", "/with%20space/"),
        ("//sub", "/sub/"),
        ("//host.example/../sub", "/sub/"),
        ("/%73ub", "/sub/"),
    ];
    for (target, location) in table {
        let answer = folder.get(target);
        assert_eq!((answer.code, answer.field("Location")), (301, Some(location)), "{target}");
    }
}

#[test]
fn no_redirect_leads_to_another_host() {
    let folder = Folder::new("open-redirect");
    folder.write("host.example/x", "x");
    for target in ["//host.example", "///host.example", "/%2e//host.example", "//sub/..//host.example"] {
        let answer = folder.get(target);
        assert_eq!((answer.code, answer.field("Location")), (301, Some("/host.example/")), "{target}");
    }
}

#[test]
fn a_file_with_a_slash_behind_it_is_nothing() {
    let folder = Folder::new("slash");
    folder.write("a.txt", "a");
    for target in ["/a.txt/", "/a.txt/.", "/a.txt/x", "/a.txt/x/", "/missing", "/missing/", "/sub/missing"] {
        assert!(folder.is_absent(target), "{target}");
    }
    assert!(folder.is_absent(&format!("/{}", "n".repeat(300))));
    assert!(folder.is_absent(&format!("/{}", "s".repeat(5000))));
    assert!(folder.is_absent(&"/a".repeat(1500)));
    assert!(folder.ask("OPTIONS *").is_none());
}

#[test]
fn hidden_names_stay_hidden() {
    let folder = Folder::new("hidden");
    for name in [".env", "sub/.git/config", "sub/.well-known/x", ".well-known/.x", "..x", ".well-known/y"] {
        folder.write(name, "hidden");
        assert_eq!(folder.is_absent(&format!("/{name}")), name != ".well-known/y", "{name}");
    }
    for target in ["/.git", "/sub/.git", "/%2eenv", "/sub/.git/", "/.well-known-not/x"] {
        assert!(folder.is_absent(target), "{target}");
    }
}

#[test]
fn nothing_leads_out_of_the_root() {
    let folder = Folder::new("beneath");
    folder.write("a.txt", "inside");
    let root = folder.path.join("root");
    symlink("a.txt", root.join("inside")).unwrap();
    symlink("../a.txt", root.join("sub/up")).unwrap();
    symlink("../secret.txt", root.join("outside")).unwrap();
    symlink("../../secret.txt", root.join("sub/outside")).unwrap();
    symlink("..", root.join("parent")).unwrap();
    symlink(folder.path.join("secret.txt"), root.join("absolute")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    for target in ["/inside", "/sub/up"] {
        assert_eq!(folder.get(target).body, b"inside", "{target}");
    }
    for target in [
        "/outside",
        "/sub/outside",
        "/parent",
        "/parent/",
        "/parent/secret.txt",
        "/absolute",
        "/magic",
        "/magic/etc/passwd",
        "/loop",
        "/dangling",
    ] {
        assert!(folder.is_absent(target), "{target}");
    }
}

#[test]
fn a_raw_path_with_dots_is_stopped_by_the_kernel_too() {
    let folder = Folder::new("kernel");
    for name in ["../secret.txt", "sub/../../secret.txt", "/etc/passwd", ".."] {
        assert!(matches!(Root::open(folder.files.path()).unwrap().find(name), Ok(None)), "{name}");
    }
}

#[test]
fn only_regular_files_are_served_and_a_fifo_does_not_hang() {
    let folder = Folder::new("fifo");
    let root = folder.path.join("root");
    mkfifoat(CWD, root.join("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    assert!(folder.is_absent("/fifo"));
    assert!(folder.is_absent("/socket"));
}

#[test]
fn what_may_not_be_read_is_403() {
    let folder = Folder::new("unreadable");
    let file = folder.write("shut.txt", "shut");
    folder.write("dark/index.html", "light");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o000)).unwrap();
    fs::set_permissions(folder.path.join("root/dark"), PermissionsExt::from_mode(0o711)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Root may read everything; as another user this thread, and only this one, may not.
            if rustix::process::geteuid().is_root() {
                rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
                assert_eq!(folder.get("/dark").code, 301);
            }
            assert_eq!(folder.get("/shut.txt").code, 403);
            assert_eq!(folder.get("/dark/").body, b"light");
        });
    });
}

#[test]
fn errors_are_sorted_by_what_the_client_should_do() {
    for error in [Errno::NOENT, Errno::NOTDIR, Errno::NAMETOOLONG, Errno::LOOP, Errno::XDEV, Errno::NXIO] {
        assert!(matches!(sort(error), Ok(None)), "{error}");
    }
    for (error, code) in [
        (Errno::ACCESS, 403),
        (Errno::MFILE, 503),
        (Errno::NFILE, 503),
        (Errno::NOMEM, 503),
        (Errno::IO, 500),
    ] {
        let answer = Answer::new(refuse(sort(error).unwrap_err()));
        assert_eq!((answer.code, answer.field("Retry-After").is_some()), (code, code == 503), "{error}");
    }
}

#[test]
fn other_methods_are_told_what_is_allowed() {
    let folder = Folder::new("methods");
    folder.write("a.txt", "a");
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = folder.ask(&format!("{method} /a.txt\nRange: bytes=0-0\nIf-None-Match: *")).unwrap();
        assert_eq!((answer.code, answer.field("Allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
        assert!(folder.ask(&format!("{method} /missing")).is_none());
    }
    let answer = folder.ask("OPTIONS /a.txt\nIf-Match: \"x\"").unwrap();
    assert_eq!((answer.code, answer.field("Allow")), (204, Some("GET, HEAD, OPTIONS")));
}

#[test]
fn preconditions_are_judged_in_their_order() {
    const OLD: &str = "Mon, 01 Jan 1990 00:00:00 GMT";
    let folder = Folder::new("conditions");
    folder.write("a.txt", "0123456789");
    let table = [
        ("If-None-Match: {E}", 304),
        ("If-None-Match: \"no-such-etag\"", 200),
        ("If-None-Match: *", 304),
        ("If-None-Match: \"a\", \"b,c\" ,\t{E} , \"d\"", 304),
        ("If-None-Match: \"a\"\nIf-None-Match: W/{E}", 304),
        ("If-None-Match: \"a\"\nIf-Modified-Since: {L}", 200),
        ("If-None-Match: {E}\nIf-Modified-Since: OLD", 304),
        ("If-None-Match: {E}\nRange: bytes=0-1", 304),
        ("If-Modified-Since: {L}", 304),
        ("If-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT", 304),
        ("If-Modified-Since: OLD", 200),
        ("If-Modified-Since: yesterday, about noon", 200),
        ("If-Modified-Since: {L}\nIf-Modified-Since: {L}", 200),
        ("If-Match: *", 200),
        ("If-Match: {E}", 200),
        ("If-Match: \"a\", {E}", 200),
        ("If-Match: W/{E}", 412),
        ("If-Match: \"no-such-etag\"", 412),
        ("If-Match:", 412),
        ("If-Match: {E}\nIf-Unmodified-Since: OLD", 200),
        ("If-Match: \"a\"\nIf-None-Match: {E}", 412),
        ("If-Match: {E}\nIf-None-Match: {E}", 304),
        ("If-Unmodified-Since: OLD", 412),
        ("If-Unmodified-Since: {L}", 200),
        ("If-Unmodified-Since: never", 200),
        ("If-Unmodified-Since: OLD\nRange: bytes=0-1", 412),
    ];
    for (fields, code) in table {
        let fields = fields.replace("OLD", OLD);
        for method in ["GET", "HEAD"] {
            let answer = folder.ask(&format!("{method} /a.txt\n{fields}")).unwrap();
            assert_eq!(answer.code, code, "{method} {fields}");
        }
    }
}

#[test]
fn a_304_keeps_the_validators_and_has_no_body() {
    let folder = Folder::new("not-modified");
    folder.write("a.txt", "a");
    let (full, answer) = (folder.get("/a.txt"), folder.ask("GET /a.txt\nIf-None-Match: {E}").unwrap());
    assert_eq!((answer.code, answer.len), (304, Some(0)));
    assert_eq!(answer.field("ETag"), full.field("ETag"));
    assert_eq!(answer.field("Last-Modified"), full.field("Last-Modified"));
}

#[test]
fn conditions_are_not_judged_on_a_missing_file() {
    let folder = Folder::new("missing");
    assert!(folder.ask("GET /missing\nIf-None-Match: *").is_none());
    assert!(folder.ask("GET /missing\nIf-Match: \"a\"").is_none());
}

#[test]
fn ranges_are_served_to_get_alone() {
    let folder = Folder::new("ranges");
    folder.write("a.txt", "0123456789");
    folder.write("empty", "");
    let part = folder.ask("GET /a.txt\nRange: bytes=3-6").unwrap();
    assert_eq!((part.code, &part.body[..]), (206, &b"3456"[..]));
    assert_eq!(part.field("Content-Range"), Some("bytes 3-6/10"));
    assert_eq!(part.field("Content-Type"), Some("text/plain; charset=utf-8"));
    assert!(part.field("ETag").is_some() && part.field("Last-Modified").is_some());
    let refused = folder.ask("GET /a.txt\nRange: bytes=10-").unwrap();
    assert_eq!((refused.code, refused.field("Content-Range")), (416, Some("bytes */10")));
    for head in [
        "HEAD /a.txt\nRange: bytes=0-4",
        "HEAD /a.txt\nRange: bytes=99-",
        "GET /a.txt\nRange: bytes=0-1,8-9",
        "GET /a.txt\nRange: bytes=0-1\nRange: bytes=0-1",
        "GET /a.txt\nRange: bytes=5-2",
        "GET /empty\nRange: bytes=-4",
    ] {
        let answer = folder.ask(head).unwrap();
        assert_eq!((answer.code, answer.field("Content-Range")), (200, None), "{head}");
    }
}

#[test]
fn a_range_is_served_only_of_the_file_the_client_knows() {
    let folder = Folder::new("if-range");
    folder.write("a.txt", "0123456789");
    let table = [
        ("{E}", 206),
        ("{L}", 206),
        ("W/{E}", 200),
        ("\"no-such-etag\"", 200),
        ("*", 200),
        ("Mon, 01 Jan 1990 00:00:00 GMT", 200),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 200),
        ("nonsense", 200),
        ("{E}\nIf-Range: {E}", 200),
    ];
    for (value, code) in table {
        let answer = folder.ask(&format!("GET /a.txt\nRange: bytes=0-4\nIf-Range: {value}")).unwrap();
        assert_eq!(answer.code, code, "{value}");
    }
    assert_eq!(folder.ask("GET /a.txt\nRange: bytes=99-\nIf-Range: \"x\"").unwrap().code, 200);
}

#[test]
fn a_tag_changes_with_the_content_and_with_the_file() {
    let folder = Folder::new("tag");
    let path = folder.write("a.txt", "one");
    let set = |nanoseconds| {
        let time = Timespec { tv_sec: 1_000_000_000, tv_nsec: nanoseconds };
        let file = fs::File::options().write(true).open(&path).unwrap();
        rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time }).unwrap();
    };
    let tag = || folder.get("/a.txt").field("ETag").unwrap().to_owned();
    set(1);
    let first = tag();
    assert_eq!(tag(), first);
    set(2);
    assert_ne!(tag(), first, "another nanosecond");
    folder.write("a.txt", "four");
    set(1);
    assert_ne!(tag(), first, "another size");
    folder.write("b.txt", "two");
    fs::rename(folder.path.join("root/b.txt"), &path).unwrap();
    set(1);
    assert_ne!(tag(), first, "another inode");
    assert_eq!(folder.get("/a.txt").field("Last-Modified"), Some("Sun, 09 Sep 2001 01:46:40 GMT"));
}

#[test]
fn a_file_from_before_1970_has_a_tag_and_no_date() {
    let folder = Folder::new("before");
    let path = folder.write("a.txt", "a");
    let time = Timespec { tv_sec: -5, tv_nsec: 0 };
    let file = fs::File::options().write(true).open(&path).unwrap();
    rustix::fs::futimens(&file, &Timestamps { last_access: time, last_modification: time }).unwrap();
    let answer = folder.ask("GET /a.txt\nIf-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT").unwrap();
    assert_eq!((answer.code, answer.field("Last-Modified")), (200, None));
    assert_eq!(
        folder.ask("GET /a.txt\nIf-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT").unwrap().code,
        200
    );
}

#[test]
fn a_file_that_shrank_since_it_was_opened_is_not_promised() {
    let folder = Folder::new("shrunk");
    let path = folder.write("a.txt", "0123456789");
    let Ok(Some(Entry::File(file))) = Root::open(folder.files.path()).unwrap().find("a.txt") else {
        panic!("no file")
    };
    fs::write(&path, "01234567890123456789").unwrap();
    assert_eq!(file.read(0, 10).unwrap(), b"0123456789");
    fs::write(&path, "01234").unwrap();
    assert_eq!(file.read(0, 10).unwrap_err(), Refusal::Broken);
    assert_eq!(file.read(2, 3).unwrap(), b"234");
}

#[test]
fn only_a_directory_can_be_a_root() {
    let folder = Folder::new("root");
    let file = folder.write("a.txt", "a");
    assert!(Files::new(&file, 0).is_err());
    assert!(Files::new(&folder.path.join("missing"), 0).is_err());
    assert_eq!(folder.files.path(), folder.path.join("root"));
}

#[test]
fn open_directories_stay_with_their_thread() {
    /// Which of two functions of one name is meant depends on whether the type can be sent: with both, the
    /// call would not compile.
    trait IsSent<A> {
        fn is_sent() -> bool {
            false
        }
    }
    impl<T> IsSent<()> for T {}
    impl<T: Send> IsSent<u8> for T {
        fn is_sent() -> bool {
            true
        }
    }
    assert!(!<Folders as IsSent<_>>::is_sent());
    assert!(<Files as IsSent<u8>>::is_sent(), "what names them may go anywhere");
}

#[test]
fn a_directory_that_comes_later_is_found_and_one_that_is_renamed_is_kept() {
    let folder = Folder::new("later");
    let root = folder.path.join("later");
    fs::create_dir(&root).unwrap();
    let files = Files::new(&root, 3).unwrap();
    fs::remove_dir(&root).unwrap();
    let folders = Folders::of(std::iter::once(&files));
    let sent = Sent::new("GET /a.txt");
    let request = Request::new(&sent.index, &sent.bytes);
    assert!(files.answer(&request, "", Some(&folders)).is_none());
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.txt"), "here").unwrap();
    assert!(files.answer(&request, "", Some(&folders)).is_some());
    fs::rename(&root, folder.path.join("moved")).unwrap();
    assert!(files.answer(&request, "", Some(&folders)).is_some());
}
