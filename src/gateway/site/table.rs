//! Which route takes a request, by path, host, method and fields.
//!
//! A request goes to the route that says most about its path: one that is written out, then a pattern, then
//! the longer prefix. Of two patterns the one that says more about the first segment where they differ. Of
//! routes for one path, to the one that says most about the host: its name, then the longer `*.` suffix,
//! then any. Of those, to one with conditions (methods, fields) before one without; then in the order
//! written. A route whose conditions fail lets the next one have it, down to the shortest prefix.
//!
//! Promises: time linear in the length of path and host, whatever they say; nothing is allocated, but for
//! an IPv6 address that is spelled oddly. The tree is our own since `matchit` gives one match at most, and
//! here the next best is wanted as well.
//! Not here: what becomes of the request; how a path becomes plain (`http::path`).

mod hosts;
mod pattern;
mod quick;
#[cfg(test)]
mod tests;
mod tree;

use crate::config::site::{FieldMatch, PathPattern, Route};
use crate::gateway::route::Params;
use crate::http::{Method, MethodSet};

use hosts::Hosts;
use tree::{Ends, Shelf, Tree};

/// See the module.
#[derive(Debug, Default)]
pub struct Table {
    tree: Tree,
    hosts: Hosts,
}

/// What a request leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This route.
    Route {
        /// Its place among the routes that the table was made of.
        number: usize,
        /// What stands for the names of its pattern, in their order.
        params: Params,
    },
    /// There are routes, but none for this method: for these.
    WrongMethod(MethodSet),
    /// No route.
    Nothing,
}

/// A route, as far as its path and host are not what it is found by.
#[derive(Clone, Debug)]
struct Entry {
    number: usize,
    methods: Option<MethodSet>,
    fields: Vec<FieldMatch>,
}

impl Table {
    /// A table of these routes.
    ///
    /// # Errors
    /// Every mistake in them: patterns that are none or match nothing, and routes that are never reached
    /// since another takes all that they could.
    pub fn new(routes: &[Route]) -> Result<Table, Vec<String>> {
        let (mut table, mut mistakes) = (Table::default(), Vec::new());
        for (number, route) in routes.iter().enumerate() {
            if let Err(mistake) = table.add(number, route) {
                mistakes.push(format!("route {:?}: {mistake}", route.name));
            }
        }
        table.tree.shelves_mut().for_each(Shelf::sort);
        table.hosts.settle();
        mistakes.extend(table.never_reached().into_iter().map(|(late, early)| {
            let (late, early) = (&routes[late].name, &routes[early].name);
            format!("route {late:?}: is never reached, since {early:?} takes the same requests before it")
        }));
        if mistakes.is_empty() { Ok(table) } else { Err(mistakes) }
    }

    /// The route that takes a request. `host` is as the client said it, with or without a port; `path` is
    /// plain; `field` finds the value of a field by its name in lower case. HEAD is answered by routes for
    /// GET.
    pub fn find<'f>(
        &self,
        host: &[u8],
        path: &str,
        method: Method,
        field: impl Fn(&str) -> Option<&'f [u8]>,
    ) -> Found {
        let host = self.hosts.find(host);
        let mut allowed = MethodSet::default();
        let mut visit = |shelf: &Shelf| {
            let fits = |entry: &&Entry| {
                if !entry.fields.iter().all(|wanted| has_field(wanted, &field)) {
                    return false;
                }
                let takes = entry.methods.is_none_or(|methods| takes(methods, method));
                allowed = allowed.union(entry.methods.filter(|_| !takes).unwrap_or_default());
                takes
            };
            self.hosts.and_wider(host).flat_map(|host| shelf.of(host)).find(fits).map(|entry| entry.number)
        };
        match self.tree.find(path, &mut visit) {
            Some((number, params)) => Found::Route { number, params },
            None if allowed == MethodSet::default() => Found::Nothing,
            None if allowed.contains(Method::Get) => {
                Found::WrongMethod(allowed.union(MethodSet::of(&[Method::Head])))
            }
            None => Found::WrongMethod(allowed),
        }
    }

    fn add(&mut self, number: usize, route: &Route) -> Result<(), String> {
        let (segments, ends) = match &route.path {
            PathPattern::Prefix(prefix) => (pattern::prefix(prefix)?, Ends::Anywhere),
            PathPattern::Pattern(pattern) => (pattern::parse(pattern)?, Ends::Here),
        };
        let entry = Entry { number, methods: route.methods, fields: route.fields.clone() };
        let hosts: Vec<u32> = match &route.hosts[..] {
            [] => vec![Hosts::ANY],
            hosts => hosts.iter().map(|host| self.hosts.number(host)).collect(),
        };
        let shelf = self.tree.shelf_mut(&segments, ends);
        hosts.into_iter().for_each(|host| shelf.add(host, entry.clone()));
        Ok(())
    }

    /// Each route that another always takes the requests of, with that one.
    fn never_reached(&mut self) -> Vec<(usize, usize)> {
        let mut pairs: Vec<_> = self.tree.shelves_mut().flat_map(|shelf| shelf.shadowed()).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }
}

impl Entry {
    fn has_conditions(&self) -> bool {
        self.methods.is_some() || !self.fields.is_empty()
    }

    /// Whether it takes all that the other takes.
    fn covers(&self, other: &Entry) -> bool {
        !self.has_conditions() || (self.methods == other.methods && self.fields == other.fields)
    }
}

fn takes(methods: MethodSet, method: Method) -> bool {
    methods.contains(method) || (method == Method::Head && methods.contains(Method::Get))
}

fn has_field<'f>(wanted: &FieldMatch, field: impl Fn(&str) -> Option<&'f [u8]>) -> bool {
    let is_wanted = |value: &[u8]| wanted.value.as_ref().is_none_or(|wanted| wanted.as_bytes() == value);
    field(&wanted.name).is_some_and(is_wanted)
}
