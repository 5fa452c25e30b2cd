//! From a path to what is served there.
//!
//! Paths without parameters are found by length and bytes, in a few nanoseconds; patterns go through a radix
//! tree (`matchit`). A path that is written out wins over a pattern that would match it too.

use std::sync::Arc;

use crate::base::short::Ends;
use crate::gateway::handler::{BodyPlan, Handler, Place};
use crate::gateway::notes::State;
use crate::http::{FixedAnswer, Framing};

/// See the module.
#[derive(Clone)]
pub struct Router<T> {
    /// Written-out paths, by length.
    exact: Vec<Vec<Exact<T>>>,
    tree: matchit::Router<usize>,
    /// What the tree leads to.
    patterns: Vec<(Box<str>, T)>,
}

#[derive(Clone)]
struct Exact<T> {
    /// Of the path, so that most need not be looked up for a comparison.
    ends: Option<Ends>,
    path: Box<[u8]>,
    target: T,
}

impl<T> Exact<T> {
    #[inline]
    fn is_at(&self, path: &[u8], ends: Option<Ends>) -> bool {
        self.ends == ends && (ends.is_some() || *self.path == *path)
    }
}

impl<T> Default for Router<T> {
    fn default() -> Router<T> {
        Router { exact: Vec::new(), tree: matchit::Router::new(), patterns: Vec::new() }
    }
}

impl<T: Default> Router<T> {
    /// What is served at a path or at a pattern such as `/users/{id}` or `/files/{*rest}`; made when there
    /// is nothing yet.
    ///
    /// # Panics
    /// When the pattern is malformed or stands in the way of another: patterns are written by programmers.
    pub fn entry(&mut self, pattern: &str) -> &mut T {
        assert!(pattern.starts_with('/'), "route {pattern:?}: a path begins with /");
        if pattern.contains(['{', '}']) {
            return self.pattern_entry(pattern);
        }
        if self.exact.len() <= pattern.len() {
            self.exact.resize_with(pattern.len() + 1, Vec::new);
        }
        let shelf = &mut self.exact[pattern.len()];
        let path = pattern.as_bytes();
        let place = shelf.iter().position(|taken| *taken.path == *path).unwrap_or_else(|| {
            shelf.push(Exact { ends: Ends::of(path), path: path.into(), target: T::default() });
            shelf.len() - 1
        });
        &mut shelf[place].target
    }

    fn pattern_entry(&mut self, pattern: &str) -> &mut T {
        let place = self.patterns.iter().position(|(taken, _)| **taken == *pattern).unwrap_or_else(|| {
            let place = self.patterns.len();
            self.tree.insert(pattern, place).unwrap_or_else(|error| panic!("route {pattern}: {error}"));
            self.patterns.push((pattern.into(), T::default()));
            place
        });
        &mut self.patterns[place].1
    }
}

impl<T> Router<T> {
    /// What is served at a path that was written out.
    #[must_use]
    #[inline]
    pub fn find_exact(&self, path: &[u8]) -> Option<&T> {
        let shelf = self.exact.get(path.len()).map_or(&[][..], Vec::as_slice);
        let ends = Ends::of(path);
        shelf.iter().find(|exact| exact.is_at(path, ends)).map(|exact| &exact.target)
    }

    /// What is served at a pattern that the path matches.
    #[must_use]
    pub fn find_pattern(&self, path: &[u8]) -> Option<(&T, Params)> {
        if self.patterns.is_empty() {
            return None;
        }
        let path = std::str::from_utf8(path).ok()?;
        let found = self.tree.at(path).ok()?;
        let mut params = Params::NONE;
        found.params.iter().for_each(|(_, value)| params.push(path, value));
        Some((&self.patterns[*found.value].1, params))
    }

    /// What is served at a path.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<(&T, Params)> {
        self.find_exact(path).map(|target| (target, Params::NONE)).or_else(|| self.find_pattern(path))
    }

    /// Everything that is served.
    pub fn targets(&self) -> impl Iterator<Item = &T> {
        let exact = self.exact.iter().flatten().map(|exact| &exact.target);
        exact.chain(self.patterns.iter().map(|(_, target)| target))
    }
}

/// What stands for the names of a pattern, as places in the path: it outlives the look-up and travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params(Option<Places>);

/// Behind an option, so that none of them costs one byte and not their room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Places {
    count: u8,
    places: [(u16, u16); Params::MAX],
}

impl Params {
    /// Names in one pattern.
    pub const MAX: usize = 8;
    /// Those of a path that is written out.
    pub const NONE: Params = Params(None);

    pub(in crate::gateway) fn push(&mut self, path: &str, value: &str) {
        let start = value.as_ptr().addr() - path.as_ptr().addr();
        let places = self.0.get_or_insert_default();
        places.places[usize::from(places.count)] = (start as u16, value.len() as u16);
        places.count += 1;
    }

