//! A file's text with its lines, so that a mistake can be shown where it stands.
//!
//! Promises a place for every span, and one line of print for every line of text, whatever the file holds.
//! What is wrong there is not its business.

use std::fmt::Write as _;
use std::ops::Range;

use crate::config::ConfigError;

/// Letters of a line that are shown; the rest of a longer one is left out.
const SHOWN_CHARS_MAX: usize = 100;
/// Letters before the place that are shown of a longer line.
const BEFORE_CHARS_MAX: usize = 40;

/// A place in a file: line and column, both from 1, and how many letters it spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The line.
    pub line: u32,
    /// The letter in it.
    pub column: u32,
    /// Letters, on that line.
    pub length: u32,
}

/// A line of a file with a caret below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The place.
    pub spot: Spot,
    /// Two lines, ready to print.
    pub text: String,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    name: String,
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl Source {
    /// A text, and what it is called in messages.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Source {
        let text = text.into();
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(newlines).collect();
        Source { name: name.into(), text, starts }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where some bytes stand. What reaches beyond its line is cut there; what lies beyond the end is there.
    pub(super) fn spot(&self, span: Range<usize>) -> Spot {
        let start = floor(&self.text, span.start);
        // Places are asked for every key of thousands of routes: not by counting lines.
        let line = self.starts.partition_point(|begin| *begin <= start).max(1);
        let line_start = self.starts.get(line - 1).copied().unwrap_or(0);
        let line_end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        let end = floor(&self.text, span.end).clamp(start, line_end);
        Spot {
            line: line as u32,
            column: self.text[line_start..start].chars().count() as u32 + 1,
            length: self.text[start..end].trim_end().chars().count().max(1) as u32,
        }
    }

    /// `site.toml:12:5`
    pub(in crate::config) fn place(&self, spot: Spot) -> String {
        format!("{}:{}:{}", self.name, spot.line, spot.column)
    }

    /// What is wrong at a place, with its line and a caret below.
    pub(in crate::config) fn mistake(&self, spot: Spot, problem: String) -> ConfigError {
        ConfigError {
            written: self.place(spot),
            problem,
            excerpt: Some(Excerpt { spot, text: self.excerpt(spot) }),
        }
    }

    fn excerpt(&self, spot: Spot) -> String {
        let line = self.text.lines().nth(spot.line as usize - 1).unwrap_or_default();
        let letters: Vec<char> = line.chars().map(printable).collect();
        let place = spot.column as usize - 1;
        let from = match letters.len() > SHOWN_CHARS_MAX {
            true => place.saturating_sub(BEFORE_CHARS_MAX),
            false => 0,
        };
        let shown: String = letters.iter().skip(from).take(SHOWN_CHARS_MAX).collect();
        let room = shown.chars().count().saturating_sub(place - from).max(1);
        let carets = "^".repeat((spot.length as usize).min(room));
        let mut text = format!("{:>5} | {}\n", spot.line, shown.trim_end());
        let _ = write!(text, "      | {}{carets}", " ".repeat(place - from));
        text
    }
}

/// A terminal obeys control characters, and a tab is as wide as it likes.
fn printable(letter: char) -> char {
    match letter {
        '\t' => ' ',
        letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
        letter => letter,
    }
}

fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(text: &str, span: Range<usize>) -> String {
        let source = Source::new("site.toml", text);
        source.mistake(source.spot(span), String::from("wrong")).to_string()
    }

    #[test]
    fn a_caret_stands_under_every_letter_of_the_place() {
        assert_eq!(
            excerpt("a = 1\n\tbé = \"x\"\n", 13..16),
            "site.toml:2:7: wrong\n    2 |  bé = \"x\"\n      |       ^^^"
        );
    }

    #[test]
    fn a_place_behind_the_end_or_over_many_lines_has_one_caret_line() {
        assert_eq!(excerpt("", 0..0), "site.toml:1:1: wrong\n    1 | \n      | ^");
        assert_eq!(excerpt("a\n", 9..12), "site.toml:2:1: wrong\n    2 | \n      | ^");
        assert_eq!(excerpt("a = [\n1,\n]", 4..10), "site.toml:1:5: wrong\n    1 | a = [\n      |     ^");
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let text = format!("{}here{}", "x".repeat(500), "y".repeat(500));
        let shown = excerpt(&text, 500..504);
        let line = format!("    1 | {}here{}", "x".repeat(40), "y".repeat(56));
        assert_eq!(shown, format!("site.toml:1:501: wrong\n{line}\n      | {}^^^^", " ".repeat(40)));
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        assert!(!excerpt("a = \"\u{1b}[31m\"", 4..9).contains('\u{1b}'));
    }
}
