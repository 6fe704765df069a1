//! The readable summary: what was read, when flights are late, and where it was worst.

use crate::csv::Report;
use crate::data::Data;
use crate::maps::Maps;
use crate::results::{Anomaly, CarrierDay, Hour, Results};
use crate::terminal::{chart, grouped};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

/// Carriers and anomalies shown.
const SHOWN_MAX: usize = 5;

/// What was read, and what of it could not be used.
pub(crate) fn input(data: &Data) -> String {
    let malformed: u64 = data.reports.iter().map(|report| report.malformed).sum();
    let mut text = format!(
        "{} departures, {} rows skipped (no dep_time or no arr_delay), {} malformed\n",
        grouped(data.departures.len() as u64),
        grouped(data.skipped),
        grouped(malformed),
    );
    for report in data.reports.iter().filter(|report| report.malformed > 0) {
        text += &malformed_rows(report);
    }
    text
}

fn malformed_rows(report: &Report) -> String {
    let path = report.path.display();
    let mut text = format!(
        "  {path}: {} of {} rows malformed\n",
        grouped(report.malformed),
        grouped(report.rows)
    );
    for (line, reason) in &report.first_malformed {
        let _ = writeln!(text, "    line {line}: {reason}");
    }
    let more = report.malformed - report.first_malformed.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "    and {} more", grouped(more));
    }
    text
}

/// The results at a glance.
pub(crate) fn results(results: &Results, airports: &BTreeMap<String, String>) -> String {
    let mut text = by_hour_of_day(&results.hours);
    text += &by_origin(&results.hours, airports);
    text += &worst_carriers(&results.carrier_days);
    text += &worst_anomalies(&results.anomalies);
    text
}

/// Where the results are, and how fast it was.
pub(crate) fn end(folder: &Path, events: usize, took: Duration) -> String {
    let folder = folder.display();
    let per_second = events as f64 / took.as_secs_f64().max(1e-9);
    let (events, millis) = (grouped(events as u64), took.as_secs_f64() * 1e3);
    let per_second = grouped(per_second as u64);
    format!(
        "\nWrote hourly.csv, carriers.csv and anomalies.csv to {folder}\n\
         {events} events in {millis:.1} ms: {per_second} events/s\n"
    )
}

/// The names of the airports in the results, as far as the grid has them.
pub(crate) async fn airport_names(
    maps: &Maps,
    results: &Results,
) -> grid_core::Result<BTreeMap<String, String>> {
    let origins: BTreeSet<&String> = results.hours.iter().map(|hour| &hour.origin).collect();
    let mut names = BTreeMap::new();
    for origin in origins {
        if let Some(name) = maps.airports.get(origin).await? {
            names.insert(origin.clone(), name);
        }
    }
    Ok(names)
}

fn by_hour_of_day(hours: &[Hour]) -> String {
    let mut sums = [(0_i64, 0_u64); 24];
    for hour in hours {
        let (delay, flights) = &mut sums[hour.window_start.hour_of_day()];
        *delay += hour.delay;
        *flights += hour.flights;
    }
    let lines: Vec<(String, f64)> = (0..)
        .zip(sums)
        .filter(|(_, (_, flights))| *flights > 0)
        .map(|(hour, (delay, flights))| (format!("{hour:02}:00"), delay as f64 / flights as f64))
        .collect();
    format!("\nMean departure delay by hour of departure (UTC), minutes\n{}", chart(&lines))
}

fn by_origin(hours: &[Hour], airports: &BTreeMap<String, String>) -> String {
    let mut origins: BTreeMap<&str, (i64, u64, u64)> = BTreeMap::new();
    for hour in hours {
        let (delay, flights, seats) = origins.entry(&hour.origin).or_default();
        *delay += hour.delay;
        *flights += hour.flights;
        *seats += hour.seats;
    }
    let mut text = "\nAirports\n".to_owned();
    for (origin, (delay, flights, seats)) in origins {
        let name = airports.get(origin).map_or(origin, String::as_str);
        let mean = delay as f64 / flights as f64;
        let (flights, seats) = (grouped(flights), grouped(seats));
        let _ = writeln!(
            text,
            "  {origin:4} {name:32} {flights:>9} flights {seats:>11} seats {mean:>7.1} min late"
        );
    }
    text
}

