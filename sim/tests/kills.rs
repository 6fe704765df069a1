//! Every break of the protocol is found by a seed, or by a scenario: otherwise a rule is not tested. After a
//! change of the simulator or the protocol, `grid-sim --mutants` names the seeds anew.

use grid_core::mutant::{self, Mutant};
use grid_sim::run::run;

const KILLS: &[(Mutant, u64)] = &[
    (Mutant::NoLease, 0),
    (Mutant::LeaseFromReply, 0),
    (Mutant::LeaseSkipsAdded, 0),
    (Mutant::GrantIgnoresDemotion, 0),
    (Mutant::GrantByCells, 14),
    (Mutant::BeaconByTable, 0),
    (Mutant::NoHeirWait, 8),
    (Mutant::LateRecord, 30),
    (Mutant::ShrinkEarly, 0),
    (Mutant::ExpandLate, 0),
    (Mutant::TransferResumes, 12),
    (Mutant::NoCollect, 3),
    (Mutant::MinIgnored, 1),
    (Mutant::AckByOne, 0),
    (Mutant::NoTermFence, 113),
    (Mutant::NoCopy, 2),
    (Mutant::AddEarly, 502),
    (Mutant::CopyUnfiltered, 37),
    (Mutant::AckOfOtherCopy, 103),
    (Mutant::AppendOfOtherCopy, 1465),
    (Mutant::AnswerOfOtherAttempt, 19),
    (Mutant::CopyMixed, 3),
    (Mutant::CopyForgetsSessions, 0),
    (Mutant::NoReadGate, 17),
    (Mutant::NoTombstone, 169),
    (Mutant::NoDedupe, 0),
    (Mutant::NoFloor, 1),
    (Mutant::RetryForgotten, 10),
    (Mutant::ExpiredFirstAttempt, 15),
    (Mutant::SameId, 1),
    (Mutant::StartRepeated, 1),
];

/// Found in `scenarios.rs`; by chance hardly ever.
const BY_SCENARIO: &[Mutant] =
    &[Mutant::WaitForgotten, Mutant::ScanByEntries, Mutant::ExpiryUnseen, Mutant::HalfCopyLeads];

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
