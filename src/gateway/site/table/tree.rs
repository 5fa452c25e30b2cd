//! Paths of routes as a tree of segments.
//!
//! A look-up visits a node at most once: what it costs is bounded by the path's length and the patterns that
//! begin as the path does, not by their product.

use super::Entry;
use super::pattern::Segment;
use super::quick::Map;
use crate::gateway::route::Params;

/// See the module.
#[derive(Debug)]
pub(super) struct Tree {
    /// The first is the root.
    nodes: Vec<Node>,
    shelves: Vec<Shelf>,
}

/// Where a pattern ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// The path must end there too.
    Here,
    /// The path may go on.
    Anywhere,
}

/// What is known of paths that begin with the same segments.
#[derive(Debug, Default)]
struct Node {
    texts: Map,
    /// Those with more text first.
    holes: Vec<(Box<str>, Box<str>, u32)>,
    /// Routes for the path that ends here, for all that go on, and for both.
    here: Option<u32>,
    rest: Option<u32>,
    below: Option<u32>,
}

/// Routes for one path, by host.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// By number of the host.
    hosts: Vec<(u32, Vec<Entry>)>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { nodes: vec![Node::default()], shelves: Vec::new() }
    }
}

impl Tree {
    /// Shows the shelves that a path leads to, those that say more about it first, until one has what is
    /// wanted.
    pub(super) fn find<T>(
        &self,
        path: &str,
        visit: &mut impl FnMut(&Shelf) -> Option<T>,
    ) -> Option<(T, Params)> {
        if !path.starts_with('/') {
            return None;
        }
        let mut walk = Walk { tree: self, path, visit };
        walk.whole(0, 1, Params::NONE).or_else(|| walk.prefixes(0, 1).map(|it| (it, Params::NONE)))
    }

    pub(super) fn shelves_mut(&mut self) -> impl Iterator<Item = &mut Shelf> {
        self.shelves.iter_mut()
    }

    /// The shelf of a pattern; made when there is none yet.
    pub(super) fn shelf_mut(&mut self, segments: &[Segment], ends: Ends) -> &mut Shelf {
        let (segments, is_rest) = match segments {
            [first @ .., Segment::Rest] => (first, true),
            all => (all, false),
        };
        let place = segments.iter().fold(0, |node, segment| self.child(node, segment));
        let node = &mut self.nodes[place as usize];
        let shelf = match ends {
            Ends::Anywhere => &mut node.below,
            Ends::Here if is_rest => &mut node.rest,
            Ends::Here => &mut node.here,
        };
        let next = self.shelves.len() as u32;
        let place = *shelf.get_or_insert(next) as usize;
        if place == self.shelves.len() {
            self.shelves.push(Shelf::default());
        }
        &mut self.shelves[place]
    }

    fn child(&mut self, node: u32, segment: &Segment) -> u32 {
        let next = self.nodes.len() as u32;
        let node = &mut self.nodes[node as usize];
        let child = match segment {
            Segment::Text(text) => node.texts.get_or_insert(text.as_bytes(), next),
            Segment::Hole { before, after } => node.hole(before, after, next),
            // It is cut off before: it comes last.
            Segment::Rest => unreachable!("a rest in the middle of a pattern"),
        };
        if child == next {
            self.nodes.push(Node::default());
        }
        child
    }
}

impl Node {
    fn hole(&mut self, before: &str, after: &str, next: u32) -> u32 {
        let known = self.holes.iter().find(|hole| *hole.0 == *before && *hole.1 == *after);
        if let Some((.., child)) = known {
            return *child;
        }
        self.holes.push((before.into(), after.into(), next));
        self.holes.sort_by_key(|(before, after, _)| {
            (usize::MAX - before.len() - after.len(), usize::MAX - before.len())
        });
        next
    }
}

/// A look-up under way.
struct Walk<'t, 'p, 'v, V> {
    tree: &'t Tree,
    path: &'p str,
    visit: &'v mut V,
}

