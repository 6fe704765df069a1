//! The job: departures by hour and origin, by day and carrier, and the hours that stand out.
//!
//! ```text
//!               ┌ planes ─ per origin and hour ┬───────────────────────────────── hours
//! departures ───┤                              └ per origin: far above before? ── anomalies
//!               └ per carrier and day ─ airlines ──────────────────────────────── carrier days
//! ```

use crate::baseline::Baseline;
use crate::data::{Departure, Plane};
use crate::results::{Anomaly, CarrierDay, Hour};
use crate::time::Utc;
use grid_stream::aggregate::{count, max, sum};
use grid_stream::{MapLookup, Pipeline, Sink, Tumbling, sources};
use std::sync::Arc;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A flight that left later than so many minutes is delayed.
const DELAYED_ABOVE: i32 = 15;

/// A departure and what is known of its plane.
struct Flight {
    origin: Arc<str>,
    delay: i32,
    seats: u32,
    unknown_plane: bool,
}

/// The pipeline from departures, which are out of order by up to `lag`, to the three results.
pub(crate) fn pipeline(
    departures: Vec<Departure>,
    lag: Duration,
    planes: impl MapLookup<String, Plane>,
    airlines: impl MapLookup<String, String>,
    hours_sink: impl Sink<Hour>,
    days_sink: impl Sink<CarrierDay>,
    anomalies_sink: impl Sink<Anomaly>,
) -> Pipeline {
    let p = Pipeline::new();
    let [by_origin, by_carrier] = p
        .read(sources::items(departures).in_order())
        .with_timestamps(|departure| departure.time.0, lag)
        .fork();

    let [hours, judged] = by_origin
        .enrich(planes, |departure| departure.tailnum.to_string(), flight)
        .key_by(|flight| Arc::clone(&flight.origin))
        .window(Tumbling::of(HOUR))
        .aggregate((
            count(),
            sum(|flight: &Flight| flight.delay),
            sum(|flight: &Flight| flight.seats),
            sum(|flight: &Flight| u32::from(flight.unknown_plane)),
        ))
        .named("hourly")
        .map(|window| {
            let (flights, delay, seats, unknown_planes) = window.value;
            let (origin, window_start) = (window.key.to_string(), Utc(window.start));
            Hour { origin, window_start, flights, delay, seats, unknown_planes }
        })
        .fork();
    hours.write(hours_sink);

    // Windows of one key come in their order, as the baseline needs them.
    judged
        .key_by(|hour| hour.origin.clone())
        .process(|baseline: &mut Baseline, origin, hour, cx| {
            let mean = hour.mean_delay();
            if let Some(expected) = baseline.add(mean) {
                let (origin, window_start) = (origin.clone(), hour.window_start);
                let (expected, sigma) = (expected.mean, expected.sigma);
                cx.emit(Anomaly { origin, window_start, mean, expected, sigma });
            }
        })
        .named("anomalies")
        .write(anomalies_sink);

    by_carrier
        .key_by(|departure| Arc::clone(&departure.carrier))
        .window(Tumbling::of(DAY))
        .aggregate((
            count(),
            sum(|departure: &Departure| u32::from(departure.delay > DELAYED_ABOVE)),
            max(|departure: &Departure| departure.delay),
        ))
        .named("carriers")
        .enrich(
            airlines,
            |window| window.key.to_string(),
            |window, name| {
                let (flights, delayed, max_delay) = window.value;
                let (carrier, window_start) = (window.key.to_string(), Utc(window.start));
                let name = name.unwrap_or_else(|| carrier.clone());
                let max_delay = max_delay.unwrap_or_default();
                CarrierDay { carrier, name, window_start, flights, delayed, max_delay }
            },
        )
        .write(days_sink);
    p
}

fn flight(departure: Departure, plane: Option<Plane>) -> Flight {
    let unknown_plane = plane.is_none();
    let seats = plane.and_then(|plane| plane.seats).unwrap_or(0);
    Flight { origin: departure.origin, delay: departure.delay, seats, unknown_plane }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Data, lag};
    use crate::results::{Row, lines, sorted};
    use grid_stream::{Config, Job, sinks};
    use std::collections::HashMap;
    use std::path::Path;

    fn package(path: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
    }

    fn expected<R: Row>() -> String {
        std::fs::read_to_string(package("flights/expected").join(R::FILE)).unwrap()
    }

    /// The job without a grid: planes and airlines in hash maps, results in vectors.
    #[test]
    fn the_sample_gives_the_expected_results_whatever_the_workers_and_batches() {
        let data = Data::load(&package("data/nycflights13")).unwrap();
        let planes: Arc<HashMap<String, Plane>> = Arc::new(data.planes.into_iter().collect());
        let airlines: Arc<HashMap<String, String>> = Arc::new(data.airlines.into_iter().collect());
        for (workers, batch, queue_batches) in [(1, 1024, 8), (2, 1024, 8), (3, 7, 1)] {
            let (hours_sink, hours) = sinks::collect();
            let (days_sink, days) = sinks::collect();
            let (anomalies_sink, anomalies) = sinks::collect();
            let lag = lag(&data.departures);
            let pipeline = pipeline(
                data.departures.clone(),
                lag,
                planes.clone(),
                airlines.clone(),
                hours_sink,
                days_sink,
                anomalies_sink,
            );
            let config = Config { workers, batch, queue_batches, ..Config::default() };
            let job = Job::plan(pipeline, &config).unwrap().spawn().unwrap();
            let report = job.join().wait().unwrap();
            for stage in &report.stages {
                assert_eq!(stage.late, 0, "{}", stage.name);
            }
            assert_eq!(lines(&sorted(hours.take())), expected::<Hour>());
            assert_eq!(lines(&sorted(days.take())), expected::<CarrierDay>());
            assert_eq!(lines(&sorted(anomalies.take())), expected::<Anomaly>());
        }
    }
}
