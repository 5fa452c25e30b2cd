//! `basic = { realm = "...", users = { alice = "$2b$..." }, users-file = ".htpasswd", field = "x-user" }`.

use super::reader::Reader;
use super::section::Section;
use super::value;
use crate::config::site::{BasicAuth, StepKind, User};

const FIX: &str = "make one with `htpasswd -nbB USER PASSWORD`";

pub(super) fn read(reader: &mut Reader<'_>, mut section: Section<'_>) -> StepKind {
    let mut users: Vec<User> = Vec::new();
    if let Some(inner) = section.inner(reader, "users") {
        for entry in inner.entries(reader) {
            let user = value::text(entry.value.get_ref()).and_then(|hash| user(entry.name, hash));
            match user {
                Ok(user) => users.push(user),
                Err(problem) => reader.mistake(entry.value.span(), problem),
            }
        }
    }
    if let Some(value) = section.take(reader, "users-file") {
        let read = value::text(value.get_ref()).and_then(|text| from_file(&reader.path(text)));
        reader.files.extend(value::text(value.get_ref()).map(|text| reader.path(text)));
        match read {
            Ok(more) => users.extend(more),
            Err(problem) => reader.mistake(value.span(), problem),
        }
    }
    if !section.is_there("users") && !section.is_there("users-file") {
        reader.mistake(section.span.clone(), "lets nobody in; give it users = { NAME = \"$2b$...\" }");
    }
    let twice = (1..users.len()).find(|at| users[..*at].iter().any(|user| user.name == users[*at].name));
    if let Some(at) = twice {
        reader.mistake(section.value_place("users-file"), format!("`{}` stands twice", users[at].name));
    }
    let realm = section.get(reader, "realm", realm).unwrap_or_else(usual_realm);
    let field = section.get(reader, "field", |value| value::field_name(value::text(value)?));
    section.end(reader, |_| None);
    StepKind::Basic(BasicAuth { realm, users, field })
}

pub(super) fn usual_realm() -> String {
    String::from("myriapod")
}

/// What `WWW-Authenticate` can quote.
pub(super) fn realm(value: &toml::de::DeValue<'_>) -> Result<String, String> {
    let text = value::text(value)?;
    match text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) && !text.contains(['"', '\\']) {
        true => Ok(String::from(text)),
        false => Err(String::from("a realm has plain letters, and neither quotes nor backslashes")),
    }
}

/// As `htpasswd` writes it.
fn from_file(path: &std::path::Path) -> Result<Vec<User>, String> {
    let text =
        String::from_utf8(value::bytes(path)?).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let (name, hash) = line.split_once(':').unwrap_or((line, ""));
            user(name, hash).map_err(|problem| format!("{}:{number}: {problem}", path.display()))
        })
        .collect()
}

fn user(name: &str, hash: &str) -> Result<User, String> {
    // RFC 7617 section 2: what is before the first colon is the name.
    if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
        return Err(String::from("a user's name has letters, and no colon"));
    }
    match is_bcrypt(hash) || is_argon2id(hash) {
        true => Ok(User { name: String::from(name), hash: String::from(hash) }),
        false => Err(format!("no hash of a password that is known here (bcrypt, argon2id); {FIX}")),
    }
}

/// `$2b$12$` and 53 letters.
fn is_bcrypt(hash: &str) -> bool {
    let mut parts = hash.split('$');
    let (start, kind, cost, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
    let is_cost = |text: &str| text.len() == 2 && text.parse().is_ok_and(|cost: u8| (4..=31).contains(&cost));
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
    start == Some("")
        && matches!(kind, Some("2a" | "2b" | "2y"))
        && cost.is_some_and(is_cost)
        && rest.is_some_and(|rest| rest.len() == 53 && rest.bytes().all(is_letter))
        && parts.next().is_none()
}

/// `$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH`
fn is_argon2id(hash: &str) -> bool {
    let parts: Vec<&str> = hash.split('$').collect();
    let is_number = |text: &str, name: &str| {
        text.strip_prefix(name).is_some_and(|number| number.parse::<u32>().is_ok_and(|number| number > 0))
    };
    let is_base64 = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
    };
    match parts[..] {
        ["", "argon2id", "v=19", costs, salt, sum] => {
            let costs: Vec<&str> = costs.split(',').collect();
            let fits = matches!(costs[..], [m, t, p]
                if is_number(m, "m=") && is_number(t, "t=") && is_number(p, "p="));
            fits && is_base64(salt) && is_base64(sum)
        }
        _ => false,
    }
}
