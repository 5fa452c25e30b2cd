//! Rows and columns of told figures: what the text and the page both show.
//!
//! A cell is text already, since a table is for people; JSON has the figures themselves. Nothing here knows
//! which tables there are: see `tables.rs`.

use std::borrow::Cow;
use std::io::{self, Write};

/// Invariant: every row has as many cells as there are columns.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<String>>,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub title: String,
    /// Words stand left; figures right, so that their digits are below one another.
    pub is_figure: bool,
}

const GAP: &str = "  ";
const TABLE_CHARS_MAX: usize = 100;
/// Fewer letters of a name would tell nothing.
const NAME_CHARS_MIN: usize = 12;

impl Table {
    /// With titles; the first column is words and the others are figures.
    #[must_use]
    pub fn with_columns(titles: &[&str]) -> Table {
        let column = |(at, title): (usize, &&str)| Column { title: (*title).to_owned(), is_figure: at > 0 };
        Table { columns: titles.iter().enumerate().map(column).collect(), rows: Vec::new() }
    }

    pub fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(row.len(), self.columns.len(), "{row:?}");
        self.rows.push(row);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes a column out in which no row has anything to tell.
    #[must_use]
    pub fn without_empty(mut self, nothing: &str) -> Table {
        for at in (1..self.columns.len()).rev() {
            if self.rows.iter().all(|row| row[at] == nothing || row[at].is_empty()) {
                self.columns.remove(at);
                self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
            }
        }
        self
    }

    /// Aligned, each line after the margin; where it is too wide, the names in the first column are cut.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write(&self, margin: &str, out: &mut impl Write) -> io::Result<()> {
        let titles = self.columns.iter().map(|column| column.title.clone()).collect::<Vec<_>>();
        let lines = || std::iter::once(&titles).chain(&self.rows);
        let wide = |at: usize| lines().map(|line| line[at].chars().count()).max().unwrap_or(0);
        let mut widths = (0..self.columns.len()).map(wide).collect::<Vec<_>>();
        let others = widths.iter().skip(1).map(|width| GAP.len() + width).sum::<usize>() + margin.len();
        if let Some(first) = widths.first_mut() {
            *first = (*first).min(TABLE_CHARS_MAX.saturating_sub(others).max(NAME_CHARS_MIN));
        }
        for line in lines() {
            let cells = line.iter().zip(&widths).zip(&self.columns).map(|((cell, &width), column)| {
                let cell = clipped(cell, width);
                if column.is_figure { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            let text = cells.collect::<Vec<_>>().join(GAP);
            writeln!(out, "{margin}{}", text.trim_end())?;
        }
        Ok(())
    }
}

fn clipped(cell: &str, chars_max: usize) -> Cow<'_, str> {
    if cell.chars().count() <= chars_max {
        return Cow::Borrowed(cell);
    }
    let kept = cell.chars().take(chars_max - 1).collect::<String>();
    Cow::Owned(format!("{}…", kept.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(table: &Table) -> String {
        let mut out = Vec::new();
        table.write("  ", &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn figures_stand_right_and_words_left() {
        let mut table = Table::with_columns(&["load", "p99"]);
        table.push(vec!["10 %".into(), "83 µs".into()]);
        table.push(vec!["quite long".into(), "1.24 ms".into()]);
        assert_eq!(text(&table), "  load            p99\n  10 %          83 µs\n  quite long  1.24 ms\n");
    }

    #[test]
    fn long_names_give_way_to_figures() {
        let mut table = Table::with_columns(&["load", "p99"]);
        table.push(vec!["name ".repeat(30), "83 µs".into()]);
        let text = text(&table);
        assert!(text.lines().all(|line| line.chars().count() <= TABLE_CHARS_MAX), "{text}");
        assert!(text.lines().last().is_some_and(|line| line.ends_with("name…   83 µs")), "{text}");
    }

    #[test]
    fn columns_that_tell_nothing_are_left_out() {
        let mut table = Table::with_columns(&["load", "wanted", "rate"]);
        table.push(vec!["closed".into(), "–".into(), "5/s".into()]);
        let table = table.without_empty("–");
        assert_eq!(text(&table), "  load    rate\n  closed   5/s\n");
    }
}
