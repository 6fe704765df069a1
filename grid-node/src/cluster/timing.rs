//! How long everything takes at most.

use std::time::Duration;

/// Intervals and deadlines of the control plane.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Between two signs of life of the leader.
    pub heartbeat: Duration,
    /// Shortest silence of the leader before others stand for election.
    pub election_min: Duration,
    /// Longest.
    pub election_max: Duration,
    /// Without a sign of a quorum for this long, proposals fail at once.
    pub quorum_lost: Duration,
    /// For sending and installing a part of a snapshot.
    pub snapshot: Duration,
    /// Entries after which a snapshot is made and the log is shortened.
    pub snapshot_entries: u64,
    /// For a connection to be made and its hello to be answered.
    pub connect: Duration,
    /// Between two reports of a member to the leader.
    pub report: Duration,
    /// Between two questions to each other member what it says of itself.
    pub roll: Duration,
    /// Between two decisions of the controller.
    pub control: Duration,
    /// A member whose last report is older than this gets nothing new to hold.
    pub alive: Duration,
    /// A silent session ends after this.
    pub session: Duration,
    /// A silent member that holds nothing is forgotten after this.
    pub forget: Duration,
    /// Between two looks at who votes.
    pub voters: Duration,
    /// A voter that is silent for longer is replaced.
    pub voter_silent: Duration,
    /// A node without a vote that is silent for longer is no longer sent the log.
    pub learner_silent: Duration,
    /// Between two rounds of questions while a cluster is looked for.
    pub probe: Duration,
    /// Between two lines in the log that say what a start waits for.
    pub waiting_line: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Timing {
            heartbeat: ms(50),
            election_min: ms(150),
            election_max: ms(300),
            quorum_lost: ms(1000),
            snapshot: ms(10_000),
            snapshot_entries: 4000,
            connect: ms(1000),
            report: ms(500),
            roll: ms(1000),
            control: ms(100),
            alive: ms(3000),
            session: ms(60_000),
            forget: ms(600_000),
            voters: ms(1000),
            voter_silent: ms(10_000),
            learner_silent: ms(60_000),
            probe: ms(200),
            waiting_line: ms(5000),
        }
    }
}
