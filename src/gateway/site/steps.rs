//! What requests pass through, made of what was written; and the tables that outlive a reload.
//!
//! A table is taken over by the step of the same name with the same limits: a reload forgives nobody. Keys of
//! tokens are read anew each time.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::edit_fields::{self, EditFields};
use crate::config::site::{ConcurrencyLimit, Jwt, KeySource, RateLimit, Step, StepKind, Trust};
use crate::gateway::guard::jwt::jwks;
use crate::gateway::guard::jwt::keys::{Key, KeySet};
use crate::gateway::guard::rate::RateTable;
use crate::gateway::guard::{self, ConnectionCounts, Secret, counts, counts::Counts, rate};
use crate::gateway::middleware::{Cors, Middleware, RequestId, SetFields, Tracing, mistake_in_origin};
use crate::http::{Method, MethodSet};

/// Tables that outlive a reload, each with what it was made for.
#[derive(Default)]
pub struct Kept {
    rates: Vec<(String, RateLimit, Secret, Arc<RateTable>)>,
    counts: Vec<(String, ConcurrencyLimit, Secret, Arc<Counts>)>,
    connections: Option<Arc<ConnectionCounts>>,
}

/// Addresses whose connections are counted at once, at least; beyond it some are let in uncounted.
const ADDRESSES_MAX: u32 = 1 << 16;

/// Makes a step.
///
/// # Errors
/// What is wrong with it that shows only now, such as a key that is none.
pub fn make(step: &Step, kept: &mut Kept, seed: u64) -> Result<Arc<dyn Middleware>, String> {
    let (name, secret) = (step.name.as_str(), Secret::of(seed));
    Ok(match &step.kind {
        StepKind::RateLimit(limit) => {
            let (secret, table) = kept.rate_table(name, limit, secret)?;
            Arc::new(guard::RateLimit::new(name, limit, table, secret))
        }
        StepKind::Concurrency(limit) => {
            let (secret, counts) = kept.counts(name, limit, secret)?;
            Arc::new(guard::Concurrency::new(limit, counts, secret))
        }
        StepKind::Access { allow, deny } => Arc::new(guard::Access::new(allow, deny)),
        StepKind::Jwt(config) => Arc::new(jwt(config)?),
        StepKind::Basic(config) => {
            config.field.as_deref().map(edit_fields::checked).transpose()?;
            Arc::new(guard::Basic::new(config, secret)?)
        }
        StepKind::Fields { request, response } => {
            Arc::new(EditFields::new(secret.name(name), request, response)?)
        }
        StepKind::RequestId => Arc::new(RequestId::new()),
        StepKind::Trace => Arc::new(Tracing::new()),
        StepKind::Cors { origins } => Arc::new(cors(origins)?),
        StepKind::SecureFields => Arc::new(SetFields::secure()),
    })
}

impl Kept {
    /// Where connections of each address are counted, if they ever were limited: those that are open are
    /// counted out where they were counted in.
    pub(super) fn connections(&mut self, trust: &Trust, seed: u64) -> Option<Arc<ConnectionCounts>> {
        if let (None, Some(max)) = (&self.connections, trust.connections_per_address_max) {
            let counts = ConnectionCounts::new(max, ADDRESSES_MAX, Secret::of(seed));
            self.connections = Some(Arc::new(counts));
        }
        self.connections.clone()
    }

    /// A table, and the secret that its keys are made with.
    fn rate_table(
        &mut self,
        name: &str,
        limit: &RateLimit,
        secret: Secret,
    ) -> Result<(Secret, Arc<RateTable>), String> {
        if limit.requests == 0 || limit.per_ms == 0 || limit.burst == 0 {
            return Err("lets nobody pass: its requests, time and burst are at least 1".to_owned());
        }
        fits(limit.keys_max, rate::KEYS_MAX)?;
        // What no site uses any more is dropped here, one reload late.
        self.rates.retain(|(.., table)| Arc::strong_count(table) > 1);
        let known = self.rates.iter().find(|(known, same, ..)| known == name && same == limit);
        if let Some((_, _, secret, table)) = known {
            return Ok((*secret, Arc::clone(table)));
        }
        let table = Arc::new(RateTable::new(limit.into(), limit.keys_max));
        self.rates.push((name.to_owned(), limit.clone(), secret, Arc::clone(&table)));
        Ok((secret, table))
    }

