//! The grammar of each kind of value, and the way back to text.
//!
//! A reader gives the value, or what is wrong and how to write it; a `Display` gives text that reads back as
//! the same.
//! Settings as a whole are in [`resolve`](super::resolve), numbers with units in [`units`](super::units).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{
    Accept, AccessFormat, AccessLog, ConfigError, DescriptorTable, Dispatch, Endpoints, Listen, LogLevel, Pin,
};

/// `sun_path` of Linux holds 108 bytes, the last of which is NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;
/// CPUs a kernel's `cpu_set_t` has room for.
const CPUS_MAX: u32 = 1024;
const SERVER_NAME_BYTES_MAX: usize = 128;

type Words<T> = [(&'static str, T)];

/// `--endpoints`
pub(super) const ENDPOINTS: &Words<Endpoints> =
    &[("all", Endpoints::All), ("health", Endpoints::Health), ("none", Endpoints::None)];
/// `--accept`
pub(super) const ACCEPTS: &Words<Accept> =
    &[("auto", Accept::Auto), ("least", Accept::Least), ("hash", Accept::Hash)];
/// `--fd-table`
pub(super) const TABLES: &Words<DescriptorTable> = &[
    ("auto", DescriptorTable::Auto),
    ("private", DescriptorTable::Private),
    ("shared", DescriptorTable::Shared),
];
/// `--dispatch`
pub(super) const DISPATCHES: &Words<Dispatch> =
    &[("auto", Dispatch::Auto), ("inline", Dispatch::Inline), ("queue", Dispatch::Queue)];
/// `--defer-accept`, `--demo`
const SWITCH: &Words<bool> = &[("on", true), ("off", false)];
/// `--access-log-format`
pub(super) const ACCESS_FORMATS: &Words<AccessFormat> =
    &[("combined", AccessFormat::Combined), ("json", AccessFormat::Json)];
/// `--log-level`
pub(super) const LOG_LEVELS: &Words<LogLevel> = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
];

/// One of a few words.
pub(super) fn choose<T: Copy>(words: &Words<T>, text: &str) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
        return Ok(*value);
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Err(match nearest(text, &names) {
        Some(word) => format!("no such choice; did you mean {word}? (one of {})", names.join(", ")),
        None => format!("no such choice; write one of {}", names.join(", ")),
    })
}

/// `on` or `off`; variables are as often set to 1.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => choose(SWITCH, text),
    }
}

/// The way back from [`switch`].
pub(super) fn switch_text(on: bool) -> &'static str {
    word(SWITCH, on)
}

fn word<T: PartialEq + Copy>(words: &Words<T>, value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| *word)
}

/// The word that was probably meant: at most two slips away, and less than half of the word.
pub(super) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    words
        .iter()
        .map(|word| (slips(&text.to_ascii_lowercase(), word), *word))
        .filter(|(slips, word)| *slips <= 2 && slips * 2 <= word.len())
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, word)| word)
}

/// Levenshtein's distance: how many letters to add, drop or change.
fn slips(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, c) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, d) in to.iter().enumerate() {
            let changed = diagonal + usize::from(c != *d);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

/// `HOST:PORT`, `:PORT`, `PORT` or `unix:PATH`. Names are not looked up: what a name means may change, and
/// then a server that was private is not.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    let tcp = |host: IpAddr, text: &str| port(text).map(|port| Listen::Tcp(SocketAddr::new(host, port)));
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path).map(Listen::Unix);
    }
    if let Ok(address) = text.parse() {
        return Ok(Listen::Tcp(address));
    }
    if is_number(text) {
        return tcp(Ipv4Addr::LOCALHOST.into(), text);
    }
    match text.rsplit_once(':') {
        Some(("", port)) if is_number(port) => tcp(Ipv4Addr::UNSPECIFIED.into(), port),
        Some((host, port)) if is_number(port) && host.eq_ignore_ascii_case("localhost") => {
            tcp(Ipv4Addr::LOCALHOST.into(), port)
        }
        _ => Err(misread_address(text)),
    }
}

fn misread_address(text: &str) -> String {
    const FORMS: &str = "127.0.0.1:8080, [::1]:8080, :8080 or unix:PATH";
    let number_behind = text.rsplit_once(':').is_some_and(|(_, port)| is_number(port));
    if text.is_empty() {
        return format!("no address given; write {FORMS}");
    }
    if text.contains("://") {
        return format!("an address, not a URL, is needed; write {FORMS}");
    }
    if text.starts_with(['/', '.']) {
        return format!("to listen on a path write unix:{text}");
    }
    match text.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(host)) => return format!("no port; write {host}:8080"),
        Ok(IpAddr::V6(host)) => return format!("no port, or no brackets; write [{host}]:8080"),
        Err(_) => {}
    }
    match text.rsplit_once(':') {
        Some((host, port)) if number_behind && host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() => {
            self::port(port).err().unwrap_or_else(|| format!("not an address; write {FORMS}"))
        }
        Some(("*", port)) if number_behind => format!("for every interface write :{port}"),
        Some((_, port)) if number_behind => {
            format!("names are not looked up; write the IP address, or :{port} for every interface")
        }
        _ => format!("not an address; write {FORMS}"),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("{text} is no port; ports go up to 65535"))
}

