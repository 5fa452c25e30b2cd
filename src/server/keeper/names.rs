//! Which names are to be looked up when, and what came of it. No threads, no clock, no name server here.
//!
//! ```text
//!             due                  answer
//!   waiting ------> away ---------------------> waiting, for about the interval
//!      ^              |  failure
//!      +--------------+------------------------> waiting, for a second, two, four, ... the interval
//! ```
//! A name has one look-up under way at most. One that fails keeps its last good addresses. What changed is
//! told when the look-ups under way are done, or a little later: names that change together make one
//! generation.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::chance::Chance;
use crate::config::site::NameBook;

/// A name and how often it is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub host: String,
    /// How often, in milliseconds.
    pub every_ms: u32,
}

/// What a look-up found, or in words why nothing.
pub(super) type Found = Result<Vec<SocketAddr>, String>;

/// What an answer means to who reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// What was known, or nobody asks any more.
    Nothing,
    /// Other addresses than before.
    Moved,
    /// What was known, after it had failed.
    Back,
    /// It failed, after it had not.
    Lost,
    /// It failed again.
    StillLost,
}

/// See the module.
///
/// Invariant: the book knows only names of `entries`.
#[derive(Debug)]
pub(super) struct Names {
    entries: BTreeMap<String, Entry>,
    book: NameBook,
    /// Since when there is something to tell.
    untold_since_ms: Option<u64>,
    chance: Chance,
}

#[derive(Debug)]
struct Entry {
    every_ms: u64,
    due_ms: u64,
    is_away: bool,
    failures: u32,
}

impl Names {
    pub(super) fn new(seed: u64) -> Names {
        Names {
            entries: BTreeMap::new(),
            book: NameBook::default(),
            untold_since_ms: None,
            chance: Chance::of(seed),
        }
    }

    /// Keeps these names from now on, and no others. `book`: what is known of them already; what was
    /// learned here since it was made counts more.
    pub(super) fn attend(&mut self, names: &[Name], book: &NameBook, now_ms: u64) {
        let mut former = std::mem::take(&mut self.entries);
        let mut known = book.clone();
        for name in names {
            let every_ms = u64::from(name.every_ms).max(EVERY_MS_MIN);
            if let Some(own) = self.entries.get_mut(&name.host) {
                own.every_ms = own.every_ms.min(every_ms);
                continue;
            }
            let entry = match former.remove(&name.host) {
                Some(entry) => {
                    if known.learn(&name.host, self.book.of(&name.host).iter().copied()) {
                        self.untold_since_ms.get_or_insert(now_ms);
                    }
                    Entry { every_ms, due_ms: entry.due_ms.min(now_ms + every_ms), ..entry }
                }
                None if known.knows(&name.host) => {
                    let due_ms = now_ms + self.chance.about(every_ms);
                    Entry { every_ms, due_ms, is_away: false, failures: 0 }
                }
                None => Entry { every_ms, due_ms: now_ms, is_away: false, failures: 0 },
            };
            self.entries.insert(name.host.clone(), entry);
        }
        known.retain(|host| self.entries.contains_key(host));
        self.book = known;
    }

    /// Names to be looked up now, so many at most; each is away from here until its answer is
    /// [`learned`](Names::learn).
    pub(super) fn depart(&mut self, now_ms: u64, room: usize) -> Vec<String> {
        let is_due = |entry: &Entry| !entry.is_away && entry.due_ms <= now_ms;
        let due = self.entries.iter_mut().filter(|(_, entry)| is_due(entry)).take(room);
        due.map(|(host, entry)| {
            entry.is_away = true;
            host.clone()
        })
        .collect()
    }

    /// The answer to a look-up that was begun here.
    pub(super) fn learn(&mut self, host: &str, found: &Found, now_ms: u64) -> Learned {
        let Some(entry) = self.entries.get_mut(host) else { return Learned::Nothing };
        entry.is_away = false;
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                let was_lost = std::mem::take(&mut entry.failures) > 0;
                entry.due_ms = now_ms + self.chance.about(entry.every_ms);
                if self.book.learn(host, addresses.iter().copied()) {
                    self.untold_since_ms.get_or_insert(now_ms);
                    return Learned::Moved;
                }
                if was_lost { Learned::Back } else { Learned::Nothing }
            }
            _ => {
                let patience_ms = AGAIN_MS << entry.failures.min(16);
                entry.due_ms = now_ms + self.chance.about(patience_ms.min(entry.every_ms));
                entry.failures = entry.failures.saturating_add(1);
                if entry.failures == 1 { Learned::Lost } else { Learned::StillLost }
            }
        }
    }

    /// What is known by now, if it is time to tell.
    pub(super) fn news(&mut self, now_ms: u64) -> Option<NameBook> {
        if self.tell_at_ms()? > now_ms {
            return None;
        }
        self.untold_since_ms = None;
        Some(self.book.clone())
    }

    /// When something is to be done next.
    pub(super) fn next_ms(&self, has_room: bool) -> Option<u64> {
        let waiting = self.entries.values().filter(|entry| has_room && !entry.is_away);
        waiting.map(|entry| entry.due_ms).chain(self.tell_at_ms()).min()
    }

    fn tell_at_ms(&self) -> Option<u64> {
        let since_ms = self.untold_since_ms?;
        let is_quiet = self.entries.values().all(|entry| !entry.is_away);
        Some(if is_quiet { since_ms } else { since_ms + TELL_MS_MAX })
    }
}

