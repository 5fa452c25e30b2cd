//! Passwords as files keep them: bcrypt and argon2id, slow by design.
//!
//! How slow is known before a password comes, since the hash says it. What would take too long is a mistake
//! when it is read: a password is verified where the request is, and others wait that long
//! ([`Basic`](super::Basic) says how often).

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params};

/// bcrypt looks at no more, and would take two passwords for one.
pub const PASSWORD_BYTES_MAX: usize = 72;
/// So long others wait at most.
const COST_US_MAX: u64 = 60_000;
/// Of one round of bcrypt, as `benches/guard.rs` measures it.
const BCRYPT_ROUND_NS: u64 = 58_000;
/// Of one KiB in one pass of argon2: measured 450, and more where memory is slow.
const ARGON2_KIB_NS: u64 = 600;

/// A hash that is worth reading.
pub struct Hash {
    kind: Kind,
    cost_us: u64,
}

enum Kind {
    Bcrypt(String),
    Argon2(Box<PasswordHash>),
}

impl Hash {
    /// Reads a hash in its usual spelling.
    ///
    /// # Errors
    /// It is of another kind, broken, or takes too long.
    pub fn of(text: &str) -> Result<Hash, String> {
        let hash = match text {
            _ if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) => bcrypt_of(text)?,
            _ if text.starts_with("$argon2id$") => argon2_of(text)?,
            _ => return Err("is hashed in a way that is not taken; bcrypt and argon2id are".to_owned()),
        };
        if hash.cost_us > COST_US_MAX {
            return Err(format!(
                "is hashed so that it takes {} ms to verify, which would hold others up; at most {} ms: \
                 bcrypt with a cost of 10, argon2id with memory times passes of 100 MiB",
                hash.cost_us / 1_000,
                COST_US_MAX / 1_000
            ));
        }
        Ok(hash)
    }

    /// About how long it takes to verify a password.
    #[must_use]
    pub fn cost_us(&self) -> u64 {
        self.cost_us
    }

    /// Whether it is the password's. Takes as long for a wrong one.
    #[must_use]
    pub fn verifies(&self, password: &[u8]) -> bool {
        match &self.kind {
            Kind::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Kind::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
        }
    }
}

fn bcrypt_of(text: &str) -> Result<Hash, String> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| "is no whole bcrypt hash")?;
    let cost_us = (BCRYPT_ROUND_NS << parts.get_cost().min(31)) / 1_000;
    Ok(Hash { kind: Kind::Bcrypt(text.to_owned()), cost_us })
}

fn argon2_of(text: &str) -> Result<Hash, String> {
    let broken = || "is no whole argon2id hash".to_owned();
    let hash = PasswordHash::new(text).map_err(|_| broken())?;
    let params = Params::try_from(&hash).map_err(|_| broken())?;
    if hash.hash.is_none() || hash.salt.is_none() {
        return Err(broken());
    }
    let cost_us = u64::from(params.m_cost()) * u64::from(params.t_cost()) * ARGON2_KIB_NS / 1_000;
    Ok(Hash { kind: Kind::Argon2(Box::new(hash)), cost_us })
}
