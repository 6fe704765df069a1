//! The output: rows of the three results, how they are written and in which order.

use crate::csv::quoted;
use crate::maps::Maps;
use crate::time::Utc;
use grid_core::GridData;
use std::io;
use std::path::{Path, PathBuf};

/// An hour of an origin.
#[derive(Clone, Debug, PartialEq, GridData)]
pub(crate) struct Hour {
    #[grid(id = 1)]
    pub(crate) origin: String,
    #[grid(id = 2)]
    pub(crate) window_start: Utc,
    #[grid(id = 3)]
    pub(crate) flights: u64,
    /// Minutes, of all flights together.
    #[grid(id = 4)]
    pub(crate) delay: i64,
    /// Of the flights whose plane is known.
    #[grid(id = 5)]
    pub(crate) seats: u64,
    #[grid(id = 6)]
    pub(crate) unknown_planes: u64,
}

/// A day, in UTC, of a carrier.
#[derive(Clone, Debug, PartialEq, GridData)]
pub(crate) struct CarrierDay {
    #[grid(id = 1)]
    pub(crate) carrier: String,
    /// The carrier's code if its name is unknown.
    #[grid(id = 2)]
    pub(crate) name: String,
    #[grid(id = 3)]
    pub(crate) window_start: Utc,
    #[grid(id = 4)]
    pub(crate) flights: u64,
    /// Flights that left more than 15 minutes late.
    #[grid(id = 5)]
    pub(crate) delayed: u64,
    /// Minutes.
    #[grid(id = 6)]
    pub(crate) max_delay: i32,
}

/// An hour of an origin that is far worse than the hours before it.
#[derive(Clone, Debug, PartialEq, GridData)]
pub(crate) struct Anomaly {
    #[grid(id = 1)]
    pub(crate) origin: String,
    #[grid(id = 2)]
    pub(crate) window_start: Utc,
    /// Mean delay of the hour in minutes.
    #[grid(id = 3)]
    pub(crate) mean: f64,
    /// Mean of the hourly means before it.
    #[grid(id = 4)]
    pub(crate) expected: f64,
    /// Their sample deviation.
    #[grid(id = 5)]
    pub(crate) sigma: f64,
}

impl Hour {
    /// Mean delay in minutes. Sums are of whole minutes, so their order does not matter to the last bit.
    pub(crate) fn mean_delay(&self) -> f64 {
        self.delay as f64 / self.flights as f64
    }
}

impl CarrierDay {
    /// The share of flights that left more than 15 minutes late.
    pub(crate) fn delayed_share(&self) -> f64 {
        self.delayed as f64 / self.flights as f64
    }
}

/// A result that is a file of its own.
pub(crate) trait Row {
    /// The file's name.
    const FILE: &'static str;
    /// The file's first line.
    const HEADER: &'static str;
    /// What the file is sorted by.
    fn key(&self) -> (&str, Utc);
    /// The row as a line. Floats are rounded from their exact binary value, half to even, as C's printf does.
    fn line(&self) -> String;
}

impl Row for Hour {
    const FILE: &'static str = "hourly.csv";
    const HEADER: &'static str = "origin,window_start,flights,mean_dep_delay,seats,unknown_planes";

    fn key(&self) -> (&str, Utc) {
        (&self.origin, self.window_start)
    }

    fn line(&self) -> String {
        let mean = self.mean_delay();
        let Hour { origin, window_start, flights, seats, unknown_planes, .. } = self;
        format!("{},{window_start},{flights},{mean:.2},{seats},{unknown_planes}", quoted(origin))
    }
}

impl Row for CarrierDay {
    const FILE: &'static str = "carriers.csv";
    const HEADER: &'static str = "carrier,name,window_start,flights,delayed_share,max_dep_delay";

    fn key(&self) -> (&str, Utc) {
        (&self.carrier, self.window_start)
    }

    fn line(&self) -> String {
        let share = self.delayed_share();
        let CarrierDay { carrier, name, window_start, flights, max_delay, .. } = self;
        format!(
            "{},{},{window_start},{flights},{share:.4},{max_delay}",
            quoted(carrier),
            quoted(name)
        )
    }
}

impl Row for Anomaly {
    const FILE: &'static str = "anomalies.csv";
    const HEADER: &'static str = "origin,window_start,mean_dep_delay,expected,sigma";

    fn key(&self) -> (&str, Utc) {
        (&self.origin, self.window_start)
    }