/// The first wait after a failure; doubles with each.
const AGAIN_MS: u64 = 1_000;
/// No name is looked up more often, whatever is written.
const EVERY_MS_MIN: u64 = 100;
/// How long a change waits for other look-ups.
const TELL_MS_MAX: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::site::Address;

    fn name(host: &str, every_ms: u32) -> Name {
        Name { host: host.to_owned(), every_ms }
    }

    fn found(text: &str) -> Found {
        Ok(vec![format!("{text}:0").parse().expect("an address")])
    }

    fn lost() -> Found {
        Err("no such name".to_owned())
    }

    fn addresses(book: &NameBook, host: &str) -> Vec<String> {
        let name = Address::Name(host.to_owned(), 80);
        book.addresses(&name).map(|address| address.to_string()).collect()
    }

    #[test]
    fn a_name_that_was_found_before_the_start_waits_its_interval() {
        let mut book = NameBook::default();
        book.learn("a", found("10.0.0.1").expect("one"));
        let mut names = Names::new(1);
        names.attend(&[name("a", 10_000), name("b", 10_000)], &book, 0);
        assert_eq!(names.depart(0, 9), ["b"]);
        assert_eq!(names.depart(8_999, 9), [""; 0], "one is away, the other waits");
        assert_eq!(names.depart(11_001, 9), ["a"]);
        assert_eq!(names.next_ms(true), None, "both are away");
    }

    #[test]
    fn a_failure_keeps_what_was_known_and_is_tried_again_ever_later() {
        let mut names = Names::new(2);
        names.attend(&[name("a", 30_000)], &NameBook::default(), 0);
        assert_eq!(names.depart(0, 1), ["a"]);
        assert_eq!(names.learn("a", &found("10.0.0.1"), 0), Learned::Moved);
        assert_eq!(addresses(&names.news(0).expect("it moved"), "a"), ["10.0.0.1:80"]);
        let mut now_ms = 40_000;
        let mut waits_ms = Vec::new();
        for round in 0..7 {
            assert_eq!(names.depart(now_ms, 1), ["a"]);
            let learned = names.learn("a", &lost(), now_ms);
            assert_eq!(learned, if round == 0 { Learned::Lost } else { Learned::StillLost });
            let next_ms = names.next_ms(true).expect("it is tried again");
            waits_ms.push((next_ms - now_ms).div_ceil(1_000));
            now_ms = next_ms;
        }
        assert!(waits_ms.windows(2).all(|pair| pair[0] <= pair[1] + 6), "{waits_ms:?}");
        assert!(waits_ms[0] <= 2 && (27..=34).contains(&waits_ms[6]), "{waits_ms:?}");
        assert_eq!(names.news(now_ms), None);
        assert_eq!(names.depart(now_ms, 1), ["a"]);
        assert_eq!(names.learn("a", &found("10.0.0.1"), now_ms), Learned::Back);
        assert_eq!(names.news(now_ms), None);
    }

    #[test]
    fn names_that_change_together_are_told_together() {
        let mut names = Names::new(3);
        names.attend(&[name("a", 1_000), name("b", 1_000), name("c", 1_000)], &NameBook::default(), 0);
        assert_eq!(names.depart(0, 9).len(), 3);
        names.learn("a", &found("10.0.0.1"), 5);
        assert_eq!(names.news(5), None, "two are away");
        names.learn("b", &found("10.0.0.2"), 9);
        assert_eq!(names.news(104), None);
        assert_eq!(names.next_ms(true), Some(105));
        let told = names.news(105).expect("the third is not waited for");
        assert_eq!((addresses(&told, "a").len(), addresses(&told, "b").len()), (1, 1));
        names.learn("c", &lost(), 200);
        assert_eq!(names.news(200), None);
    }

    #[test]
    fn a_name_written_twice_is_looked_up_once_as_often_as_the_more_eager_wants() {
        let mut names = Names::new(4);
        names.attend(&[name("a", 60_000), name("a", 1_000)], &NameBook::default(), 0);
        assert_eq!(names.depart(0, 9), ["a"]);
        names.learn("a", &found("10.0.0.1"), 0);
        assert_eq!(names.depart(1_101, 9), ["a"]);
    }

    #[test]
    fn a_reload_keeps_what_was_learned_and_forgets_names_that_went() {
        let mut names = Names::new(5);
        names.attend(&[name("a", 1_000), name("b", 1_000)], &NameBook::default(), 0);
        names.depart(0, 9);
        names.learn("a", &found("10.0.0.1"), 0);
        let known = names.news(100).expect("it moved");
        names.attend(&[name("a", 60_000)], &known, 200);
        assert_eq!(names.learn("b", &found("10.0.0.2"), 250), Learned::Nothing, "nobody asks any more");
        assert_eq!(names.news(250), None, "the new site was made with all that is known");
        assert!(names.next_ms(true).expect("a is looked up again") <= 1_100, "no later than it was due");
        names.attend(&[name("a", 60_000)], &NameBook::default(), 300);
        assert!(names.news(300).is_some(), "this one was made without");
    }

    #[test]
    fn without_room_nothing_departs_and_nothing_is_waited_for() {
        let mut names = Names::new(6);
        names.attend(&[name("a", 1_000), name("b", 1_000)], &NameBook::default(), 0);
        assert_eq!(names.depart(0, 1).len(), 1);
        assert_eq!(names.depart(0, 0), [""; 0]);
        assert_eq!(names.next_ms(false), None);
        assert_eq!(names.next_ms(true), Some(0));
    }
}
