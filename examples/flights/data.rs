//! The input: departures, planes, airlines and airports of a data directory.

use crate::csv::{self, Report};
use crate::time::Utc;
use grid_core::GridData;
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How far the watermark follows behind the latest departure: the data is out of order by up to 24 hours, as a
/// flight that leaves a day late stands among those of its own day.
pub(crate) const LAG: Duration = Duration::from_secs(25 * 3600);

/// A flight that left.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Departure {
    /// When it left: the scheduled hour and minute and the delay.
    pub(crate) time: Utc,
    /// Minutes, negative if early.
    pub(crate) delay: i32,
    pub(crate) carrier: Arc<str>,
    pub(crate) origin: Arc<str>,
    /// Empty if unknown.
    pub(crate) tailnum: Arc<str>,
}

/// What is known of a plane.
#[derive(Clone, Debug, PartialEq, GridData)]
pub(crate) struct Plane {
    #[grid(id = 1)]
    pub(crate) seats: Option<u32>,
}

/// All that is in a data directory; keys are not yet unique, the last one counts.
#[derive(Debug, Default)]
pub(crate) struct Data {
    /// In the order in which they are fed: by the day of the schedule, within a day as in the file.
    pub(crate) departures: Vec<Departure>,
    /// Rows without departure time or arrival delay: cancelled and diverted flights.
    pub(crate) skipped: u64,
    /// By tail number.
    pub(crate) planes: Vec<(String, Plane)>,
    /// Carrier code and name.
    pub(crate) airlines: Vec<(String, String)>,
    /// Airport code and name.
    pub(crate) airports: Vec<(String, String)>,
    /// How reading went, file by file.
    pub(crate) reports: Vec<Report>,
}

impl Data {
    /// Reads the four files.
    pub(crate) fn load(folder: &Path) -> Result<Data, csv::Error> {
        let (departures, skipped, flights_report) = departures(folder)?;
        let (mut planes, mut airlines, mut airports) = (Vec::new(), Vec::new(), Vec::new());
        let planes_report =
            csv::read(folder, "planes", ["tailnum", "seats"], |[tailnum, seats]| {
                let seats = match seats {
                    "" | "NA" => None,
                    seats => u32::try_from(integer("seats", seats, 0, i32::MAX)?).ok(),
                };
                planes.push((present("tailnum", tailnum)?.to_owned(), Plane { seats }));
                Ok(())
            })?;
        let pair = |folder, name, columns: [&'static str; 2], pairs: &mut Vec<(String, String)>| {
            csv::read(folder, name, columns, |[key, value]| {
                let (key, value) = (present(columns[0], key)?, present(columns[1], value)?);
                pairs.push((key.to_owned(), value.to_owned()));
                Ok(())
            })
        };
        let airlines_report = pair(folder, "airlines", ["carrier", "name"], &mut airlines)?;
        let airports_report = pair(folder, "airports", ["faa", "name"], &mut airports)?;
        let reports = vec![flights_report, planes_report, airlines_report, airports_report];
        Ok(Data { departures, skipped, planes, airlines, airports, reports })
    }
}

/// The lag with which no departure in this order is late: `LAG`, or more if the data is out of order by more, as
/// a file can be that is not in the order of departure within a day.
pub(crate) fn lag(departures: &[Departure]) -> Duration {
    let mut latest = i64::MIN;
    let disorder = departures.iter().fold(0, |disorder: i64, departure| {
        latest = latest.max(departure.time.0);
        disorder.max(latest - departure.time.0)
    });
    LAG.max(Duration::from_millis(disorder.unsigned_abs()))
}

fn departures(folder: &Path) -> Result<(Vec<Departure>, u64, Report), csv::Error> {
    const COLUMNS: [&str; 11] = [
        "year",
        "month",
        "day",
        "dep_time",
        "dep_delay",
        "arr_delay",
        "carrier",
        "tailnum",
        "origin",
        "minute",
        "time_hour",
    ];
    let (mut departures, mut skipped, mut names) = (Vec::new(), 0, Names::default());
    let report = csv::read(folder, "flights", COLUMNS, |row| {
        match departure(row, &mut names)? {
            Some(departure) => departures.push(departure),
            None => skipped += 1,
        }
        Ok(())
    })?;
    // Stable: within a day the order of the file stays.
    departures.sort_by_key(|(day, _)| *day);
    Ok((departures.into_iter().map(|(_, departure)| departure).collect(), skipped, report))
}

