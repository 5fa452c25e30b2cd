//! The page that is written, and the spelling of TOML.

use std::fmt::Write as _;

use crate::config::load::Loaded;

/// Where comments begin, so that they stand below each other.
const COMMENT_COLUMN: usize = 48;

/// A page under way.
pub(super) struct Page<'l> {
    pub text: String,
    loaded: &'l Loaded,
    /// The whole name of the table whose rows come now.
    prefix: String,
    /// What is said of rows that stand in no file; `None`: they are defaults.
    made_by: Option<String>,
}

impl<'l> Page<'l> {
    pub fn new(loaded: &'l Loaded) -> Page<'l> {
        Page { text: String::new(), loaded, prefix: String::new(), made_by: None }
    }

    pub fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub fn section(&mut self, prefix: &str, header: &str) {
        self.prefix = String::from(prefix);
        self.made_by = None;
        self.line("");
        self.line(header);
    }

    /// What the table's rows are there for, where no file has them.
    pub fn made_by(&mut self, source: String) {
        self.made_by = Some(source);
    }

    pub fn loaded(&self) -> &'l Loaded {
        self.loaded
    }

    /// `name = value  # where it came from`
    pub fn row(&mut self, name: &str, value: &str) {
        let source = self.loaded.key_source(&format!("{}.{name}", self.prefix));
        self.sourced(name, value, &source);
    }

    /// A row that is there for a reason, if it stands in no file.
    pub fn made_row(&mut self, name: &str, value: &str) {
        let source = match (self.loaded.key_source(&format!("{}.{name}", self.prefix)), &self.made_by) {
            (source, Some(made_by)) if source == "default" => made_by.clone(),
            (source, _) => source,
        };
        self.sourced(name, value, &source);
    }

    pub fn optional(&mut self, name: &str, value: Option<String>) {
        match value {
            Some(value) => self.row(name, &value),
            None => self.line(&format!("# {name} is not set")),
        }
    }

    pub fn sourced(&mut self, name: &str, value: &str, source: &str) {
        let row = format!("{} = {value}", key(name));
        let _ = writeln!(self.text, "{row:COMMENT_COLUMN$} # {source}");
    }
}

/// Text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(letter));
            }
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// A key, in quotes where it needs them.
pub(super) fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match !name.is_empty() && name.bytes().all(is_bare) {
        true => String::from(name),
        false => quoted(name),
    }
}

pub(super) fn array(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<String>>().join(", "))
}

/// `{ a = 1, b = 2 }`
pub(super) fn table<K: AsRef<str>>(rows: impl IntoIterator<Item = (K, String)>) -> String {
    let rows: Vec<String> =
        rows.into_iter().map(|(name, value)| format!("{} = {value}", key(name.as_ref()))).collect();
    match rows.is_empty() {
        true => String::from("{}"),
        false => format!("{{ {} }}", rows.join(", ")),
    }
}
