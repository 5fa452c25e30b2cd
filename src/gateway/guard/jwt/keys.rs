//! Keys that say whether a token was signed by whom it should be.
//!
//! A key is of one algorithm from the moment it is read: what a token says can choose among keys and nothing
//! else, so no public key is ever taken for a secret (RFC 8725 section 3.1). A key that is too weak or not
//! what it is said to be is a mistake when it is read, not a surprise when a token comes.
//! The arithmetic is `ring`'s, in constant time where it matters.

use std::fmt;

use ring::{agreement, hmac, rand, signature};

use super::pem;
use crate::config::site::Algorithm;

/// RFC 7518 section 3.2: as long as the hash.
const SECRET_BYTES_MIN: usize = 32;
/// RFC 7518 section 3.3.
const RSA_BITS_MIN: usize = 2048;
/// More would take milliseconds.
const RSA_BITS_MAX: usize = 8192;
/// A token without a `kid` is tried with each key of its algorithm.
const KEYS_MAX: usize = 16;

/// A key for one algorithm.
pub struct Key {
    /// What `kid` must be, where a token says it.
    pub id: Option<String>,
    material: Material,
}

enum Material {
    Hs256(hmac::Key),
    Rs256 {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point, uncompressed.
    Es256([u8; 65]),
    EdDsa([u8; 32]),
}

/// All keys of a step.
pub struct KeySet(Vec<Key>);

impl Key {
    /// A key as it stands in a configuration: a secret's bytes, or a public key as PEM.
    ///
    /// # Errors
    /// What is wrong with it, to be said to the operator.
    pub fn local(algorithm: Algorithm, id: Option<String>, key: &[u8]) -> Result<Key, String> {
        let material = match algorithm {
            Algorithm::Hs256 => Material::secret(key)?,
            _ => Material::of(pem::public_key(key)?)?,
        };
        let key = Key { id, material };
        if key.algorithm() != algorithm {
            let said = Name(algorithm);
            return Err(format!("is a public key for {}, not for {said}", Name(key.algorithm())));
        }
        Ok(key)
    }

    /// A secret.
    ///
    /// # Errors
    /// It is too short, or no secret at all.
    pub fn secret(id: Option<String>, bytes: &[u8]) -> Result<Key, String> {
        Ok(Key { id, material: Material::secret(bytes)? })
    }

    /// A public key.
    ///
    /// # Errors
    /// It is too weak, or is none.
    pub fn public(id: Option<String>, key: PublicKey) -> Result<Key, String> {
        Ok(Key { id, material: Material::of(key)? })
    }

    /// What it verifies.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Hs256(_) => Algorithm::Hs256,
            Material::Rs256 { .. } => Algorithm::Rs256,
            Material::Es256(_) => Algorithm::Es256,
            Material::EdDsa(_) => Algorithm::EdDsa,
        }
    }

    /// Whether the signature of the message is its owner's.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        use signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
        let verdict = match &self.material {
            Material::Hs256(key) => hmac::verify(key, message, signature),
            Material::Rs256 { n, e } => signature::RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Material::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Material::EdDsa(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature),
        };
        verdict.is_ok()
    }
}

/// A public key as it is written down; numbers without leading zeros.
#[derive(Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// Modulus and exponent.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
    /// A point of P-256, uncompressed.
    P256(Vec<u8>),
    /// A point.
    Ed25519(Vec<u8>),
}

impl Material {
    fn secret(bytes: &[u8]) -> Result<Material, String> {
        // The oldest confusion of all: the public key that everybody has, taken for the secret.
        if pem::looks_like_key(bytes) {
            return Err("is a key or certificate, not a secret; HS256 needs random bytes".to_owned());
        }
        if bytes.len() < SECRET_BYTES_MIN {
            let len = bytes.len();
            return Err(format!(
                "is a secret of {len} bytes; HS256 needs at least {SECRET_BYTES_MIN}, as from: openssl rand 32"
            ));
        }
        Ok(Material::Hs256(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    fn of(key: PublicKey) -> Result<Material, String> {
        match key {
            PublicKey::Rsa { n, e } => rsa(n, e),
            PublicKey::P256(point) => p256(&point),
            PublicKey::Ed25519(point) => match point.try_into() {
                Ok(point) => Ok(Material::EdDsa(point)),
                Err(_) => Err("is no point of Ed25519: those have 32 bytes".to_owned()),
            },
        }
    }
}

fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Material, String> {
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(format!("is an RSA key of {bits} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken"));
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    // What ring takes: 3 to 2^33. A leading zero would make a key that verifies nothing.
    let is_exponent = e.len() <= 4 && e.first().is_some_and(|first| *first != 0) && e != [1];
    if !is_odd(&n) || n.first() == Some(&0) || !is_odd(&e) || !is_exponent {
        return Err("is no RSA key: its modulus or exponent cannot be one".to_owned());
    }
    Ok(Material::Rs256 { n, e })
}

/// RFC 8725 section 3.4: a point that is not on the curve is no key.
fn p256(point: &[u8]) -> Result<Material, String> {
    let wrong = || "is no point of P-256".to_owned();
    let bytes: [u8; 65] = point.try_into().map_err(|_| wrong())?;
    let random = rand::SystemRandom::new();
    // An agreement with anybody looks at the point as closely as a verification, and says so.
    let own =
        agreement::EphemeralPrivateKey::generate(&agreement::ECDH_P256, &random).map_err(|_| wrong())?;
    let peer = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, bytes);
    agreement::agree_ephemeral(own, &peer, |_| ()).map_err(|_| wrong())?;
    Ok(Material::Es256(bytes))
}

impl KeySet {
    /// Keys that are asked in their order.
    ///
    /// # Errors
    /// There are none, too many, or two of one name.
    pub fn new(keys: Vec<Key>) -> Result<KeySet, String> {
        if keys.is_empty() {
            return Err("has no key that could verify a token".to_owned());
        }
        if keys.len() > KEYS_MAX {
            return Err(format!("has {} keys; at most {KEYS_MAX} are taken", keys.len()));
        }
        for (number, key) in keys.iter().enumerate() {
            let is_twin = |other: &Key| other.id.is_some() && other.id == key.id;
            if keys[..number].iter().any(is_twin) {
                let id = key.id.as_deref().unwrap_or_default();
                return Err(format!("has two keys with the kid {id:?}"));
            }
        }
        Ok(KeySet(keys))
    }

    /// Those that a token of this algorithm and `kid` may be signed with.
    pub fn candidates<'k>(
        &'k self,
        algorithm: Algorithm,
        id: Option<&'k str>,
    ) -> impl Iterator<Item = &'k Key> {
        let is_meant = move |key: &&Key| match (&key.id, id) {
            (Some(own), Some(id)) => own == id,
            _ => true,
        };
        self.0.iter().filter(move |key| key.algorithm() == algorithm).filter(is_meant)
    }
}

/// An algorithm as tokens spell it.
struct Name(Algorithm);

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        })
    }
}

/// The algorithm of that name. Nothing else is one, in whatever case: `none` has no key, so it has no name.
#[must_use]
pub fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "HS256" => Some(Algorithm::Hs256),
        "RS256" => Some(Algorithm::Rs256),
        "ES256" => Some(Algorithm::Es256),
        // RFC 9864 gives it its own name.
        "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
        _ => None,
    }
}
