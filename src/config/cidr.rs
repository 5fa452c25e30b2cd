//! A range of addresses, as operators write it: `10.0.0.0/8`, `2001:db8::/32`, or one address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// See the module. An IPv4 address that a dual-stack socket shows as IPv6 is the IPv4 address it is.
///
/// ```
/// use myriapod::config::Cidr;
///
/// let private: Cidr = "10.0.0.0/8".parse()?;
/// assert!(private.contains("10.1.2.3".parse()?) && !private.contains("11.0.0.1".parse()?));
/// assert!(private.contains("::ffff:10.1.2.3".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The first address, every host bit zero, as IPv6.
    first: u128,
    /// How many leading bits of it count, as IPv6.
    bits: u8,
}

/// Bits before an IPv4 address that is written as IPv6.
const V4_BITS: u8 = 96;

impl Cidr {
    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        (as_v6(address) ^ self.first).leading_zeros() >= u32::from(self.bits)
    }

    /// Its first and its last address, as IPv6.
    #[must_use]
    pub fn bounds(&self) -> (u128, u128) {
        (self.first, self.first | u128::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0))
    }
}

/// An address as 128 bits; the two spellings of an IPv4 address are the same.
#[must_use]
pub fn as_v6(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl FromStr for Cidr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Cidr, &'static str> {
        const WRONG: &str = "is no range of addresses; write 10.0.0.0/8, 2001:db8::/32 or one address";
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| WRONG)?;
        let (before, most) = if address.is_ipv4() { (V4_BITS, 32) } else { (0, 128) };
        let length: u8 = match length {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| WRONG)?
            }
            Some(_) => return Err(WRONG),
        };
        if length > most {
            return Err("has more bits than an address of its kind");
        }
        let bits = before + length;
        let first = as_v6(address);
        let hosts = u128::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
        if first & hosts != 0 {
            return Err("has host bits set behind its length: which of both was meant?");
        }
        Ok(Cidr { first, bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = Ipv6Addr::from_bits(self.first);
        match v6.to_ipv4_mapped().filter(|_| self.bits >= V4_BITS) {
            Some(v4) => write!(out, "{v4}/{}", self.bits - V4_BITS),
            None => write!(out, "{v6}/{}", self.bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Cidr {
        text.parse().expect(text)
    }

    #[test]
    fn a_range_has_its_first_and_its_last_address_and_no_more() {
        let range = range("192.0.2.64/26");
        for (address, is_in) in
            [("192.0.2.63", false), ("192.0.2.64", true), ("192.0.2.127", true), ("192.0.2.128", false)]
        {
            assert_eq!(range.contains(address.parse().unwrap()), is_in, "{address}");
        }
    }

    #[test]
    fn everybody_and_one_are_ranges_too() {
        assert!(range("0.0.0.0/0").contains("255.255.255.255".parse().unwrap()));
        assert!(!range("0.0.0.0/0").contains("2001:db8::1".parse().unwrap()), "another family");
        assert!(range("::/0").contains("1.2.3.4".parse().unwrap()));
        assert!(
            range("::1").contains("::1".parse().unwrap()) && !range("::1").contains("::2".parse().unwrap())
        );
    }

    #[test]
    fn ranges_are_shown_as_they_are_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::/0", "192.0.2.1/32"] {
            assert_eq!(range(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_range_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.1/8", "a/8", "::/129"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