    fn line(&self) -> String {
        let Anomaly { origin, window_start, mean, expected, sigma } = self;
        format!("{},{window_start},{mean:.2},{expected:.2},{sigma:.2}", quoted(origin))
    }
}

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub(crate) struct Error {
    path: PathBuf,
    source: io::Error,
}

/// All that comes out of the job.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) hours: Vec<Hour>,
    pub(crate) carrier_days: Vec<CarrierDay>,
    pub(crate) anomalies: Vec<Anomaly>,
}

impl Results {
    /// Reads the results out of their maps, in the order of their keys.
    pub(crate) async fn read(maps: &Maps) -> grid_core::Result<Results> {
        Ok(Results {
            hours: sorted(maps.hours.values().all().await?),
            carrier_days: sorted(maps.carrier_days.values().all().await?),
            anomalies: sorted(maps.anomalies.values().all().await?),
        })
    }

    /// Writes each result to its file in a folder, which is created.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        write(folder, &self.hours)?;
        write(folder, &self.carrier_days)?;
        write(folder, &self.anomalies)
    }
}

/// Rows by their key.
pub(crate) fn sorted<R: Row>(mut rows: Vec<R>) -> Vec<R> {
    rows.sort_by(|a, b| a.key().cmp(&b.key()));
    rows
}

/// Rows as the text of their file.
pub(crate) fn lines<R: Row>(rows: &[R]) -> String {
    let mut text = R::HEADER.to_owned() + "\n";
    for row in rows {
        text += &row.line();
        text.push('\n');
    }
    text
}

fn write<R: Row>(folder: &Path, rows: &[R]) -> Result<(), Error> {
    let path = folder.join(R::FILE);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, lines(rows)))
        .map_err(|source| Error { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_rounded_as_c_does() {
        // Each as `printf '%.2f'` of glibc prints it.
        for (value, text) in [
            (0.125, "0.12"),
            (0.375, "0.38"),
            (-0.125, "-0.12"),
            (2.675, "2.67"),
            (1.005, "1.00"),
            (0.005, "0.01"),
            (0.015, "0.01"),
            (-0.001, "-0.00"),
            (0.0, "0.00"),
            (99.995, "100.00"),
            (1e15 + 0.125, "1000000000000000.12"),
            (7.0 / 3.0, "2.33"),
            (-47.0 / 8.0, "-5.88"),
            (-43.0 / 8.0, "-5.38"),
            (1301.0, "1301.00"),
        ] {
            assert_eq!(format!("{value:.2}"), text);
        }
        // And '%.4f'.
        for (value, text) in [
            (1.0 / 32.0, "0.0312"),
            (3.0 / 32.0, "0.0938"),
            (2.0 / 3.0, "0.6667"),
            (1.0, "1.0000"),
            (0.0, "0.0000"),
        ] {
            assert_eq!(format!("{value:.4}"), text);
        }
    }

    fn hour(origin: &str, start: &str, flights: u64, delay: i64) -> Hour {
        let window_start = Utc::parse(start).unwrap();
        Hour {
            origin: origin.to_owned(),
            window_start,
            flights,
            delay,
            seats: 300,
            unknown_planes: 1,
        }
    }

    #[test]
    fn rows_are_written_in_the_order_of_their_keys() {
        let rows = sorted(vec![
            hour("LGA", "2013-01-01T10:00:00Z", 1, -3),
            hour("EWR", "2013-01-01T11:00:00Z", 8, -1),
            hour("EWR", "2013-01-01T09:00:00Z", 3, 7),
        ]);
        assert_eq!(
            lines(&rows),
            "origin,window_start,flights,mean_dep_delay,seats,unknown_planes\n\
             EWR,2013-01-01T09:00:00Z,3,2.33,300,1\n\
             EWR,2013-01-01T11:00:00Z,8,-0.12,300,1\n\
             LGA,2013-01-01T10:00:00Z,1,-3.00,300,1\n"
        );
    }

    #[test]
    fn names_are_quoted_where_needed() {
        let mut day = CarrierDay {
            carrier: "AA".to_owned(),
            name: "The \"A\", Inc.".to_owned(),
            window_start: Utc(0),
            flights: 3,
            delayed: 2,
            max_delay: -4,
        };
        assert_eq!(day.line(), "AA,\"The \"\"A\"\", Inc.\",1970-01-01T00:00:00Z,3,0.6667,-4");
        day.name = "Delta".to_owned();
        assert_eq!(day.line(), "AA,Delta,1970-01-01T00:00:00Z,3,0.6667,-4");
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let error = Results::default().write(Path::new("/dev/null/out")).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot write /dev/null/out/hourly.csv: "),
            "{error}"
        );
    }
}
