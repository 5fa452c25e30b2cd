//! What an operator writes in a file: settings under the names of their flags, and the site.
//!
//! Promises that any text is either understood as a whole or refused with every mistake at its place: unknown
//! keys are mistakes too. Names are resolved, and files that are named here are looked at.
//! What settings mean is [`resolve`](super::resolve)'s business; what is made of the site, `gateway::site`'s.

pub(super) mod address;
mod basic;
mod edits;
mod jwt;
mod middleware;
mod order;
mod pattern;
mod reader;
mod reply;
mod route;
mod section;
mod settings;
mod source;
mod syntax;
pub(super) mod upstream;
mod value;

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::raw::Raw;
use super::site::{Action, Fallback, Route, Site};
use reader::Reader;
use section::{Entry, Section};

pub(super) use jwt::ALGORITHMS;
pub(crate) use pattern::params;
pub(crate) use route::{host_text, path_text};
pub use source::{Excerpt, Source, Spot};

/// What a file says.
#[derive(Debug, Default)]
pub struct File {
    /// Settings, with their places.
    pub raw: Raw,
    /// Routes and what they need.
    pub site: Site,
    /// What is wrong, in the order of the places.
    pub mistakes: Vec<ConfigError>,
    /// What may not be meant so.
    pub warnings: Vec<ConfigError>,
    /// The line of each key, by its whole name: `upstream.app.balance`, `route[0].path`.
    pub lines: BTreeMap<String, u32>,
}

/// Reads a file's text. Relative paths in it begin at `folder`.
#[must_use]
pub fn read(source: &Source, folder: &Path) -> File {
    let (table, faults) = DeTable::parse_recoverable(source.text());
    let mut reader = Reader::new(source, folder);
    if !faults.is_empty() {
        // What can be made out of a broken file would only add mistakes that nobody made.
        let faults = faults.iter().map(|fault| (fault.span().unwrap_or_default(), fault.message())).collect();
        syntax::tell(&mut reader, source.text(), faults);
        return File { mistakes: reader.finish().mistakes, ..File::default() };
    }
    let mut top = Section::whole(table.get_ref());
    let raw = settings::read(&mut reader, &mut top);
    let site = site(&mut reader, &mut top);
    top.end(&mut reader, |_| None);
    let lines = std::mem::take(&mut reader.lines);
    let findings = reader.finish();
    File { raw, site, mistakes: findings.mistakes, warnings: findings.warnings, lines }
}

fn site(reader: &mut Reader<'_>, top: &mut Section<'_>) -> Site {
    let entries = entries(reader, top, "upstream");
    let mut upstreams = upstream::read_all(reader, &entries);
    let step_entries = self::entries(reader, top, "middleware");
    let steps = middleware::read_all(reader, &step_entries);
    let trust = top.inner(reader, "trust").map(|section| middleware::trust(reader, section));
    let mut names = route::Names { upstreams: &mut upstreams, steps: &steps };
    let routes = routes(reader, top, &mut names);
    let files = std::mem::take(&mut reader.files).into_iter().collect();
    let site = Site { routes, upstreams, steps, trust: trust.unwrap_or_default(), files };
    unused(reader, &site, &entries, &step_entries);
    site
}

/// What nobody uses may have been meant to be used.
fn unused(reader: &mut Reader<'_>, site: &Site, upstreams: &[Entry<'_>], steps: &[Entry<'_>]) {
    let is_used = |place: usize| {
        let by_route = site.routes.iter().any(|route| match &route.action {
            Action::Proxy(proxy) => proxy.upstream == place,
            _ => false,
        });
        by_route || site.upstreams.iter().any(|other| other.fallback == Some(Fallback::Upstream(place)))
    };
    for (place, entry) in upstreams.iter().enumerate() {
        if !is_used(place) {
            reader.warn(entry.span.clone(), format!("no route goes to `{}`", entry.name));
        }
    }
    for (place, entry) in steps.iter().enumerate() {
        if !site.routes.iter().any(|route| route.steps.contains(&place)) {
            reader.warn(entry.span.clone(), format!("no route uses `{}`", entry.name));
        }
    }
}

/// Tables of the same kind, under names of the operator's.
fn entries<'a>(reader: &mut Reader<'_>, top: &mut Section<'a>, name: &'static str) -> Vec<Entry<'a>> {
    top.inner(reader, name).map(|section| section.entries(reader)).unwrap_or_default()
}

fn routes(reader: &mut Reader<'_>, top: &mut Section<'_>, names: &mut route::Names<'_>) -> Vec<Route> {
    let Some(value) = top.take(reader, "route") else { return Vec::new() };
    let DeValue::Array(list) = value.get_ref() else {
        reader.mistake(value.span(), "routes are written as [[route]], each");
        return Vec::new();
    };
    let (mut routes, mut spans) = (Vec::new(), Vec::new());
    for (at, value) in list.iter().enumerate() {
        let Some(section) = Section::of(reader, format!("route[{at}]"), value) else { continue };
        let line = reader.line(value.span());
        reader.lines.insert(format!("route[{at}]"), line);
        let is_named = section.is_there("name");
        spans.push((if is_named { section.value_place("name") } else { value.span() }, is_named));
        match route::read(reader, section, names) {
            Some(route) => routes.push(route),
            None => drop(spans.pop()),
        }
    }
    order::check(reader, &mut routes, &spans);
    routes
}

#[cfg(test)]
mod tests;
