//! The rules of the house that a machine can check, as tables. A rule that nobody checks is a wish.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom: `crate::<layer>`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("observe", &[]),
    ("http", &["base"]),
    ("config", &["http"]),
    ("proto", &["base", "http", "config"]),
    ("gateway", &["base", "http", "observe", "config"]),
    ("worker", &["base", "http", "gateway", "observe"]),
    ("reactor", &["base", "http", "proto", "gateway", "worker", "observe", "config"]),
    ("cli", &["config"]),
    ("server", &["base", "http", "proto", "gateway", "worker", "reactor", "observe", "config"]),
];

/// Words that may stand only in these places (prefixes of a path below `src/`), and what to do instead.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("mio::", &["reactor/", "server/launch.rs", "server/plan.rs"], "only the reactor polls"),
    ("socket2::", &["reactor/"], "only the reactor opens sockets"),
    ("Instant::now", &["base/clock.rs", "observe/", "server/"], "time is an argument: take a Tick"),
    ("SystemTime::now", &["base/clock.rs", "observe/", "server/"], "time is an argument"),
    (
        "thread::spawn",
        &["server/", "observe/", "reactor/descriptors.rs"],
        "threads are started by the server",
    ),
    ("thread_local!", &[], "pass it as an argument"),
    ("static mut", &[], "there is no global state"),
    ("RefCell", &[], "one owner, or a second slab"),
    ("Mutex", &["observe/"], "no lock on the way of a request"),
    ("println!", &[], "the log tells, or main does"),
    ("dbg!", &[], "take it out"),
    ("todo!", &[], "finish it"),
    ("unimplemented!", &[], "finish it"),
    ("TODO", &[], "do it, or file an issue"),
    ("FIXME", &[], "fix it, or file an issue"),
    ("macro_rules!", &[], "macros only in tests"),
    (
        "unsafe {",
        // `bpf` has no safe wrapper, and the page that the kernel shares is memory from outside.
        &["reactor/stream.rs", "reactor/descriptors.rs", "reactor/balance/kernel.rs", "server/"],
        "find a safe wrapper",
    ),
    ("unsafe fn", &[], "find a safe wrapper"),
];

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 60;
const LINE_CHARS_MAX: usize = 110;

/// A source file, up to its tests.
struct Source {
    path: String,
    lines: Vec<String>,
}

fn sources() -> Vec<Source> {
    tree("src")
}

/// The server's and the load generator's.
fn all_sources() -> Vec<Source> {
    let mut generator = tree("loadtest/src");
    generator.iter_mut().for_each(|source| source.path.insert_str(0, "../loadtest/src/"));
    sources().into_iter().chain(generator).collect()
}

fn tree(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(files.len() > 40, "the tree was not found");
    files.iter().map(|file| read(&root, file)).filter(|source| !source.lines.is_empty()).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Test modules are left out, whether they stand at the foot of a file or in files of their own.
fn read(root: &Path, file: &Path) -> Source {
    let path = file.strip_prefix(root).unwrap().display().to_string();
    let is_test =
        path.ends_with("/tests.rs") || path.starts_with("reactor/sim") || path.starts_with("testing/");
    let text = fs::read_to_string(file).unwrap();
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = if is_test { Vec::new() } else { body.lines().map(str::to_owned).collect() };
    Source { path, lines }
}

/// Where a line tells something, comments left out.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn report(broken: &str) {
    assert!(broken.is_empty(), "\n{broken}");
}

#[test]
fn layers_import_only_those_below() {
    let mut broken = String::new();
    for source in sources() {
        let layer = source.path.split(['/', '.']).next().unwrap_or_default();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == layer) else { continue };
        for (number, line) in source.lines.iter().enumerate() {
            for part in code(line).split("crate::").skip(1) {
                let used = part.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                let is_layer = MAY_USE.iter().any(|(name, _)| *name == used);
                if is_layer && used != layer && !allowed.contains(&used) {
                    let _ =
                        writeln!(broken, "src/{}:{}: {layer} may not use {used}", source.path, number + 1);
                }
            }
        }
    }
    report(&broken);
}

