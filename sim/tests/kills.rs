//! Every break of the protocol is found by a seed, or by a scenario: otherwise a rule is not tested. After a
//! change of the simulator or the protocol, `grid-sim --mutants` names the seeds anew.

use grid_core::mutant::{self, Mutant};
use grid_sim::run::run;

const KILLS: &[(Mutant, u64)] = &[
    (Mutant::NoLease, 0),
    (Mutant::LeaseFromReply, 11),
    (Mutant::LeaseSkipsAdded, 2),
    (Mutant::GrantIgnoresDemotion, 2),
    (Mutant::GrantByCells, 9),
    (Mutant::BeaconByTable, 35),
    (Mutant::NoHeirWait, 13),
    (Mutant::LateRecord, 67),
    (Mutant::ShrinkEarly, 0),
    (Mutant::ExpandLate, 0),
    (Mutant::TransferResumes, 16),
    (Mutant::NoCollect, 3),
    (Mutant::MinIgnored, 1),
    (Mutant::AckByOne, 0),
    (Mutant::NoTermFence, 106),
    (Mutant::NoCopy, 7),
    (Mutant::AddEarly, 189),
    (Mutant::CopyUnfiltered, 295),
    (Mutant::AckOfOtherCopy, 25),
    (Mutant::AppendOfOtherCopy, 729),
    (Mutant::AnswerOfOtherAttempt, 21),
    (Mutant::CopyMixed, 3),
    (Mutant::CopyForgetsSessions, 0),
    (Mutant::NoReadGate, 3),
    (Mutant::AckAlwaysEarly, 1),
    (Mutant::AckWithoutLease, 3),
    (Mutant::StaleUnbounded, 2),
    (Mutant::StaleUncommitted, 1),
    (Mutant::FreshNoLease, 293),
    (Mutant::FreshEarly, 90),
    (Mutant::FreshFromReceipt, 3),
    (Mutant::FreshAhead, 7),
    (Mutant::NoTombstone, 75),
    (Mutant::NoDedupe, 0),
    (Mutant::NoFloor, 0),
    (Mutant::RetryForgotten, 1),
    (Mutant::ExpiredFirstAttempt, 0),
    (Mutant::SameId, 1),
    (Mutant::StartRepeated, 0),
];

/// Found in `scenarios.rs`; by chance hardly ever.
const BY_SCENARIO: &[Mutant] = &[
    Mutant::WaitForgotten,
    Mutant::ScanByEntries,
    Mutant::ExpiryUnseen,
    Mutant::HalfCopyLeads,
    Mutant::SyncedThoughDropped,
    Mutant::BarrierBefore,
    Mutant::BarrierUnchecked,
];

#[test]
fn every_break_is_found() {
    std::thread::scope(|scope| {
        for (mutant, seed) in KILLS {
            scope.spawn(move || {
                mutant::set(Some(*mutant));
                let report = run(*seed, false);
                assert!(report.violation.is_some(), "{mutant:?} is not found by seed {seed}");
                mutant::set(None);
                assert_eq!(run(*seed, false).violation, None, "seed {seed} without it");
            });
        }
    });
}

#[test]
fn no_break_is_left_out() {
    for mutant in mutant::ALL {
        let found = KILLS.iter().any(|(known, _)| known == mutant) || BY_SCENARIO.contains(mutant);
        assert_eq!(found, mutant.is_unsafe(), "{mutant:?}");
    }
}