    /// A table, and the secret that its keys are made with.
    fn counts(
        &mut self,
        name: &str,
        limit: &ConcurrencyLimit,
        secret: Secret,
    ) -> Result<(Secret, Arc<Counts>), String> {
        if limit.requests == 0 {
            return Err("lets nobody pass: its requests are at least 1".to_owned());
        }
        fits(limit.keys_max, counts::KEYS_MAX)?;
        self.counts.retain(|(.., table)| Arc::strong_count(table) > 1);
        // Not its number: who is under way under the old limit is under way.
        let is_same = |old: &ConcurrencyLimit| old.by == limit.by && old.keys_max == limit.keys_max;
        let known = self.counts.iter().find(|(known, old, ..)| known == name && is_same(old));
        if let Some((_, _, secret, table)) = known {
            return Ok((*secret, Arc::clone(table)));
        }
        let table = Arc::new(Counts::new(limit.keys_max));
        self.counts.push((name.to_owned(), limit.clone(), secret, Arc::clone(&table)));
        Ok((secret, table))
    }
}

fn fits(keys_max: u32, most: u32) -> Result<(), String> {
    match keys_max {
        0 => Err("keeps no key: there is at least 1".to_owned()),
        keys if keys > most => Err(format!("keeps {keys} keys; a table has at most {most}")),
        _ => Ok(()),
    }
}

fn jwt(config: &Jwt) -> Result<guard::Jwt, String> {
    let mut keys = Vec::new();
    for (number, source) in config.keys.iter().enumerate() {
        match source {
            KeySource::Local { algorithm, id, key } => {
                let key = Key::local(*algorithm, id.clone(), key);
                keys.push(key.map_err(|wrong| format!("key {} {wrong}", number + 1))?);
            }
            KeySource::Jwks(path) => {
                let of_file = |wrong: String| format!("{}: {wrong}", path.display());
                let text = read(path).map_err(|error| of_file(error.to_string()))?;
                keys.extend(jwks::keys(&text).map_err(of_file)?);
            }
        }
    }
    for rule in &config.claims {
        edit_fields::checked(&rule.field)?;
    }
    Ok(guard::Jwt::new(config, KeySet::new(keys)?))
}

