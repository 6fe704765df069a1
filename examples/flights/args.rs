//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Streams a month of real departures through the grid: hourly delays per airport, daily punctuality per carrier,
/// and the hours that were far worse than usual.
#[derive(Debug, clap::Parser)]
#[command(name = "flights", version)]
pub(crate) struct Args {
    /// Directory with flights, planes, airlines and airports, each NAME.csv or NAME.csv.gz
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/nycflights13"))]
    pub(crate) data: PathBuf,

    /// Directory to write hourly.csv, carriers.csv and anomalies.csv to
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,

    /// Members of a running cluster to keep the maps in, instead of a member in this process
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    pub(crate) connect: Vec<String>,

    /// Name of that cluster
    #[arg(long, value_name = "NAME", default_value = "dev", requires = "connect")]
    pub(crate) cluster: String,

    /// Threads of the stream engine [default: one per core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<NonZeroUsize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["flights", "--data", "d", "--out", "o", "--workers", "2"])
            .unwrap();
        assert_eq!((args.data, args.out), ("d".into(), "o".into()));
        assert_eq!(args.workers.map(NonZeroUsize::get), Some(2));
        assert!(args.connect.is_empty());
        let args = Args::try_parse_from(["flights", "--connect", "a:1,b:2"]).unwrap();
        assert_eq!((args.connect, args.cluster), (vec!["a:1".into(), "b:2".into()], "dev".into()));
        assert_eq!(Args::try_parse_from(["flights", "--workers", "0"]).unwrap_err().exit_code(), 2);
        assert_eq!(Args::try_parse_from(["flights", "extra"]).unwrap_err().exit_code(), 2);
    }
}
