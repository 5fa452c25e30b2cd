//! Routes beside each other: names, and who stands in whose way.
//!
//! The closest route takes a request: a path written out, before a pattern, before the longer prefix, before
//! the shorter; then a host written out, before `*.`, before any; then one with conditions (methods, headers)
//! before one without; then the order written. So only routes of the same path can hide each other.

use std::collections::HashMap;
use std::ops::Range;

use super::reader::Reader;
use crate::config::site::{FieldMatch, PathPattern, Route};

/// Tells of routes that cannot be told apart (mistakes) or that no request reaches (warnings), and gives
/// those of one name a number. `spans` are the routes' places.
pub(super) fn check(reader: &mut Reader<'_>, routes: &mut [Route], spans: &[(Range<usize>, bool)]) {
    names(reader, routes, spans);
    let mut of_path: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, route) in routes.iter().enumerate() {
        let earlier = of_path.entry(shape(&route.path)).or_default();
        if let Some(first) = earlier.iter().map(|first| &routes[*first]).find(|first| is_same(first, route)) {
            let told = format!("route `{}` (line {})", first.name, first.line);
            let problem = format!("takes the same requests as {told}; join them, or tell them apart");
            reader.mistake(spans[at].0.clone(), problem);
        } else if let Some(first) =
            earlier.iter().map(|first| &routes[*first]).find(|first| hides(first, route))
        {
            let told = format!("route `{}` (line {})", first.name, first.line);
            reader.warn(spans[at].0.clone(), format!("is never reached: {told} takes all its requests"));
        }
        earlier.push(at);
    }
}

/// Names that were given stand once; those that were made get a number.
fn names(reader: &mut Reader<'_>, routes: &mut [Route], spans: &[(Range<usize>, bool)]) {
    let mut taken: HashMap<String, u32> = HashMap::new();
    let given = |at: usize| spans[at].1;
    for at in (0..routes.len()).filter(|at| given(*at)) {
        if let Some(line) = taken.insert(routes[at].name.clone(), routes[at].line) {
            let problem = format!("a route of line {line} has the name `{}` too", routes[at].name);
            reader.mistake(spans[at].0.clone(), format!("{problem}; give each its own"));
        }
    }
    for at in (0..routes.len()).filter(|at| !given(*at)) {
        let usual = routes[at].name.clone();
        let mut number = 1;
        while taken.contains_key(&routes[at].name) {
            number += 1;
            routes[at].name = format!("{usual} #{number}");
        }
        taken.insert(routes[at].name.clone(), routes[at].line);
    }
}

/// A path without the names of its parameters: `/users/{id}` takes what `/users/{name}` takes.
fn shape(path: &PathPattern) -> String {
    let text = super::route::path_text(path);
    let names = super::pattern::params(path);
    names.into_iter().fold(text, |text, name| {
        text.replacen(&format!("{{{name}}}"), "{}", 1).replacen(&format!("{{*{name}}}"), "{*}", 1)
    })
}

fn has_conditions(route: &Route) -> bool {
    route.methods.is_some() || !route.fields.is_empty()
}

/// Whether the first takes all that the second, which stands behind it, would.
fn hides(first: &Route, second: &Route) -> bool {
    let same_rank = has_conditions(first) == has_conditions(second);
    let hosts = match second.hosts.is_empty() {
        true => first.hosts.is_empty(),
        // A host written out comes before `*.`: only the same spelling stands in the way.
        false => second.hosts.iter().all(|host| first.hosts.contains(host)),
    };
    let methods = match (first.methods, second.methods) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(first), Some(second)) => first.union(second) == first,
    };
    same_rank && hosts && methods && first.fields.iter().all(|field| is_implied(field, &second.fields))
}

fn is_implied(field: &FieldMatch, by: &[FieldMatch]) -> bool {
    by.iter().any(|other| other.name == field.name && (field.value.is_none() || field.value == other.value))
}

/// Whether nothing decides between them but the order, for some host at least.
fn is_same(first: &Route, second: &Route) -> bool {
    let for_all = first.hosts.is_empty() && second.hosts.is_empty();
    first.methods == second.methods
        && (for_all || second.hosts.iter().any(|host| first.hosts.contains(host)))
        && first.fields.len() == second.fields.len()
        && first.fields.iter().all(|field| second.fields.contains(field))
}
