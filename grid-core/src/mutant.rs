//! Deliberate breaks of the replication protocol, to show that the simulator would find them. Without
//! the feature `mutants` none of them exists: [`is`] is a constant.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])* $name:ident;)*) => {
        /// One break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant { $($(#[doc = $doc])* $name,)* }

        /// All of them.
        pub const ALL: &[Mutant] = &[$(Mutant::$name,)*];
    };
}

mutants! {
    /// A primary reads without asking for leases.
    NoLease;
    /// A lease counts from the arrival of its grant, not from the sending of the beacon.
    LeaseFromReply;
    /// The lease of a member whose addition is only proposed is not asked for.
    LeaseSkipsAdded;
    /// A lessor grants although the holder does not know of its demotion yet.
    GrantIgnoresDemotion;
    /// A lessor decides by what its cells know, not by its table.
    GrantByCells;
    /// A beacon carries the table's index, not that of the slowest cell.
    BeaconByTable;
    /// An heir does not outwait the grants that it gave.
    NoHeirWait;
    /// A later demotion lets the heir forget an earlier one.
    WaitForgotten;
    /// A member serves at once after it has entered the in-sync set. Covered by the primary's asking for its
    /// lease from the proposal on, as long as primaries give nothing to clients that outlives them.
    NoJoinWait;
    /// A backup nominates itself before its last grant has ended. Covered by the heir's outwaiting it.
    EarlyNomination;
    /// A member serves a term although it has heard of a newer one. Covered by its stepping down when it hears.
    NoSeenCheck;
    /// The record of an old term makes a replica forget the newer one it follows.
    LateRecord;
    /// A primary stops waiting for a backup when it proposes to drop it.
    ShrinkEarly;
    /// A primary waits for a new backup only once its addition is applied.
    ExpandLate;
    /// A primary that proposed a transfer serves again after a while.
    TransferResumes;
    /// A transfer does not wait until all is committed. Covered by the heir's collecting.
    TransferUndrained;
    /// An heir serves without asking the others what they have.
    NoCollect;
    /// A barrier of the control log that began before a read proves who led at the read.
    BarrierBefore;
    /// A barrier proves who leads, whatever the table says after it.
    BarrierUnchecked;
    /// Writes commit with too few in-sync replicas.
    MinIgnored;
    /// One acknowledgement is enough.
    AckByOne;
    /// A backup takes messages of an older term.
    NoTermFence;
    /// A backup joins with what it had instead of a copy.
    NoCopy;
    /// A backup joins although an in-sync replica lacks some of what its copy began with.
    AddEarly;
    /// What a copy has not reached yet is applied too.
    CopyUnfiltered;
    /// What a member acknowledged before its last copy began counts.
    AckOfOtherCopy;
    /// Records that follow another copy than the one that is here are taken.
    AppendOfOtherCopy;
    /// An answer to an earlier attempt is taken although the request was sent again.
    AnswerOfOtherAttempt;
    /// A copy of another stream goes on in this one.
    CopyMixed;
    /// Who is given a lost partition leads with half a copy.
    HalfCopyLeads;
    /// Dedupe records do not travel with a copy.
    CopyForgetsSessions;
    /// Reads do not wait for what they saw.
    NoReadGate;
    /// Tombstones are not kept.
    NoTombstone;
    /// A read of a whole partition waits only for the entries that it saw.
    ScanByEntries;
    /// Requests are not remembered.
    NoDedupe;
    /// The floor of a session does not stop its late requests.
    NoFloor;
    /// The answer to a retry that changed nothing is not remembered.
    RetryForgotten;
    /// An expired session is refused only when a request is a retry.
    ExpiredFirstAttempt;
    /// A member behind the expiry that a partition has logged takes requests.
    ExpiryUnseen;
    /// A restarted process keeps its id.
    SameId;
    /// A repeated start retires the living process.
    StartRepeated;
}

impl Mutant {
    /// Whether it breaks anything that can be observed. The others take away what a further rule, named in
    /// their documentation, covers too.
    #[must_use]
    pub fn is_unsafe(self) -> bool {
        !matches!(
            self,
            Mutant::NoJoinWait
                | Mutant::EarlyNomination
                | Mutant::NoSeenCheck
                | Mutant::TransferUndrained
        )
    }
}

#[cfg(feature = "mutants")]
thread_local! {
    static ON: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Whether this break is on in this thread.
#[cfg(feature = "mutants")]
#[must_use]
pub fn is(mutant: Mutant) -> bool {
    ON.get() == Some(mutant)
}

/// Whether this break is on: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[must_use]
pub fn is(_: Mutant) -> bool {
    false
}

/// Turns a break on, or all off, in this thread.
#[cfg(feature = "mutants")]
pub fn set(mutant: Option<Mutant>) {
    ON.set(mutant);
}
