//! Where users are kept: a map behind a lock, which many threads share.
//!
//! Knows nothing of HTTP. In its place would stand a database, and then its handlers would run on workers.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::{Deserialize, Serialize};

/// Everything has a limit, and reaching it has an answer.
const USERS_MAX: usize = 1_000_000;

/// A user as clients see it.
#[derive(Clone, Debug, Serialize)]
pub struct User {
    pub id: u64,
    /// Counts replacements, so that a client can tell whether it knows the latest.
    pub version: u64,
    #[serde(flatten)]
    pub draft: Draft,
}

/// What clients say of a user.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    pub name: String,
    pub email: String,
}

/// Why something was not done.
#[derive(Debug)]
pub enum Refused {
    Absent(u64),
    Changed,
    Full,
}

/// All users. A clone is another handle on the same ones.
#[derive(Clone, Default)]
pub struct Users(Arc<RwLock<Shelf>>);

#[derive(Default)]
struct Shelf {
    /// In the order of their ids, so that a page is a range.
    users: BTreeMap<u64, User>,
    /// Never goes back: an id that was deleted is not given to somebody else.
    last_id: u64,
}

impl Users {
    pub fn create(&self, draft: Draft) -> Result<User, Refused> {
        let mut shelf = self.write();
        if shelf.users.len() == USERS_MAX {
            return Err(Refused::Full);
        }
        shelf.last_id += 1;
        let user = User { id: shelf.last_id, version: 1, draft };
        shelf.users.insert(user.id, user.clone());
        Ok(user)
    }

    pub fn find(&self, id: u64) -> Result<User, Refused> {
        self.read().users.get(&id).cloned().ok_or(Refused::Absent(id))
    }

    /// Replaces a user if it is still the one that is meant. Looking and replacing happen under one lock: of
    /// two who mean the same version, one is refused.
    pub fn replace(&self, id: u64, draft: Draft, is_meant: impl Fn(&User) -> bool) -> Result<User, Refused> {
        let mut shelf = self.write();
        let user = shelf.users.get_mut(&id).ok_or(Refused::Absent(id))?;
        if !is_meant(user) {
            return Err(Refused::Changed);
        }
        *user = User { id, version: user.version + 1, draft };
        Ok(user.clone())
    }

    pub fn remove(&self, id: u64) -> Result<(), Refused> {
        self.write().users.remove(&id).map(drop).ok_or(Refused::Absent(id))
    }

    /// The next users behind that id. So nobody is skipped or shown twice when others come and go meanwhile,
    /// which page numbers cannot promise.
    pub fn page(&self, after: u64, limit: usize) -> Vec<User> {
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        self.read().users.range(behind).take(limit).map(|(_, user)| user.clone()).collect()
    }

    pub fn count(&self) -> usize {
        self.read().users.len()
    }

    // Nothing in here leaves a shelf half changed, so one that a panic left behind is as good as any.
    fn read(&self) -> RwLockReadGuard<'_, Shelf> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shelf> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