    /// What stands for the name at that place of the pattern.
    #[must_use]
    pub fn of<'p>(&self, path: &'p str, place: usize) -> Option<&'p str> {
        let places = self.0.as_ref()?;
        let (start, len) = *places.places[..usize::from(places.count)].get(place)?;
        path.get(usize::from(start)..usize::from(start) + usize::from(len))
    }
}

/// Which requests are taken first when they wait for a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// As they come.
    #[default]
    Normal,
    /// Before all others, though one in eight places is kept for those.
    High,
}

/// How a handler is called, where that is not left to it and to the server's flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Where it runs.
    pub place: Option<Place>,
    /// What it wants of a body.
    pub body: Option<BodyPlan>,
    /// Bytes of a collected body. Over it: 413.
    pub body_bytes_max: Option<u64>,
    /// From the complete request to its answer, in milliseconds. Over it: 504. `Some(None)`: no limit.
    pub request_ms_max: Option<Option<u32>>,
    /// Which requests are taken first.
    pub priority: Priority,
}

impl Terms {
    /// These, and those where these say nothing.
    #[must_use]
    pub fn over(self, those: Terms) -> Terms {
        Terms {
            place: self.place.or(those.place),
            body: self.body.or(those.body),
            body_bytes_max: self.body_bytes_max.or(those.body_bytes_max),
            request_ms_max: self.request_ms_max.or(those.request_ms_max),
            priority: match self.priority {
                Priority::High => Priority::High,
                Priority::Normal => those.priority,
            },
        }
    }
}

/// A handler, where it is served and how it is called.
pub struct Route {
    handler: Box<dyn Handler>,
    pattern: Box<str>,
    names: Box<[Box<str>]>,
    state: Arc<State>,
    terms: Terms,
    place: Place,
    body: BodyPlan,
    fixed: Option<FixedAnswer>,
}

impl Route {
    /// # Panics
    /// When the pattern has more names than a request keeps.
    pub(super) fn new(
        pattern: &str,
        handler: Box<dyn Handler>,
        terms: Terms,
        place: Place,
        state: Arc<State>,
    ) -> Route {
        let names = names_of(pattern);
        assert!(names.len() <= Params::MAX, "route {pattern}: more than {} names", Params::MAX);
        let body = match terms.body.unwrap_or(handler.body()) {
            // Who reads a body as it comes waits for the client, and a reactor may not wait: where all is
            // to run on reactors, it reads a body that is whole.
            BodyPlan::Stream if place == Place::Reactor => BodyPlan::Collect,
            body => body,
        };
        let fixed = handler.fixed();
        Route { handler, pattern: pattern.into(), names, state, terms, place, body, fixed }
    }

    /// Its handler.
    #[must_use]
    #[inline]
    pub fn handler(&self) -> &dyn Handler {
        &*self.handler
    }

    /// Where it is served, as it was written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The names in its pattern, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// How it is called.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Where it runs.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// What it wants of a body.
    #[must_use]
    pub fn body(&self) -> BodyPlan {
        self.body
    }

    /// Its answer, if that is always the same.
    #[inline]
    pub(super) fn fixed(&self) -> Option<FixedAnswer> {
        self.fixed
    }

    /// The server's shared state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether a request with such a body can be answered where and when its head is read.
    #[inline]
    pub(super) fn is_immediate(&self, framing: Framing) -> bool {
        self.place == Place::Reactor && (framing == Framing::None || self.body == BodyPlan::Ignore)
    }
}

fn names_of(pattern: &str) -> Box<[Box<str>]> {
    let openings = pattern.split('{').skip(1);
    openings.map(|rest| rest.split('}').next().unwrap_or(rest).trim_start_matches('*').into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_out_paths_win_over_patterns() {
        let mut router = Router::default();
        for pattern in ["/users/{id}", "/users/me", "/", "/files/{*rest}"] {
            *router.entry(pattern) = pattern;
        }
        let found = |path: &'static str| {
            let (target, params) = router.find(path.as_bytes())?;
            Some((*target, params.of(path, 0)))
        };
        assert_eq!(found("/users/me"), Some(("/users/me", None)));
        assert_eq!(found("/users/7"), Some(("/users/{id}", Some("7"))));
        assert_eq!(found("/files/a/b"), Some(("/files/{*rest}", Some("a/b"))));
        assert_eq!(found("/"), Some(("/", None)));
        for absent in ["/users", "", "/users/7/x"] {
            assert_eq!(found(absent), None);
        }
    }

    #[test]
    fn a_pattern_is_one_entry_however_often_it_is_written() {
        let mut router = Router::<u32>::default();
        for pattern in ["/a", "/a", "/{x}/{y}", "/{x}/{y}"] {
            *router.entry(pattern) += 1;
        }
        assert_eq!(router.targets().copied().collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    #[should_panic(expected = "conflict")]
    fn two_patterns_for_the_same_paths_are_a_mistake() {
        let mut router = Router::<u32>::default();
        router.entry("/users/{id}");
        router.entry("/users/{name}");
    }

    #[test]
    fn names_are_read_from_the_pattern() {
        let names = names_of("/users/{id}/posts/{post}/{*rest}");
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["id", "post", "rest"]);
    }
}
