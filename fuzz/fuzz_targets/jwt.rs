//! A token is good for the one who reads it loosely whenever it is good for us; and no token that we did not
//! sign is good at all.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use myriapod::base::base64::{Alphabet, encode};
use myriapod::gateway::guard::jwt::jwks;
use myriapod::gateway::guard::jwt::keys::{Key, KeySet};
use myriapod::gateway::guard::jwt::seen::Seen;
use myriapod::gateway::guard::jwt::token::{Rules, judge};
use ring::hmac;
use serde_json::Value;

const NOW: u64 = 1_300_000_000;
const SECRET: [u8; 32] = [7; 32];

/// The example of RFC 7515 appendix A.3, the only token here that was not signed by us.
const KNOWN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const SET: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let mut keys = jwks::keys(SET.as_bytes()).expect("a set");
    keys.push(Key::secret(Some("h".into()), &SECRET).expect("a secret"));
    KeySet::new(keys).expect("keys")
});

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    match mode % 3 {
        0 => as_sent(rest),
        1 => signed(rest),
        _ => {
            let _ = jwks::keys(rest);
            let _ = Key::local(myriapod::config::site::Algorithm::Rs256, None, rest);
        }
    }
});

fn is_good(token: &[u8]) -> bool {
    let seen = Seen::new(4);
    let first = judge(token, &KEYS, &seen, &Rules::default(), NOW);
    let again = judge(token, &KEYS, &seen, &Rules::default(), NOW);
    assert_eq!(first, again, "a token that is known is judged the same");
    first.is_ok()
}

fn as_sent(token: &[u8]) {
    assert!(!is_good(token) || token == KNOWN.as_bytes());
}

/// Head and claims, with a line feed between, signed as they are.
fn signed(text: &[u8]) {
    let Some(at) = text.iter().position(|byte| *byte == b'\n') else { return };
    let (head, claims) = (&text[..at], &text[at + 1..]);
    let message = format!("{}.{}", encode(head, Alphabet::Url), encode(claims, Alphabet::Url));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), message.as_bytes());
    let token = format!("{message}.{}", encode(tag.as_ref(), Alphabet::Url));
    if token.len() > 8 * 1024 {
        return assert!(!is_good(token.as_bytes()));
    }
    let loosely = serde_json::from_slice::<Value>(head).ok().zip(serde_json::from_slice::<Value>(claims).ok());
    let is_fine = loosely.as_ref().is_some_and(|(head, claims)| fine_head(head) && fine_claims(claims));
    // A reader that takes the last of two finds the same in what stands once.
    let is_plain = loosely.is_some_and(|(one, other)| one.to_string().as_bytes() == head && other.to_string().as_bytes() == claims);
    match is_good(token.as_bytes()) {
        true => assert!(is_fine),
        false => assert!(!(is_fine && is_plain)),
    }
}

fn fine_head(head: &Value) -> bool {
    let is_kid = head.get("kid").is_none_or(|kid| kid == "h");
    head.is_object() && head["alg"] == "HS256" && head.get("crit").is_none() && is_kid
}

fn fine_claims(claims: &Value) -> bool {
    let now = NOW as f64;
    let begun = |name| match claims.get(name) {
        None => true,
        Some(time) => time.as_f64().is_some_and(|time| time <= now),
    };
    claims.is_object() && claims["exp"].as_f64().is_some_and(|exp| exp > now) && begun("nbf") && begun("iat")
}