impl<V> Walk<'_, '_, '_, V> {
    /// Patterns that take the whole path, from the segment that begins at `at`. One segment says more than
    /// all that come behind it.
    fn whole<T>(&mut self, node: u32, at: usize, params: Params) -> Option<(T, Params)>
    where
        V: FnMut(&Shelf) -> Option<T>,
    {
        let node = &self.tree.nodes[node as usize];
        let path = self.path;
        let Some(segment) = segment(path, at) else {
            return self.show(node.here).map(|found| (found, params));
        };
        let next = at + segment.len() + 1;
        if let Some(child) = node.texts.get(segment.as_bytes())
            && let Some(found) = self.whole(child, next, params)
        {
            return Some(found);
        }
        for (before, after, child) in &node.holes {
            let Some(value) = between(segment, before, after) else { continue };
            let mut params = params;
            params.push(path, value);
            if let Some(found) = self.whole(*child, next, params) {
                return Some(found);
            }
        }
        if at == path.len() {
            return None;
        }
        let found = self.show(node.rest)?;
        let mut params = params;
        params.push(path, &path[at..]);
        Some((found, params))
    }

    /// Prefixes, the longest first.
    fn prefixes<T>(&mut self, node: u32, at: usize) -> Option<T>
    where
        V: FnMut(&Shelf) -> Option<T>,
    {
        let node = &self.tree.nodes[node as usize];
        let child =
            segment(self.path, at).and_then(|text| Some((node.texts.get(text.as_bytes())?, text.len())));
        let deeper = child.and_then(|(child, len)| self.prefixes(child, at + len + 1));
        deeper.or_else(|| self.show(node.below))
    }

    fn show<T>(&mut self, shelf: Option<u32>) -> Option<T>
    where
        V: FnMut(&Shelf) -> Option<T>,
    {
        (self.visit)(&self.tree.shelves[shelf? as usize])
    }
}

/// The segment that begins there; `None` behind the last one.
fn segment(path: &str, at: usize) -> Option<&str> {
    let rest = path.get(at..)?;
    Some(memchr::memchr(b'/', rest.as_bytes()).map_or(rest, |end| &rest[..end]))
}

/// What a segment has between two texts, if there is anything.
fn between<'s>(segment: &'s str, before: &str, after: &str) -> Option<&'s str> {
    // Most names stand alone, and comparing nothing costs a call too.
    let value = match (before, after) {
        ("", "") => segment,
        _ => segment.strip_prefix(before)?.strip_suffix(after)?,
    };
    (!value.is_empty()).then_some(value)
}

impl Shelf {
    pub(super) fn add(&mut self, host: u32, entry: Entry) {
        match self.hosts.iter_mut().find(|(known, _)| *known == host) {
            // Who names a host twice means it once.
            Some((_, entries)) if entries.last().is_some_and(|last| last.number == entry.number) => {}
            Some((_, entries)) => entries.push(entry),
            None => self.hosts.push((host, vec![entry])),
        }
    }

    /// Puts everything in the order in which it is looked for.
    pub(super) fn sort(&mut self) {
        self.hosts.sort_unstable_by_key(|(host, _)| *host);
        self.hosts.iter_mut().for_each(|(_, entries)| entries.sort_by_key(|entry| !entry.has_conditions()));
    }

    /// Routes for that host.
    pub(super) fn of(&self, host: u32) -> &[Entry] {
        let place = match &self.hosts[..] {
            [(known, entries)] => return if *known == host { entries } else { &[] },
            hosts => hosts.binary_search_by_key(&host, |(known, _)| *known),
        };
        place.map_or(&[], |place| &self.hosts[place].1)
    }

    /// Routes that are never reached, each with the one before it.
    pub(super) fn shadowed(&self) -> Vec<(usize, usize)> {
        let pairs = self.hosts.iter().flat_map(|(_, entries)| {
            entries.iter().enumerate().filter_map(|(at, late)| {
                let early = entries[..at].iter().find(|early| early.covers(late))?;
                Some((late.number, early.number))
            })
        });
        pairs.collect()
    }
}
