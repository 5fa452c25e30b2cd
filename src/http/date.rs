//! Dates as HTTP writes them.
//!
//! An [`HttpDate`] is made once a second and copied into every answer; making one allocates nothing.
//! [`parse`] reads the three formats of RFC 9110 section 5.6.7. No clock here: seconds come in as a number.

use std::fmt;
use std::time::UNIX_EPOCH;

/// How long an IMF-fixdate is.
pub const HTTP_DATE_BYTES: usize = 29;
/// 9999-12-31 23:59:59, the last second that four digits of a year can tell.
const SECONDS_MAX: u64 = 253_402_300_799;
const SECONDS_A_DAY: u64 = 86_400;
const DAY_NAMES: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const MONTH_NAMES: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// A second, written as IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// Invariant: ASCII.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HttpDate([u8; HTTP_DATE_BYTES]);

impl HttpDate {
    /// The date of a Unix second; beyond the year 9999 it stays at its last second.
    #[must_use]
    pub fn at(unix_seconds: u64) -> HttpDate {
        let seconds = unix_seconds.min(SECONDS_MAX);
        let days = seconds / SECONDS_A_DAY;
        let second = seconds % SECONDS_A_DAY;
        let (year, month, day) = civil(days);

        let mut text = *b"___, __ ___ ____ __:__:__ GMT";
        // The first day, 1970-01-01, was a Thursday.
        text[..3].copy_from_slice(DAY_NAMES[(days as usize + 4) % 7]);
        write_pair(&mut text, 5, day);
        text[8..11].copy_from_slice(MONTH_NAMES[month as usize - 1]);
        write_pair(&mut text, 12, year / 100);
        write_pair(&mut text, 14, year % 100);
        write_pair(&mut text, 17, second / 3600);
        write_pair(&mut text, 20, second / 60 % 60);
        write_pair(&mut text, 23, second % 60);
        HttpDate(text)
    }

    /// The date as it goes onto the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HTTP_DATE_BYTES] {
        &self.0
    }
}

impl AsRef<[u8]> for HttpDate {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for HttpDate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for HttpDate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Reads a date in any of the three formats a recipient must know, as Unix seconds. `None` for what is no
/// date, or lies before 1970.
#[must_use]
pub fn parse(text: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// Year, month and day of a count of days since 1970-01-01. The year is thought to begin in March, so that
/// the leap day comes last; the calendar repeats after an era of 400 years.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_FROM_YEAR_0: u64 = 719_468;
    const DAYS_AN_ERA: u64 = 146_097;
    let days = days + DAYS_FROM_YEAR_0;
    let era = days / DAYS_AN_ERA;
    let day_of_era = days % DAYS_AN_ERA;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn write_pair(text: &mut [u8; HTTP_DATE_BYTES], at: usize, number: u64) {
    debug_assert!(number < 100);
    text[at] = b'0' + (number / 10) as u8;
    text[at + 1] = b'0' + (number % 10) as u8;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_the_dates_everybody_knows() {
        assert_eq!(HttpDate::at(784_111_777).to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(HttpDate::at(0).to_string(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(HttpDate::at(951_782_400).to_string(), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(HttpDate::at(u64::MAX).to_string(), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn reads_all_three_formats() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(text.as_bytes()), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        let table: [&[u8]; 9] = [
            b"",
            b"yesterday, about noon",
            b"Sun, 06 Nov 1994 08:49:37",
            b"Sun, 06 Nov 1994 08:49:37 CET",
            b"Sun, 31 Feb 1994 08:49:37 GMT",
            b"Sun, 06 Nov 1994 24:00:00 GMT",
            b"Sun, 06 Nov 0000 08:49:37 GMT",
            b"784111777",
            b"\xff\xfe",
        ];
        for text in table {
            assert_eq!(parse(text), None, "{}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_second_opinion_and_reads_back(second in 0..=SECONDS_MAX) {
            let text = HttpDate::at(second).to_string();
            prop_assert_eq!(&text, &httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second)));
            prop_assert_eq!(parse(text.as_bytes()), Some(second));
        }

        #[test]
        fn no_text_is_too_odd_to_read(text in "[A-Z]?[a-z]{0,8},? [ 0-9A-Za-z:-]{0,30}( GMT)?") {
            let _ = parse(text.as_bytes());
        }

        #[test]
        fn a_spoiled_date_is_read_or_refused(second in 0..=SECONDS_MAX, at in 0..HTTP_DATE_BYTES, byte: u8) {
            let mut text = *HttpDate::at(second).as_bytes();
            text[at] = byte;
            let _ = parse(&text);
        }
    }
}