pub(super) fn unix_path(path: &str) -> Result<PathBuf, String> {
    match path.len() {
        0 => Err(String::from("no path given; write unix:/run/myriapod.sock")),
        _ if path.contains('\0') => Err(String::from("a path cannot hold a NUL byte")),
        1..=UNIX_PATH_BYTES_MAX => Ok(PathBuf::from(path)),
        len => Err(format!(
            "the path has {len} bytes, a unix socket's has at most {UNIX_PATH_BYTES_MAX}; use a shorter one"
        )),
    }
}

/// `auto`, `off`, or CPUs and ranges of them: `0,2-3`.
pub(super) fn pin(text: &str) -> Result<Pin, String> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(Pin::Auto),
        "off" => Ok(Pin::Off),
        list => cpu_list(list).map(Pin::List),
    }
}

fn cpu_list(text: &str) -> Result<Vec<u32>, String> {
    let mut cpus = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) else {
            return Err(String::from("not a list of CPUs; write auto, off, or CPUs like 0,2-3"));
        };
        if first > last {
            return Err(format!("{part} runs backwards; write {last}-{first}"));
        }
        if last >= CPUS_MAX {
            return Err(format!("{last} is no CPU; they are numbered from 0 to {}", CPUS_MAX - 1));
        }
        if let Some(twice) = (first..=last).find(|cpu| cpus.contains(cpu)) {
            return Err(format!("CPU {twice} is listed twice; name each once, reactors take them in turn"));
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

/// `on`, `off`, or what the field is to say.
pub(super) fn server_name(text: &str) -> Result<Option<String>, String> {
    const FIX: &str = "write on, off, or text of visible ASCII characters";
    // RFC 9110 5.5: a value neither begins nor ends with white space, and CR, LF or NUL would end it.
    let safe = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    match text {
        "on" => Ok(Some(String::from("myriapod"))),
        "off" => Ok(None),
        "" => Err(format!("no text given; {FIX}")),
        _ if !safe => Err(format!("a field cannot say that; {FIX}")),
        _ if text.trim() != text => Err(String::from("a field cannot begin or end with a space; drop it")),
        _ if text.len() > SERVER_NAME_BYTES_MAX => {
            Err(format!("{} bytes are too long; use at most {SERVER_NAME_BYTES_MAX}", text.len()))
        }
        _ => Ok(Some(String::from(text))),
    }
}

/// The way back from [`server_name`].
pub(super) fn server_name_text(name: Option<&str>) -> String {
    match name {
        None => String::from("off"),
        Some("myriapod") => String::from("on"),
        Some(text) => String::from(text),
    }
}

/// `off`, `stderr` or a file.
pub(super) fn access_log(path: &Path) -> Result<AccessLog, String> {
    let Some(text) = path.to_str() else { return Ok(AccessLog::File(path.to_owned())) };
    match text {
        "" => Err(String::from("no file given; write off, stderr or a file")),
        "off" => Ok(AccessLog::Off),
        "stderr" => Ok(AccessLog::Stderr),
        "-" | "stdout" | "on" => {
            Err(format!("did you mean stderr? a file of that name is ./{text}, standard output /dev/stdout"))
        }
        // A file called `strerr` in the current directory would be a surprise.
        _ => match nearest(text, &["stderr"]) {
            Some(word) if !text.contains(['/', '.']) => {
                Err(format!("did you mean {word}? a file of that name is ./{text}"))
            }
            _ if path.is_dir() => Err(format!("is a directory; name a file in it: {text}/access.log")),
            _ => Ok(AccessLog::File(path.to_owned())),
        },
    }
}

impl FromStr for Listen {
    type Err = ConfigError;

    /// Reads an address as `--listen` does.
    fn from_str(text: &str) -> Result<Listen, ConfigError> {
        listen(text).map_err(|problem| {
            let written = text.escape_debug().to_string();
            ConfigError { written, problem, excerpt: None }
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pin::Auto => f.write_str("auto"),
            Pin::Off => f.write_str("off"),
            Pin::List(cpus) => f.write_str(&cpus_text(cpus)),
        }
    }
}

/// CPUs with their runs drawn together: `0,2-3`.
pub fn cpus_text(cpus: &[u32]) -> String {
    let runs = cpus.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [.., last] if run.len() > 1 => format!("{}-{last}", run[0]),
        _ => run[0].to_string(),
    });
    runs.collect::<Vec<String>>().join(",")
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(ACCEPTS, *self))
    }
}