/// A departure behind the day of its schedule: year, month, day.
type Scheduled = ((i32, i32, i32), Departure);

/// A row as a departure; none if it did not depart or not arrive.
fn departure(row: [&str; 11], names: &mut Names) -> Result<Option<Scheduled>, String> {
    let [
        year,
        month,
        day,
        dep_time,
        dep_delay,
        arr_delay,
        carrier,
        tailnum,
        origin,
        minute,
        time_hour,
    ] = row;
    if is_missing(dep_time) || is_missing(arr_delay) {
        return Ok(None);
    }
    integer("dep_time", dep_time, i32::MIN, i32::MAX)?;
    integer("arr_delay", arr_delay, i32::MIN, i32::MAX)?;
    let day = (
        integer("year", year, i32::MIN, i32::MAX)?,
        integer("month", month, 1, 12)?,
        integer("day", day, 1, 31)?,
    );
    let delay = integer("dep_delay", dep_delay, i32::MIN, i32::MAX)?;
    let minute = integer("minute", minute, 0, 59)?;
    let hour = Utc::parse(time_hour)
        .ok_or_else(|| format!("time_hour is not a time: {}", shown(time_hour)))?;
    let time = hour
        .plus_minutes(i64::from(minute) + i64::from(delay))
        .ok_or_else(|| format!("dep_delay is out of range: {}", shown(dep_delay)))?;
    let tailnum = names.get(if is_missing(tailnum) { "" } else { tailnum });
    let (carrier, origin) =
        (names.get(present("carrier", carrier)?), names.get(present("origin", origin)?));
    Ok(Some((day, Departure { time, delay, carrier, origin, tailnum })))
}

/// Codes and tail numbers, of which few are different: each is held once.
#[derive(Default)]
struct Names(HashSet<Arc<str>>);

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(name) = self.0.get(name) {
            return Arc::clone(name);
        }
        let name: Arc<str> = name.into();
        self.0.insert(Arc::clone(&name));
        name
    }
}

fn is_missing(value: &str) -> bool {
    matches!(value, "" | "NA")
}

fn present<'a>(column: &str, value: &'a str) -> Result<&'a str, String> {
    if is_missing(value) { Err(format!("{column} is missing")) } else { Ok(value) }
}

/// A whole number; `12.0` is one too, as programs write it that know no missing integers.
fn integer(column: &str, value: &str, low: i32, high: i32) -> Result<i32, String> {
    if is_missing(value) {
        return Err(format!("{column} is missing"));
    }
    let digits = match value.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => {
            whole
        }
        _ => value,
    };
    let number: i32 =
        digits.parse().map_err(|_| format!("{column} is not a number: {}", shown(value)))?;
    if (low..=high).contains(&number) {
        Ok(number)
    } else {
        Err(format!("{column} is out of range: {}", shown(value)))
    }
}

