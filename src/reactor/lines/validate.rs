//! Lines looked at from outside: for simulations.

use super::Lines;
use crate::reactor::stream::Stream;

impl<S: Stream> Lines<S> {
    /// Panics if a line's promise is broken; `hides_news` tells of a stream whether something lies there
    /// that will not be told, given what was noted.
    pub(in crate::reactor) fn validate(&mut self, hides_news: impl Fn(&S, bool) -> bool) {
        let mut idle: Vec<_> = self.idle.iter().flatten().copied().collect();
        idle.sort_unstable_by_key(|key| (key.index(), key.generation()));
        let keys: Vec<_> = self.slots.keys().collect();
        for key in keys {
            let Some(line) = self.slots.get_mut(key) else { continue };
            let on_shelf = idle.iter().filter(|other| **other == key).count();
            assert_eq!(on_shelf, usize::from(line.user().is_none()), "{key:?} stands on {on_shelf} shelves");
            let is_noted = line.has_news();
            assert!(line.user().is_some() || !is_noted, "{key:?} is idle and was heard to speak");
            let hides = line.stream().is_some_and(|stream| hides_news(stream, is_noted));
            assert!(!hides, "{key:?} has news that nobody will hear");
        }
    }

    /// Lines with a user.
    pub(in crate::reactor) fn used(&mut self) -> u32 {
        let keys: Vec<_> = self.slots.keys().collect();
        let used = |key| self.slots.get_mut(key).is_some_and(|line| line.user().is_some());
        keys.into_iter().map(used).map(u32::from).sum()
    }

    /// Inputs and relays that are lent.
    pub(in crate::reactor) fn lent(&self) -> (u32, u32) {
        (self.buffers.lent(), self.relays.lent())
    }
}