impl fmt::Display for DescriptorTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(TABLES, *self))
    }
}

impl fmt::Display for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(DISPATCHES, *self))
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(ENDPOINTS, *self))
    }
}

impl fmt::Display for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccessLog::Off => f.write_str("off"),
            AccessLog::Stderr => f.write_str("stderr"),
            AccessLog::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for AccessFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(ACCESS_FORMATS, *self))
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(LOG_LEVELS, *self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_in_every_form() {
        for (text, meant) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            (":8080", "0.0.0.0:8080"),
            ("8080", "127.0.0.1:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("unix:/run/a:1.sock", "unix:/run/a:1.sock"),
            ("unix:relative", "unix:relative"),
        ] {
            let read = listen(text).expect(text);
            assert_eq!(read.to_string(), meant);
            assert_eq!(listen(meant), Ok(read), "reads back");
        }
    }

    #[test]
    fn says_what_is_wrong_with_an_address() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, told) in [
            ("", "no address given"),
            ("http://127.0.0.1:8080", "not a URL"),
            ("/run/a.sock", "write unix:/run/a.sock"),
            ("127.0.0.1", "no port; write 127.0.0.1:8080"),
            ("::1:8080", "write [::1:8080]:8080"),
            ("::1", "write [::1]:8080"),
            ("*:80", "write :80"),
            ("example.com:80", "names are not looked up"),
            ("127.0.0.1:65536", "65536 is no port"),
            ("65536", "65536 is no port"),
            (":65536", "65536 is no port"),
            ("localhost", "not an address"),
            ("unix:", "no path given"),
            (&long, "108 bytes"),
        ] {
            let error = listen(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn reads_cpu_lists() {
        assert_eq!(pin("auto"), Ok(Pin::Auto));
        assert_eq!(pin("OFF"), Ok(Pin::Off));
        assert_eq!(pin("0,2-3, 7"), Ok(Pin::List(vec![0, 2, 3, 7])));
        assert_eq!(pin("0,2-3,7").map(|pin| pin.to_string()), Ok(String::from("0,2-3,7")));
        for (text, told) in [
            ("", "not a list"),
            ("0,", "not a list"),
            ("a", "not a list"),
            ("-1", "not a list"),
            ("3-2", "write 2-3"),
            ("0,0", "listed twice"),
            ("1-4294967295", "is no CPU"),
        ] {
            let error = pin(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn a_server_field_can_be_put_on_the_wire() {
        assert_eq!(server_name("on"), Ok(Some(String::from("myriapod"))));
        assert_eq!(server_name("off"), Ok(None));
        assert_eq!(server_name("a (b) c/1"), Ok(Some(String::from("a (b) c/1"))));
        for text in ["", " a", "a ", "a\r\nX: y", "a\0", "\u{7f}", "naïve", &"x".repeat(129)] {
            assert!(server_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_wrong_word_is_put_right() {
        let error = choose(LOG_LEVELS, "wran").expect_err("wran");
        assert_eq!(error, "no such choice; did you mean warn? (one of error, warn, info, debug)");
        let error = choose(LOG_LEVELS, "loud").expect_err("loud");
        assert_eq!(error, "no such choice; write one of error, warn, info, debug");
        assert_eq!(choose(LOG_LEVELS, "WARN"), Ok(LogLevel::Warn));
    }

    #[test]
    fn a_switch_is_on_or_off() {
        for (text, on) in [("on", true), ("OFF", false), ("1", true), ("0", false)] {
            assert_eq!(switch(text), Ok(on), "{text}");
        }
        assert_eq!(switch("yes"), Err(String::from("no such choice; write one of on, off")));
        assert_eq!([switch_text(true), switch_text(false)], ["on", "off"]);
    }

    #[test]
    fn an_access_log_is_not_a_slip_of_the_pen() {
        let read = |text: &str| access_log(Path::new(text));
        assert_eq!(read("off"), Ok(AccessLog::Off));
        assert_eq!(read("stderr"), Ok(AccessLog::Stderr));
        assert_eq!(read("./strerr"), Ok(AccessLog::File(PathBuf::from("./strerr"))));
        assert_eq!(read("access.log"), Ok(AccessLog::File(PathBuf::from("access.log"))));
        for text in ["", "strerr", "stdout", "-", "/"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
