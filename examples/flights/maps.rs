//! The maps of the grid that the job reads and writes, as pipeline stages see them.

use crate::data::{Data, Plane};
use crate::results::{Anomaly, CarrierDay, Hour, Row};
use crate::time::Utc;
use grid_core::handle::OpFuture;
use grid_core::{Grid, GridData, Map, Result};
use grid_stream::{MapLookup, Sink, SinkWriter};
use std::collections::VecDeque;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Key of a result: what it is grouped by and the start of its window.
pub(crate) type ResultKey = (String, Utc);

/// Handles to all maps of the example.
#[derive(Clone, Debug)]
pub(crate) struct Maps {
    /// By tail number.
    pub(crate) planes: Map<String, Plane>,
    /// Names by carrier code.
    pub(crate) airlines: Map<String, String>,
    /// Names by airport code.
    pub(crate) airports: Map<String, String>,
    pub(crate) hours: Map<ResultKey, Hour>,
    pub(crate) carrier_days: Map<ResultKey, CarrierDay>,
    pub(crate) anomalies: Map<ResultKey, Anomaly>,
}

impl Maps {
    pub(crate) fn of(grid: &Grid) -> Maps {
        Maps {
            planes: grid.map("planes"),
            airlines: grid.map("airlines"),
            airports: grid.map("airports"),
            hours: grid.map("hours"),
            carrier_days: grid.map("carrier-days"),
            anomalies: grid.map("anomalies"),
        }
    }

    /// Writes what the job looks up.
    pub(crate) async fn load(&self, data: &Data) -> Result<()> {
        self.planes.put_all(data.planes.iter().map(|(tailnum, plane)| (tailnum, plane))).await?;
        self.airlines.put_all(data.airlines.iter().map(|(code, name)| (code, name))).await?;
        self.airports.put_all(data.airports.iter().map(|(code, name)| (code, name))).await
    }
}

/// Looks keys up in a map.
#[derive(Clone, Debug)]
pub(crate) struct Lookup<V>(pub(crate) Map<String, V>);

impl<V: GridData + Clone> MapLookup<String, V> for Lookup<V> {
    type Lookup = OpFuture<Option<V>>;

    fn look_up(&self, key: &String) -> Self::Lookup {
        self.0.get(key).into_future()
    }
}

/// Writes results to a map, several at a time.
#[derive(Clone, Debug)]
pub(crate) struct MapSink<R>(pub(crate) Map<ResultKey, R>);

/// Writes of one worker under way.
const IN_FLIGHT_MAX: usize = 256;

pub(crate) struct MapWriter<R> {
    map: Map<ResultKey, R>,
    in_flight: VecDeque<OpFuture<()>>,
}

impl<R: Row + GridData> Sink<R> for MapSink<R> {
    type Writer = MapWriter<R>;

    fn name(&self) -> String {
        format!("map {}", self.0.name())
    }

    fn open(&mut self, _: usize) -> Result<MapWriter<R>> {
        Ok(MapWriter { map: self.0.clone(), in_flight: VecDeque::new() })
    }
}

impl<R: Row + GridData> SinkWriter<R> for MapWriter<R> {
    fn has_room(&self) -> bool {
        self.in_flight.len() < IN_FLIGHT_MAX
    }

    fn write(&mut self, row: R, _: i64) -> Result<()> {
        let (group, window_start) = row.key();
        let write = self.map.set(&(group.to_owned(), window_start), &row);
        self.in_flight.push_back(write.into_future());
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        while let Some(write) = self.in_flight.front_mut()
            && let Poll::Ready(written) = Pin::new(write).poll(cx)
        {
            written?;
            self.in_flight.pop_front();
        }
        Ok(self.in_flight.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::sorted;
    use grid_core::block_on;
    use grid_node::Member;
    use grid_node::test_backup::{Acks, TestBackup};
    use std::task::Waker;

    fn anomaly(hour: i64) -> Anomaly {
        let window_start = Utc(hour * 3_600_000);
        Anomaly { origin: "EWR".to_owned(), window_start, mean: 9.0, expected: 1.0, sigma: 2.0 }
    }

    #[test]
    fn the_sink_is_done_when_every_write_is_acknowledged() {
        let backup = TestBackup::new(Acks::Held);
        let member = Member::builder().test_backup(backup.clone()).start_blocking().unwrap();
        let maps = Maps::of(&member);
        let mut writer = MapSink(maps.anomalies.clone()).open(0).unwrap();
        let mut cx = Context::from_waker(Waker::noop());

        let mut rows = Vec::new();
        while writer.has_room() {
            rows.push(anomaly(rows.len() as i64));
            writer.write(rows[rows.len() - 1].clone(), 0).unwrap();
        }
        assert_eq!(rows.len(), IN_FLIGHT_MAX);
        assert!(!writer.poll(&mut cx).unwrap(), "nothing is acknowledged");

        backup.set(Acks::AtOnce);
        backup.release();
        while !writer.poll(&mut cx).unwrap() {
            std::thread::yield_now();
        }
        assert!(writer.has_room());
        assert_eq!(sorted(block_on(maps.anomalies.values().all()).unwrap()), rows);
    }

    #[test]
    fn lookups_find_what_was_loaded_and_the_last_of_a_key_counts() {
        let member = Member::builder().start_blocking().unwrap();
        let maps = Maps::of(&member);
        let plane = |tailnum: &str, seats| (tailnum.to_owned(), Plane { seats });
        let data = Data {
            planes: vec![plane("N1", None), plane("N2", Some(2)), plane("N1", Some(55))],
            ..Data::default()
        };
        block_on(maps.load(&data)).unwrap();
        let find =
            |tailnum: &str| block_on(Lookup(maps.planes.clone()).look_up(&tailnum.to_owned()));
        assert_eq!(find("N1").unwrap(), Some(Plane { seats: Some(55) }));
        assert_eq!(find("N2").unwrap(), Some(Plane { seats: Some(2) }));
        assert_eq!(find("").unwrap(), None);
    }
}
