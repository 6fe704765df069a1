//! The job: departures by hour and origin, by day and carrier, and the hours that stand out.

use crate::baseline::Baseline;
use crate::data::{Data, Departure};
use crate::results::{Anomaly, CarrierDay, Hour};
use crate::time::{DAY, HOUR, Utc};
use std::collections::{BTreeMap, HashMap};

/// Later than so many minutes is delayed.
const DELAYED_ABOVE: i32 = 15;

/// All that comes out of the job, in no particular order.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) hours: Vec<Hour>,
    pub(crate) carrier_days: Vec<CarrierDay>,
    pub(crate) anomalies: Vec<Anomaly>,
}

// STAND-IN for the stream engine until its pipeline can be built against: same results, plain loops.
pub(crate) fn run(data: &Data, mut progress: impl FnMut(u64)) -> Results {
    let planes: HashMap<&str, Option<u32>> =
        data.planes.iter().map(|(key, seats)| (key.as_str(), *seats)).collect();
    let airlines: HashMap<&str, &str> =
        data.airlines.iter().map(|(key, name)| (key.as_str(), name.as_str())).collect();
    let (mut hours, mut days) = (BTreeMap::new(), BTreeMap::new());
    for (done, departure) in (0..).zip(&data.departures) {
        progress(done);
        add_hour(&mut hours, departure, planes.get(departure.tailnum.as_str()));
        add_day(&mut days, departure, airlines.get(departure.carrier.as_str()).copied());
    }
    let hours: Vec<Hour> = hours.into_values().collect();
    let mut baselines: HashMap<&str, Baseline> = HashMap::new();
    let mut anomalies = Vec::new();
    for hour in &hours {
        let mean = hour.mean_delay();
        if let Some(expected) = baselines.entry(&hour.origin).or_default().add(mean) {
            let (origin, window_start) = (hour.origin.clone(), hour.window_start);
            anomalies.push(Anomaly {
                origin,
                window_start,
                mean,
                expected: expected.mean,
                sigma: expected.sigma,
            });
        }
    }
    Results { carrier_days: days.into_values().collect(), anomalies, hours }
}

fn add_hour(
    hours: &mut BTreeMap<(String, Utc), Hour>,
    departure: &Departure,
    plane: Option<&Option<u32>>,
) {
    let window_start = Utc(departure.time.0.div_euclid(HOUR) * HOUR);
    let origin = departure.origin.clone();
    let hour = hours.entry((origin.clone(), window_start)).or_insert(Hour {
        origin,
        window_start,
        flights: 0,
        delay: 0,
        seats: 0,
        unknown_planes: 0,
    });
    hour.flights += 1;
    hour.delay += i64::from(departure.delay);
    hour.seats += u64::from(plane.copied().flatten().unwrap_or(0));
    hour.unknown_planes += u64::from(plane.is_none());
}

fn add_day(
    days: &mut BTreeMap<(String, Utc), CarrierDay>,
    departure: &Departure,
    name: Option<&str>,
) {
    let window_start = Utc(departure.time.0.div_euclid(DAY) * DAY);
    let carrier = departure.carrier.clone();
    let day = days.entry((carrier.clone(), window_start)).or_insert(CarrierDay {
        name: name.unwrap_or(&carrier).to_owned(),
        carrier,
        window_start,
        flights: 0,
        delayed: 0,
        max_delay: i32::MIN,
    });
    day.flights += 1;
    day.delayed += u64::from(departure.delay > DELAYED_ABOVE);
    day.max_delay = day.max_delay.max(departure.delay);
}
