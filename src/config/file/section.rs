//! A table of the file, read key by key; what nobody asked for is unknown, and told.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::Reader;
use super::value;
use crate::config::values::nearest;

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// See the module.
pub(super) struct Section<'a> {
    /// Its whole name, as in `upstream.app`.
    pub path: String,
    /// Where it begins.
    pub span: Range<usize>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

/// A key that the operator has named, with its place.
pub(super) struct Entry<'a> {
    pub name: &'a str,
    pub span: Range<usize>,
    pub value: &'a Value<'a>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub fn whole(table: &'a DeTable<'a>) -> Section<'a> {
        Section { path: String::new(), span: 0..0, table, known: Vec::new() }
    }

    /// A value that must be a table.
    pub fn of(reader: &mut Reader<'_>, path: String, value: &'a Value<'a>) -> Option<Section<'a>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Section { path, span: value.span(), table, known: Vec::new() }),
            other => {
                reader.mistake(value.span(), format!("{}, where a table is needed", value::kind(other)));
                None
            }
        }
    }

    fn key(&self, name: &str) -> String {
        match self.path.is_empty() {
            true => String::from(name),
            false => format!("{}.{name}", self.path),
        }
    }

    /// Whether it is there; asking makes it known.
    pub fn has(&mut self, name: &'static str) -> bool {
        self.known.push(name);
        self.table.contains_key(name)
    }

    /// Makes a key known that was not asked for.
    pub fn could_have(&mut self, name: &'static str) {
        self.known.push(name);
    }

    /// Tells of every key behind the first of some that exclude each other.
    pub fn only_one_of(&mut self, reader: &mut Reader<'_>, names: &[&'static str]) {
        let mut there: Vec<&str> = names.iter().copied().filter(|name| self.has(name)).collect();
        there.sort_by_key(|name| self.place(name).start);
        for other in there.iter().skip(1) {
            let problem = format!("stands beside `{}`; only one of both can be", there[0]);
            reader.mistake(self.place(other), problem);
        }
    }

    /// A key's value, if it is there.
    pub fn take(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Option<&'a Value<'a>> {
        self.known.push(name);
        let (key, value) = self.table.get_key_value(name)?;
        reader.lines.insert(self.key(name), reader.line(key.span()));
        Some(value)
    }

    /// Whether it is there.
    pub fn is_there(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// Where a key's value stands, or the table where it does not.
    pub fn value_place(&self, name: &str) -> Range<usize> {
        self.table.get(name).map_or(self.span.clone(), Spanned::span)
    }

    /// Where a key stands, or the table where it does not.
    pub fn place(&self, name: &str) -> Range<usize> {
        self.table.get_key_value(name).map_or(self.span.clone(), |(key, _)| key.span())
    }

    /// A key's value as `read` takes it; `None` where it is not there or is mistaken.
    pub fn get<T>(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.take(reader, name)?;
        read(value.get_ref()).map_err(|problem| reader.mistake(value.span(), problem)).ok()
    }

    /// One value or a list of them, each with its place.
    pub fn several(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Option<Vec<&'a Value<'a>>> {
        let value = self.take(reader, name)?;
        Some(match value.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            _ => vec![value],
        })
    }

    /// One value or a list of them, those that `read` takes.
    pub fn list<T>(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'static str,
        read: impl Fn(&'a DeValue<'a>) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let values = self.several(reader, name)?;
        let take = |value: &'a Value<'a>| {
            read(value.get_ref()).map_err(|problem| reader.mistake(value.span(), problem)).ok()
        };
        Some(values.into_iter().filter_map(take).collect())
    }

    /// A table below a key.
    pub fn inner(&mut self, reader: &mut Reader<'_>, name: &'static str) -> Option<Section<'a>> {
        let value = self.take(reader, name)?;
        Section::of(reader, self.key(name), value)
    }

    /// Every key, in the order written, where names are the operator's to choose.
    pub fn entries(&self, reader: &mut Reader<'_>) -> Vec<Entry<'a>> {
        let mut entries: Vec<Entry<'a>> = self
            .table
            .iter()
            .map(|(key, value)| Entry { name: key.get_ref(), span: key.span(), value })
            .collect();
        entries.sort_by_key(|entry| entry.span.start);
        for entry in &entries {
            reader.lines.insert(self.key(entry.name), reader.line(entry.span.clone()));
        }
        entries
    }

    /// Tells of every key that nobody asked for.
    pub fn end(mut self, reader: &mut Reader<'_>, elsewhere: impl Fn(&str) -> Option<String>) {
        self.known.sort_unstable();
        self.known.dedup();
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if self.known.contains(&name) {
                continue;
            }
            reader.mistake(key.span(), unknown("key", name, &self.known, elsewhere(name)));
        }
    }
}

/// `no such key; did you mean ...?`
pub(super) fn unknown(what: &str, name: &str, known: &[&str], elsewhere: Option<String>) -> String {
    match (nearest(name, known), elsewhere) {
        (Some(near), _) => format!("no such {what}; did you mean `{near}`?"),
        (None, Some(elsewhere)) => format!("no such {what} here; {elsewhere}"),
        (None, None) if known.is_empty() => format!("no such {what}; there is none yet"),
        (None, None) => format!("no such {what}; there are {}", known.join(", ")),
    }
}