/// A twin of the server's protocol code would share its mistakes, and find none.
#[test]
fn the_load_generator_knows_nothing_of_the_server() {
    let names = |line: &String| code(line).contains("myriapod::") && !line.contains('"');
    let broken: Vec<String> = tree("loadtest/src")
        .into_iter()
        .filter(|source| source.lines.iter().any(names))
        .map(|source| format!("loadtest/src/{} uses the server's crate", source.path))
        .collect();
    report(&broken.join("\n"));
}

#[test]
fn words_stand_only_where_they_may() {
    let mut broken = String::new();
    for source in sources() {
        for (word, places, instead) in ONLY_IN {
            if places.iter().any(|place| source.path.starts_with(place)) {
                continue;
            }
            let hits = source.lines.iter().enumerate().filter(|(_, line)| {
                // A promise to finish something is one in a comment too.
                let is_promise = matches!(*word, "TODO" | "FIXME");
                has_word(if is_promise { line } else { code(line) }, word)
            });
            for (number, _) in hits {
                let _ = writeln!(broken, "src/{}:{}: `{word}`: {instead}", source.path, number + 1);
            }
        }
    }
    report(&broken);
}

/// Whether the word begins there, and not in the middle of another: `eprintln!` is no `println!`.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '"')
    })
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut broken = String::new();
    for source in all_sources() {
        for (number, line) in source.lines.iter().enumerate() {
            let above = &source.lines[number.saturating_sub(4)..number];
            if code(line).contains("unsafe {") && !above.iter().any(|line| line.contains("// SAFETY:")) {
                let _ = writeln!(broken, "src/{}:{}: no // SAFETY: above", source.path, number + 1);
            }
        }
    }
    report(&broken);
}

#[test]
fn files_and_functions_fit_the_eye() {
    let mut broken = String::new();
    for source in all_sources() {
        if source.lines.len() > FILE_LINES_MAX {
            let _ = writeln!(broken, "src/{}: {} lines; split it", source.path, source.lines.len());
        }
        for (name, at, len) in functions(&source.lines) {
            if len > FUNCTION_LINES_MAX {
                let _ = writeln!(broken, "src/{}:{at}: fn {name} has {len} lines; split it", source.path);
            }
        }
        let long = source.lines.iter().enumerate().filter(|(_, line)| line.chars().count() > LINE_CHARS_MAX);
        // A help text is one line because clap breaks it anew; a message is, so that it can be searched for.
        for (number, _) in long.filter(|(_, line)| !source.path.starts_with("cli") && !line.contains('"')) {
            let _ = writeln!(broken, "src/{}:{}: longer than {LINE_CHARS_MAX}", source.path, number + 1);
        }
    }
    report(&broken);
}

/// Name, line and length of each function: from its `fn` to the brace that closes at the same depth.
fn functions(lines: &[String]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(name) = code(line).split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next()) else {
            continue;
        };
        if line.trim_end().ends_with(';') {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let rest = || lines[number..].iter();
        let end = rest().position(|line| *line == closing);
        // A function of a trait may have no body.
        let opens = rest().position(|line| line.ends_with('{'));
        let stops = rest().position(|line| line.ends_with(';'));
        if stops.is_some_and(|stops| opens.is_none_or(|opens| stops < opens)) {
            continue;
        }
        found.extend(end.map(|len| (name.to_owned(), number + 1, len + 1)));
    }
    found
}

#[test]
fn every_file_says_what_it_is() {
    let mut broken = String::new();
    for source in all_sources() {
        if !source.lines.first().is_some_and(|line| line.starts_with("//! ")) {
            let _ = writeln!(broken, "src/{}: begins without a module doc", source.path);
        }
    }
    report(&broken);
}

#[test]
fn the_rules_can_fail() {
    assert!(has_word("    println!(\"x\")", "println!") && !has_word("eprintln!()", "println!"));
    assert_eq!(code("let x = 1; // TODO"), "let x = 1; ");
    let lines: Vec<String> = ["    fn long() {", "        x", "    }"].map(String::from).to_vec();
    assert_eq!(functions(&lines), [("long".to_owned(), 1, 3)]);
}
