//! UTC times as milliseconds since 1970-01-01, without a calendar crate.

use grid_core::GridData;
use std::fmt;

// Milliseconds.
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A time in milliseconds since 1970-01-01T00:00:00Z, shown as `2013-01-01T10:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, GridData)]
#[grid(transparent, key)]
pub(crate) struct Utc(pub(crate) i64);

impl Utc {
    /// The first and the last time with a year of four digits from 0001 on.
    const FIRST: i64 = days_from_civil(1, 1, 1) * DAY;
    const LAST: i64 = days_from_civil(10_000, 1, 1) * DAY - 1;

    /// Reads `2013-01-01T10:00:00Z` and nothing else.
    pub(crate) fn parse(text: &str) -> Option<Utc> {
        let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
        let punctuation = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
        if punctuation.iter().any(|&(at, byte)| bytes[at] != byte) {
            return None;
        }
        let number = |from: usize, to: usize| {
            bytes[from..to].iter().try_fold(0, |number, byte| {
                byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
            })
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let days = days_from_civil(year, month, day);
        let is_time = hour < 24 && minute < 60 && second < 60;
        // A date that does not exist, such as 31 June, comes back as another one.
        let is_date = year > 0 && civil_from_days(days) == (year, month, day);
        (is_time && is_date)
            .then(|| Utc(days * DAY + hour * HOUR + minute * MINUTE + second * 1000))
    }

    /// This time and so many minutes, unless that leaves the years 0001 to 9999.
    pub(crate) fn plus_minutes(self, minutes: i64) -> Option<Utc> {
        let time = minutes.checked_mul(MINUTE)?.checked_add(self.0)?;
        (Self::FIRST..=Self::LAST).contains(&time).then_some(Utc(time))
    }

    /// The hour of the day, 0 to 23.
    pub(crate) fn hour_of_day(self) -> usize {
        usize::try_from(self.0.rem_euclid(DAY) / HOUR).unwrap_or(0)
    }
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(DAY));
        let second = self.0.rem_euclid(DAY) / 1000;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
///
/// Years begin in March here, so that the leap day is the last of its year, and are counted in eras of 400,
/// which all have the same number of days.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date (year, month, day) of a number of days since 1970-01-01.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2013-01-01T10:00:00Z", 1_357_034_400),
            ("2016-02-29T23:59:59Z", 1_456_790_399),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(Utc::parse(text), Some(Utc(seconds * 1000)), "{text}");
            assert_eq!(Utc(seconds * 1000).to_string(), text);
        }
    }

    #[test]
    fn each_day_of_800_years_follows_the_one_before() {
        let first = days_from_civil(1600, 1, 1);
        let mut before = civil_from_days(first - 1);
        for days in first..days_from_civil(2400, 1, 1) {
            let date = civil_from_days(days);
            assert_eq!(days_from_civil(date.0, date.1, date.2), days);
            let (year, month, day) = before;
            let next_year = month == 12 && day == 31 && date == (year + 1, 1, 1);
            let next_month = date == (year, month + 1, 1) && day >= 28;
            assert!(
                date == (year, month, day + 1) && day < 31 || next_month || next_year,
                "{date:?}"
            );
            before = date;
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "NA",
            "2013-01-01 10:00:00",
            "2013-01-01T10:00:00",
            "2013-01-01T10:00:00z",
            "2013-02-29T10:00:00Z",
            "2013-06-31T10:00:00Z",
            "2013-13-01T10:00:00Z",
            "2013-00-01T10:00:00Z",
            "2013-01-00T10:00:00Z",
            "2013-01-01T24:00:00Z",
            "2013-01-01T10:60:00Z",
            "0000-01-01T10:00:00Z",
            "+013-01-01T10:00:00Z",
            "2013-01-01T10:00:0éZ",
        ] {
            assert_eq!(Utc::parse(text), None, "{text}");
        }
    }

    #[test]
    fn minutes_carry_over_and_stay_in_four_digit_years() {
        let time = Utc::parse("2013-01-01T00:10:00Z").unwrap();
        assert_eq!(time.plus_minutes(-11).unwrap().to_string(), "2012-12-31T23:59:00Z");
        assert_eq!(time.plus_minutes(-11).unwrap().hour_of_day(), 23);
        assert_eq!(time.plus_minutes(i64::MAX), None);
        assert_eq!(Utc::parse("9999-12-31T23:59:00Z").unwrap().plus_minutes(1), None);
        assert_eq!(Utc::parse("0001-01-01T00:00:00Z").unwrap().plus_minutes(-1), None);
    }
}
