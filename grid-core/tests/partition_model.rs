//! A partition beside a model of plain collections: every answer, number, gate and record, alone and
//! with backups that get their records late, in another order, twice, cut, or never, and with replicas
//! that become copies while it works, and lead later.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation)]

#[path = "model/cluster.rs"]
mod cluster;
#[path = "model/commands.rs"]
mod commands;
#[path = "model/driver.rs"]
mod driver;
#[path = "model/learner.rs"]
mod learner;
#[path = "model/plain.rs"]
mod plain;

use driver::{Driver, Step, alone, copied, replicated};
use proptest::prelude::*;

fn drive(backups: u64, steps: &[Step]) {
    let mut driver = Driver::new(backups);
    for step in steps {
        driver.step(step);
    }
    driver.read_all();
    driver.catch_up();
    assert_eq!(driver.primary.committed(), driver.primary.last());
}

fn config(default: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if config.cases == 256 { default } else { config.cases };
    ProptestConfig { cases, failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn a_partition_alone_does_what_collections_do(
        steps in proptest::collection::vec(alone(), 1..300),
    ) {
        drive(0, &steps);
    }

    #[test]
    fn a_partition_with_backups_loses_and_shows_nothing_that_a_failover_could_take_back(
        backups in 0..3u64,
        steps in proptest::collection::vec(replicated(), 1..300),
    ) {
        drive(backups, &steps);
    }
}

proptest! {
    #![proptest_config(config(32))]

    #[test]
    fn a_copy_becomes_what_it_is_a_copy_of_whatever_is_written_meanwhile(
        backups in 0..2u64,
        steps in proptest::collection::vec(copied(), 1..600),
    ) {
        drive(backups, &steps);
    }
}
