//! Durations and byte counts as people write them: `1h30m`, `64MiB`.

use std::fmt;
use std::time::Duration;

/// What a duration looks like, for messages.
pub(super) const DURATION_FORM: &str = r#""250ms", "5s", "10m", "1h30m", "7d""#;
/// What a byte count looks like, for messages.
pub(super) const BYTES_FORM: &str = r#"1048576, "512KiB", "64MiB", "2GiB""#;

const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const BYTE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a duration: numbers with units, the larger unit first, each at most once.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut units = DURATION_UNITS.iter();
    let mut total_ms = 0_u64;
    loop {
        let (count, after) = number(rest)?;
        let letters =
            after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        let &(_, ms) = units.find(|(name, _)| *name == unit)?;
        total_ms = total_ms.checked_add(count.checked_mul(ms)?)?;
        if after.is_empty() {
            return Some(Duration::from_millis(total_ms));
        }
        rest = after;
    }
}

/// Reads a number of bytes, with or without a unit.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (count, unit) = number(text.trim())?;
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Some(count);
    }
    let (_, factor) = BYTE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    count.checked_mul(*factor)
}

fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

/// Shows a duration so that [`duration`] reads it again; what is below a millisecond is cut off.
pub(crate) struct ShowDuration(pub(crate) Duration);

impl fmt::Display for ShowDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left_ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left_ms == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in DURATION_UNITS {
            if left_ms >= ms {
                write!(f, "{}{unit}", left_ms / ms)?;
                left_ms %= ms;
            }
        }
        Ok(())
    }
}

/// Shows a number of bytes in the largest binary unit that keeps it whole.
pub(crate) struct ShowBytes(pub(crate) u64);

impl fmt::Display for ShowBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole =
            |&&(_, factor): &&(&str, u64)| self.0 >= factor && self.0.is_multiple_of(factor);
        match BYTE_UNITS.iter().take(4).find(whole) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_numbers_with_units_the_larger_first() {
        let ms = |text| duration(text).map(|d| d.as_millis());
        assert_eq!(ms("250ms"), Some(250));
        assert_eq!(ms("5s"), Some(5_000));
        assert_eq!(ms("1h30m"), Some(5_400_000));
        assert_eq!(ms("1m1ms"), Some(60_001));
        assert_eq!(ms("7d"), Some(604_800_000));
        assert_eq!(ms("0s"), Some(0));
        for bad in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "1.5s",
            "5S",
            "1m1h",
            "1s1s",
            "5sec",
            "99999999999999999999s",
        ] {
            assert_eq!(ms(bad), None, "{bad:?}");
        }
        assert_eq!(ms(&format!("{}d", u64::MAX)), None);
    }

    #[test]
    fn bytes_are_a_number_with_or_without_a_unit() {
        assert_eq!(bytes("100"), Some(100));
        assert_eq!(bytes("64MiB"), Some(64 << 20));
        assert_eq!(bytes("64 mib"), Some(64 << 20));
        assert_eq!(bytes("2GB"), Some(2_000_000_000));
        assert_eq!(bytes("7kb"), Some(7_000));
        assert_eq!(bytes("0B"), Some(0));
        for bad in ["", "MiB", "-1", "1.5GiB", "1M", "1MiBs", "99999999999TiB"] {
            assert_eq!(bytes(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_again(n in any::<u64>()) {
            prop_assert_eq!(bytes(&ShowBytes(n).to_string()), Some(n));
            let d = Duration::from_millis(n);
            prop_assert_eq!(duration(&ShowDuration(d).to_string()), Some(d));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = (bytes(&text), duration(&text));
        }
    }
}
