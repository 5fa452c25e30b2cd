//! From a path to what is served there.
//!
//! Paths without parameters are found by length and bytes, in a few nanoseconds; patterns go through a radix
//! tree (`matchit`). A path that is written out wins over a pattern that would match it too.

use crate::base::short::Ends;

/// See the module.
pub struct Router<T> {
    /// Written-out paths, by length.
    exact: Vec<Vec<Exact<T>>>,
    patterns: matchit::Router<T>,
}

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
        Router { exact: Vec::new(), patterns: matchit::Router::new() }
    }
}

impl<T> Router<T> {
    /// Serves `target` at a path or at a pattern such as `/users/{id}`.
    ///
    /// # Panics
    /// When the pattern is malformed or already taken: patterns are written by programmers.
    pub fn insert(&mut self, pattern: &str, target: T) {
        if pattern.contains(['{', '}']) {
            self.patterns.insert(pattern, target).unwrap_or_else(|error| panic!("route {pattern}: {error}"));
            return;
        }
        if self.exact.len() <= pattern.len() {
            self.exact.resize_with(pattern.len() + 1, Vec::new);
        }
        let shelf = &mut self.exact[pattern.len()];
        let path = pattern.as_bytes();
        assert!(shelf.iter().all(|taken| *taken.path != *path), "route {pattern}: already taken");
        shelf.push(Exact { ends: Ends::of(path), path: path.into(), target });
    }

    /// What is served at a path.
    #[must_use]
    #[inline]
    pub fn find(&self, path: &[u8]) -> Option<&T> {
        let shelf = self.exact.get(path.len()).map_or(&[][..], Vec::as_slice);
        let ends = Ends::of(path);
        if let Some(exact) = shelf.iter().find(|exact| exact.is_at(path, ends)) {
            return Some(&exact.target);
        }
        let path = std::str::from_utf8(path).ok()?;
        self.patterns.at(path).ok().map(|found| found.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_out_paths_win_over_patterns() {
        let mut router = Router::default();
        router.insert("/users/{id}", "any");
        router.insert("/users/me", "me");
        router.insert("/", "root");
        assert_eq!(router.find(b"/users/me"), Some(&"me"));
        assert_eq!(router.find(b"/users/7"), Some(&"any"));
        assert_eq!(router.find(b"/"), Some(&"root"));
        assert_eq!(router.find(b"/users"), None);
        assert_eq!(router.find(b""), None);
        assert_eq!(router.find(b"/users/7/x"), None);
    }

    #[test]
    #[should_panic(expected = "already taken")]
    fn a_path_is_served_by_one() {
        let mut router = Router::default();
        router.insert("/a", 1);
        router.insert("/a", 2);
    }
}
