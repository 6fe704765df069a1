//! Every break of the protocol is found by a seed, or by a scenario: otherwise a rule is not tested. After a
//! change of the simulator or the protocol, `grid-sim --mutants` names the seeds anew.

use grid_core::mutant::{self, Mutant};
use grid_sim::run::run;

const KILLS: &[(Mutant, u64)] = &[
    (Mutant::NoLease, 0),
    (Mutant::LeaseFromReply, 6),
    (Mutant::LeaseSkipsAdded, 9),
    (Mutant::GrantIgnoresDemotion, 1),
    (Mutant::GrantByCells, 1),
    (Mutant::BeaconByTable, 3),
    (Mutant::NoHeirWait, 16),
    (Mutant::LateRecord, 112),
    (Mutant::ShrinkEarly, 0),
    (Mutant::ExpandLate, 0),
    (Mutant::TransferResumes, 129),
    (Mutant::NoCollect, 3),
    (Mutant::MinIgnored, 1),
    (Mutant::AckByOne, 0),
    (Mutant::NoTermFence, 1316),
    (Mutant::NoCopy, 2),
    (Mutant::AddEarly, 707),
    (Mutant::CopyUnfiltered, 199),
    (Mutant::AckOfOtherCopy, 141),
    (Mutant::AppendOfOtherCopy, 3888),
    (Mutant::AnswerOfOtherAttempt, 56),
    (Mutant::CopyMixed, 0),
    (Mutant::CopyForgetsSessions, 0),
    (Mutant::NoReadGate, 13),
    (Mutant::NoTombstone, 0),
    (Mutant::NoDedupe, 0),
    (Mutant::NoFloor, 2),
    (Mutant::RetryForgotten, 1),
    (Mutant::ExpiredFirstAttempt, 2),
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