fn worst_carriers(days: &[CarrierDay]) -> String {
    let mut carriers: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for day in days {
        let (delayed, flights) = carriers.entry((&day.carrier, &day.name)).or_default();
        *delayed += day.delayed;
        *flights += day.flights;
    }
    let share = |(delayed, flights): (u64, u64)| delayed as f64 / flights as f64;
    let total: u64 = carriers.values().map(|(_, flights)| flights).sum();
    // A carrier with a handful of flights says nothing.
    let mut carriers: Vec<_> =
        carriers.into_iter().filter(|(_, (_, flights))| flights * 100 >= total).collect();
    carriers.sort_by(|(_, a), (_, b)| share(*b).total_cmp(&share(*a)));
    let mut text = "\nCarriers most often more than 15 minutes late\n".to_owned();
    for ((carrier, name), counts) in carriers.into_iter().take(SHOWN_MAX) {
        let (percent, flights) = (share(counts) * 100.0, grouped(counts.1));
        let _ = writeln!(text, "  {carrier:4} {name:32} {flights:>9} flights {percent:>5.1} %");
    }
    text
}

fn worst_anomalies(anomalies: &[Anomaly]) -> String {
    let sigmas = |anomaly: &Anomaly| (anomaly.mean - anomaly.expected) / anomaly.sigma;
    let mut worst: Vec<&Anomaly> = anomalies.iter().collect();
    worst.sort_by(|a, b| sigmas(b).total_cmp(&sigmas(a)));
    let mut text =
        format!("\nHours far above the hours before: {}\n", grouped(anomalies.len() as u64));
    for anomaly in worst.into_iter().take(SHOWN_MAX) {
        let Anomaly { origin, window_start, mean, expected, .. } = anomaly;
        let sigmas = sigmas(anomaly);
        let _ = writeln!(
            text,
            "  {origin:4} {window_start} {mean:>7.1} min late, expected {expected:.1}: {sigmas:.1} sigma above"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Utc;

    #[test]
    fn malformed_rows_are_shown_by_line_and_the_rest_counted() {
        let report = Report {
            path: "flights.csv".into(),
            rows: 10_000,
            malformed: 1_002,
            first_malformed: vec![(7, "minute is missing".to_owned()), (9, "not UTF-8".to_owned())],
        };
        let text = malformed_rows(&report);
        assert_eq!(
            text,
            "  flights.csv: 1,002 of 10,000 rows malformed\n    line 7: minute is missing\n    \
             line 9: not UTF-8\n    and 1,000 more\n"
        );
    }

    #[test]
    fn the_chart_weighs_hours_by_their_flights() {
        let hour = |day: i64, delay, flights| Hour {
            origin: "EWR".to_owned(),
            window_start: Utc(0).plus_minutes((day * 24 + 5) * 60).unwrap(),
            flights,
            delay,
            seats: 0,
            unknown_planes: 0,
        };
        let text = by_hour_of_day(&[hour(0, 90, 9), hour(1, 10, 1), hour(2, 0, 10)]);
        let line = text.lines().last().unwrap();
        assert!(line.starts_with("  05:00 ") && line.ends_with("    5.0"), "{line}");
    }

    #[test]
    fn nothing_at_all_can_be_summarised() {
        let text = results(&Results::default(), &BTreeMap::new());
        assert!(text.contains("Hours far above the hours before: 0"));
        assert!(
            end(Path::new("out"), 0, Duration::ZERO).ends_with("0 events in 0.0 ms: 0 events/s\n")
        );
    }
}
