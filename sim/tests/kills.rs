//! Every break of the protocol is found by a seed, or by a scenario: otherwise a rule is not tested. After a
//! change of the simulator or the protocol, `grid-sim --mutants` names the seeds anew.

use grid_core::mutant::{self, Mutant};
use grid_sim::run::run;

const KILLS: &[(Mutant, u64)] = &[
    (Mutant::NoLease, 0),
    (Mutant::LeaseFromReply, 10),
    (Mutant::LeaseSkipsAdded, 0),
    (Mutant::GrantIgnoresDemotion, 1),
    (Mutant::GrantByCells, 4),
    (Mutant::BeaconByTable, 1),
    (Mutant::NoHeirWait, 5),
    (Mutant::LateRecord, 34),
    (Mutant::ShrinkEarly, 0),
    (Mutant::ExpandLate, 0),
    (Mutant::TransferResumes, 33),
    (Mutant::NoCollect, 13),
    (Mutant::MinIgnored, 1),
    (Mutant::AckByOne, 0),
    (Mutant::NoTermFence, 517),
    (Mutant::NoCopy, 8),
    (Mutant::AddEarly, 497),
    (Mutant::CopyUnfiltered, 169),
    (Mutant::AckOfOtherCopy, 58),
    (Mutant::AppendOfOtherCopy, 1306),
    (Mutant::AnswerOfOtherAttempt, 103),
    (Mutant::CopyMixed, 3),
    (Mutant::CopyForgetsSessions, 0),
    (Mutant::NoReadGate, 1),
    (Mutant::AckAlwaysEarly, 0),
    (Mutant::AckWithoutLease, 0),
    (Mutant::NoTombstone, 15),
    (Mutant::NoDedupe, 0),
    (Mutant::NoFloor, 2),
    (Mutant::RetryForgotten, 1),
    (Mutant::ExpiredFirstAttempt, 4),
    (Mutant::SameId, 0),
    (Mutant::StartRepeated, 0),
];

/// Found in `scenarios.rs`; by chance hardly ever.
const BY_SCENARIO: &[Mutant] = &[
    Mutant::WaitForgotten,
    Mutant::ScanByEntries,
    Mutant::ExpiryUnseen,
    Mutant::HalfCopyLeads,
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