/// Sets of keys have a few kilobytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Whatever pages ask for, of the origins that are listed: the routes behind say what is allowed.
fn cors(origins: &[String]) -> Result<Cors, String> {
    const METHODS: MethodSet =
        MethodSet::of(&[Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete]);
    let cors = match origins {
        [] => return Err("lets no page call: list origins, or \"*\" alone".to_owned()),
        [any] if any == "*" => Cors::any(),
        _ => match origins.iter().find_map(|origin| mistake_in_origin(origin)) {
            Some(mistake) => return Err(mistake),
            None => Cors::of(origins.iter().cloned()),
        },
    };
    Ok(cors.methods(METHODS).headers_as_asked())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::site::{Algorithm, ClaimRule, KeyOf};
    use crate::gateway::Notes;
    use crate::gateway::guard::tests::Asked;
    use crate::gateway::middleware::Flow;

    fn step(name: &str, kind: StepKind) -> Step {
        Step { name: name.to_owned(), kind }
    }

    fn mistake(kind: StepKind) -> String {
        make(&step("a", kind), &mut Kept::default(), 1).err().unwrap_or_default()
    }

    fn rate(requests: u32) -> StepKind {
        StepKind::RateLimit(RateLimit { requests, per_ms: 60_000, burst: 1, by: KeyOf::Client, keys_max: 9 })
    }

    fn concurrency(requests: u32) -> StepKind {
        StepKind::Concurrency(ConcurrencyLimit { requests, by: KeyOf::Client, keys_max: 9 })
    }

    fn passes(step: &Arc<dyn Middleware>, notes: &mut Notes) -> bool {
        Asked::from("192.0.2.1").ask_with(notes, |exchange| matches!(step.enter(exchange), Flow::On))
    }

    #[test]
    fn a_reload_forgives_nobody_unless_the_limit_is_another() {
        let mut kept = Kept::default();
        let mut asks = |name, kind, seed| {
            let step = make(&step(name, kind), &mut kept, seed).unwrap();
            let passed = passes(&step, &mut Notes::default());
            (passed, step)
        };
        let (passed, _old) = asks("a", rate(1), 1);
        assert!(passed && !asks("a", rate(1), 2).0, "whatever the seed is now");
        assert!(asks("b", rate(1), 1).0 && asks("a", rate(2), 1).0);
    }

    #[test]
    fn who_is_under_way_stays_counted_when_the_limit_changes() {
        let mut kept = Kept::default();
        let old = make(&step("a", concurrency(1)), &mut kept, 1).unwrap();
        let mut notes = Notes::default();
        assert!(passes(&old, &mut notes) && !passes(&old, &mut Notes::default()));
        let new = make(&step("a", concurrency(2)), &mut kept, 2).unwrap();
        let mut second = Notes::default();
        assert!(passes(&new, &mut second) && !passes(&new, &mut Notes::default()));
    }

    #[test]
    fn what_nobody_uses_is_not_kept() {
        let mut kept = Kept::default();
        for number in 0..10 {
            drop(make(&step(&number.to_string(), rate(1)), &mut kept, 1));
            drop(make(&step(&number.to_string(), concurrency(1)), &mut kept, 1));
        }
        assert_eq!((kept.rates.len(), kept.counts.len()), (1, 1));
    }

    fn with_keys(keys: Vec<KeySource>, field: &str) -> StepKind {
        StepKind::Jwt(Jwt {
            keys,
            issuer: None,
            audiences: Vec::new(),
            leeway_seconds: 0,
            cookie: None,
            claims: vec![ClaimRule { claim: "sub".into(), field: field.into() }],
            realm: "a".into(),
            forwards_token: false,
        })
    }

    #[test]
    fn mistakes_are_named() {
        let local =
            |key: &[u8]| KeySource::Local { algorithm: Algorithm::Hs256, id: None, key: key.to_vec() };
        let good = || local(&[1; 32]);
        assert_eq!(mistake(with_keys(vec![good()], "X-User")), "");
        for (kind, part) in [
            (with_keys(vec![good(), local(b"short")], "X-User"), "key 2 is a secret of 5 bytes"),
            (with_keys(vec![good()], "Content-Length"), "the protocol writes it"),
            (with_keys(vec![], "X-User"), "no key"),
            (
                with_keys(vec![KeySource::Jwks("/nowhere/keys.json".into())], "X-User"),
                "/nowhere/keys.json: No such",
            ),
            (rate(0), "nobody pass"),
            (concurrency(0), "nobody pass"),
            (StepKind::Cors { origins: vec![] }, "list origins"),
            (StepKind::Cors { origins: vec!["https://a.example/".into()] }, "as browsers do"),
            (StepKind::Cors { origins: vec!["https://a.example".into(), "*".into()] }, "for any origin"),
        ] {
            let mistake = mistake(kind);
            assert!(mistake.contains(part), "{mistake:?}");
        }
        assert_eq!(mistake(StepKind::Cors { origins: vec!["*".into()] }), "");
        assert_eq!(mistake(StepKind::Access { allow: vec![], deny: vec![] }), "");
    }
}