/// A value from a file as a message shows it: on one line, without control characters, not too long.
fn shown(value: &str) -> String {
    const CHARS_MAX: usize = 40;
    let start: String = value.chars().take(CHARS_MAX).collect();
    let rest = if start.len() < value.len() { ".." } else { "" };
    format!("{start:?}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: [&str; 11] =
        ["2013", "1", "1", "517", "2", "11", "UA", "N14228", "EWR", "15", "2013-01-01T10:00:00Z"];

    fn read(row: [&str; 11]) -> Result<Option<Scheduled>, String> {
        departure(row, &mut Names::default())
    }

    fn with(column: usize, value: &'static str) -> Result<Option<Scheduled>, String> {
        let mut row = ROW;
        row[column] = value;
        read(row)
    }

    #[test]
    fn a_departure_leaves_at_its_hour_and_minute_and_delay() {
        let (day, departure) = read(ROW).unwrap().unwrap();
        assert_eq!(day, (2013, 1, 1));
        assert_eq!(departure.time.to_string(), "2013-01-01T10:17:00Z");
        assert_eq!((departure.delay, &*departure.tailnum), (2, "N14228"));
        let early = with(4, "-16").unwrap().unwrap().1;
        assert_eq!(early.time.to_string(), "2013-01-01T09:59:00Z");
        assert_eq!(with(4, "3.0").unwrap().unwrap().1.delay, 3);
    }

    #[test]
    fn what_did_not_leave_or_arrive_is_no_departure_whatever_else_is_wrong() {
        for column in [3, 5] {
            for missing in ["NA", ""] {
                assert_eq!(with(column, missing), Ok(None));
            }
        }
        let mut row = ROW;
        (row[3], row[10]) = ("NA", "nonsense");
        assert_eq!(read(row), Ok(None));
    }

    #[test]
    fn a_missing_plane_is_no_fault_of_the_row() {
        assert_eq!(with(7, "NA").unwrap().unwrap().1.tailnum.as_ref(), "");
        assert_eq!(with(7, "").unwrap().unwrap().1.tailnum.as_ref(), "");
    }

    #[test]
    fn malformed_values_are_named() {
        for (column, value, reason) in [
            (4, "late", "dep_delay is not a number: \"late\""),
            (4, "NA", "dep_delay is missing"),
            (4, "99999999999", "dep_delay is not a number: \"99999999999\""),
            (4, "1.5", "dep_delay is not a number: \"1.5\""),
            (4, "1.", "dep_delay is not a number: \"1.\""),
            (4, ".0", "dep_delay is not a number: \".0\""),
            (4, "2147483647", ""),
            (4, "-2147483648", "dep_delay is out of range: \"-2147483648\""),
            (0, "2_013", "year is not a number: \"2_013\""),
            (1, "13", "month is out of range: \"13\""),
            (2, "0", "day is out of range: \"0\""),
            (3, "x", "dep_time is not a number: \"x\""),
            (5, "\u{1b}[31m", "arr_delay is not a number: \"\\u{1b}[31m\""),
            (6, "NA", "carrier is missing"),
            (8, "", "origin is missing"),
            (9, "60", "minute is out of range: \"60\""),
            (10, "2013-01-01", "time_hour is not a time: \"2013-01-01\""),
        ] {
            match with(column, value) {
                Ok(_) => assert_eq!("", reason, "{value}"),
                Err(error) => assert_eq!(error, reason),
            }
        }
    }

    #[test]
    fn departures_are_fed_by_day_and_within_a_day_as_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut file =
            "tailnum,time_hour,origin,minute,carrier,arr_delay,dep_delay,dep_time,day,month,year\n"
                .to_owned();
        for (name, day, month, year) in [
            ("e", 2, 2, 2014),
            ("c", 10, 1, 2014),
            ("b", 9, 1, 2014),
            ("d", 10, 1, 2014),
            ("a", 31, 12, 2013),
        ] {
            file += &format!("{name},2014-01-01T00:00:00Z,EWR,0,UA,0,0,0,{day},{month},{year}\n");
        }
        std::fs::write(folder.path().join("flights.csv"), file).unwrap();
        let (departures, ..) = departures(folder.path()).unwrap();
        let order: String = departures.iter().map(|departure| &*departure.tailnum).collect();
        assert_eq!(order, "abcde");
    }

    #[test]
    fn the_lag_grows_only_for_data_out_of_order_by_more() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let at = |hour: i64| Departure {
            time: Utc(0).plus_minutes(hour * 60).unwrap(),
            ..read(ROW).unwrap().unwrap().1
        };
        assert_eq!(lag(&[]), LAG);
        assert_eq!(lag(&[at(25), at(0), at(30), at(6)]), hours(25));
        assert_eq!(lag(&[at(0), at(40), at(10), at(41)]), hours(30));
    }

    #[test]
    fn the_sample_is_whole() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/nycflights13");
        let data = Data::load(&folder).unwrap();
        let rows: Vec<u64> = data.reports.iter().map(|report| report.rows).collect();
        assert_eq!(rows, [27_004, 3_322, 16, 1_458]);
        assert!(data.reports.iter().all(|report| report.malformed == 0));
        assert_eq!((data.departures.len(), data.skipped), (26_398, 606));
        assert_eq!(lag(&data.departures), LAG);
    }
}
