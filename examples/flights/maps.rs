//! The maps of the grid that the job reads and writes, as pipeline stages see them.

use crate::data::{Data, Plane};
use crate::results::{Anomaly, CarrierDay, Hour, Row};
use crate::time::Utc;
use grid_core::{Grid, GridData, Map, Result};
use grid_stream::{Sink, sinks};

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

    /// Forgets the results of an earlier run.
    pub(crate) async fn clear(&self) -> Result<()> {
        self.hours.clear().await?;
        self.carrier_days.clear().await?;
        self.anomalies.clear().await
    }

    /// Writes what the job looks up.
    pub(crate) async fn load(&self, data: &Data) -> Result<()> {
        self.planes.put_all(data.planes.iter().map(|(tailnum, plane)| (tailnum, plane))).await?;
        self.airlines.put_all(data.airlines.iter().map(|(code, name)| (code, name))).await?;
        self.airports.put_all(data.airports.iter().map(|(code, name)| (code, name))).await
    }
}

/// Writes results to a map.
pub(crate) fn sink<R: Row + GridData + Clone>(map: &Map<ResultKey, R>) -> impl Sink<R> + use<R> {
    sinks::map(map, |row: &R| {
        let (group, window_start) = row.key();
        ((group.to_owned(), window_start), row.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::block_on;
    use grid_node::Member;
    use grid_stream::MapLookup;

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
        let find = |tailnum: &str| block_on(maps.planes.look_up(&tailnum.to_owned()));
        assert_eq!(find("N1").unwrap(), Some(Plane { seats: Some(55) }));
        assert_eq!(find("N2").unwrap(), Some(Plane { seats: Some(2) }));
        assert_eq!(find("").unwrap(), None);
    }
}
