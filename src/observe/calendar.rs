//! Seconds since 1970 as a date in UTC, for lines in logs.
//!
//! Pure arithmetic on the proleptic Gregorian calendar; no time zones, no leap seconds, no clock, no
//! allocation.

/// A second, taken apart. All in UTC; month and day count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// As in 2026.
    pub year: u64,
    /// 1 is January.
    pub month: u8,
    /// Of the month.
    pub day: u8,
    /// Of the day.
    pub hour: u8,
    /// Of the hour.
    pub minute: u8,
    /// Of the minute.
    pub second: u8,
}

impl Moment {
    /// The moment so many seconds after 1970 began.
    #[must_use]
    pub fn from_unix(seconds: u64) -> Moment {
        let (days, rest) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
        // Years are reckoned from March, so that the leap day comes last; 719,468 days lie before 1970.
        let days = days + 719_468;
        let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Moment {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * from_march + 2) / 5 + 1) as u8,
            hour: (rest / 3_600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
        }
    }

    /// Appends `2026-11-21T10:26:13` (RFC 3339, without fraction and zone).
    pub fn write_iso(&self, out: &mut Vec<u8>) {
        self.write_year(out);
        for (before, number) in [(b'-', self.month), (b'-', self.day), (b'T', self.hour)] {
            out.push(before);
            write_two(out, number);
        }
        self.write_minutes(out);
    }

    /// Appends `21/Nov/2026:10:26:13 +0000`, as the combined log format has it.
    pub fn write_combined(&self, out: &mut Vec<u8>) {
        write_two(out, self.day);
        out.push(b'/');
        out.extend_from_slice(MONTHS[usize::from(self.month) - 1]);
        out.push(b'/');
        self.write_year(out);
        out.push(b':');
        write_two(out, self.hour);
        self.write_minutes(out);
        out.extend_from_slice(b" +0000");
    }

    fn write_year(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(itoa::Buffer::new().format(self.year).as_bytes());
    }

    fn write_minutes(&self, out: &mut Vec<u8>) {
        for number in [self.minute, self.second] {
            out.push(b':');
            write_two(out, number);
        }
    }
}

fn write_two(out: &mut Vec<u8>, number: u8) {
    out.extend_from_slice(&[b'0' + number / 10, b'0' + number % 10]);
}

const DAY_SECONDS: u64 = 86_400;
const ERA_DAYS: u64 = 146_097;
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn written(seconds: u64, write: fn(&Moment, &mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&Moment::from_unix(seconds), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn leap_days_and_century_rules_are_kept() {
        assert_eq!(written(0, Moment::write_iso), "1970-01-01T00:00:00");
        assert_eq!(written(951_782_399, Moment::write_iso), "2000-02-28T23:59:59");
        assert_eq!(written(951_782_400, Moment::write_iso), "2000-02-29T00:00:00");
        assert_eq!(written(1_795_256_773, Moment::write_iso), "2026-11-21T10:26:13");
        assert_eq!(written(4_107_542_399, Moment::write_iso), "2100-02-28T23:59:59");
        assert_eq!(written(4_107_542_400, Moment::write_iso), "2100-03-01T00:00:00");
    }

    #[test]
    fn the_combined_form_names_the_month() {
        assert_eq!(written(1_795_256_773, Moment::write_combined), "21/Nov/2026:10:26:13 +0000");
    }

    #[test]
    fn every_day_of_two_centuries_agrees_with_another_calendar() {
        for day in 0..73_000 {
            let seconds = day * DAY_SECONDS + day % DAY_SECONDS;
            let moment = Moment::from_unix(seconds);
            let other = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            let ours = format!(
                "{:02} {} {} {:02}:{:02}:{:02} GMT",
                moment.day,
                str::from_utf8(MONTHS[usize::from(moment.month) - 1]).unwrap(),
                moment.year,
                moment.hour,
                moment.minute,
                moment.second
            );
            assert!(other.ends_with(&ours), "{other} is not {ours}");
        }
    }
}
