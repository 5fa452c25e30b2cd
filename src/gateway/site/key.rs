//! What a request is balanced by, as a number.
//!
//! The same in every process and over restarts, unlike the keys that are counted by: two gateways side by
//! side send a key to the same server, and a restart moves nobody. Whoever could find keys that meet at one
//! server could as well send the same key again and again.

use crate::config::site::Balance;
use crate::gateway::Exchange;
use crate::gateway::guard::Secret;

/// No secret, see above. Another number would move every key.
const SEED: u64 = 0x6d79_7269_6170_6f64;

/// The key of a request. `None`: its upstream asks for none, or it has none, and any server will do.
#[must_use]
pub fn of_balance(balance: &Balance, exchange: &Exchange<'_>) -> Option<u64> {
    match balance {
        Balance::Hash(by) => Secret::of(SEED).find(by, exchange),
        Balance::RoundRobin | Balance::Least | Balance::TwoChoices => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::site::KeyOf;
    use crate::gateway::guard::tests::Asked;

    fn key(by: KeyOf, asked: &Asked) -> Option<u64> {
        asked.ask(|exchange| of_balance(&Balance::Hash(by), exchange))
    }

    #[test]
    fn a_request_is_balanced_by_what_it_says_or_by_nothing() {
        let asked = Asked::from("192.0.2.1").with("cookie", "a=1; id=7").with("x-user", "anna");
        let other = Asked::from("192.0.2.2").with("cookie", "id=7");
        let cookie = || KeyOf::Cookie("id".to_owned());
        assert!(key(cookie(), &asked).is_some() && key(cookie(), &asked) == key(cookie(), &other));
        assert_ne!(key(KeyOf::Client, &asked), key(KeyOf::Client, &other));
        assert!(key(KeyOf::Header("x-user".to_owned()), &asked).is_some());
        assert_eq!(key(KeyOf::Header("x-user".to_owned()), &other), None);
        assert_eq!(key(KeyOf::Client, &Asked::from("a unix socket")), None);
        assert_eq!(asked.ask(|exchange| of_balance(&Balance::Least, exchange)), None);
    }

    /// Two gateways of different ages must agree.
    #[test]
    fn a_key_is_the_same_for_ever() {
        let asked = Asked::from("192.0.2.1").with("x-user", "anna");
        assert_eq!(key(KeyOf::Header("x-user".to_owned()), &asked), Some(2_467_839_585_450_433_956));
    }
}
