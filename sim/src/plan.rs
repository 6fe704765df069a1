//! The shape of one run: how many members, which promises, how much goes wrong. Drawn from the seed.

use crate::rng::Rng;
use grid_core::control::ClusterConfig;

/// A microsecond, in nanoseconds.
pub const US: u64 = 1_000;
/// A millisecond, in nanoseconds.
pub const MS: u64 = 1_000_000;

/// Length of a grant in the simulation, in milliseconds.
pub const LEASE_MS: u32 = 80;

/// See the module documentation.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Members.
    pub members: usize,
    /// What the cluster is formed with.
    pub config: ClusterConfig,
    /// Clients.
    pub clients: usize,
    /// Operations until the clients stop.
    pub ops: usize,
    /// When faults end, in nanoseconds.
    pub chaos: u64,
    /// When the run ends, healed or not.
    pub end: u64,
    /// Whether anything goes wrong by chance.
    pub faults: bool,
    /// Whether the last replica of a partition may die, and an operator does what there is to do then.
    pub losses: bool,
    /// How long a member waits for a barrier of the control log, in nanoseconds.
    pub barrier: u64,
    /// The partition whose cell follows the table slowly.
    pub slow: usize,
    /// How much of the network's misbehaviour there is, in permille of the usual.
    pub noise: u64,
    /// Faults of clocks: permille by which rates differ at most.
    pub clock_permille: u64,
    /// Bytes of a message between members. Where messages keep their order, a copy takes several.
    pub message: usize,
    /// Messages between two members about partitions keep their order, but for a few.
    pub ordered: bool,
    /// How often a primary gives its partition away for no reason, in permille of the controller's turns.
    pub moves: u64,
}

impl Plan {
    /// Draws a plan.
    pub fn draw(rng: &mut Rng) -> Self {
        // (members, sync backups, least in sync, partitions): at least 8 partitions for every pair.
        let shapes = [
            (3, 1, 1, 24),
            (3, 2, 1, 8),
            (3, 2, 2, 8),
            (4, 2, 2, 16),
            (3, 1, 2, 24),
            (4, 1, 1, 48),
        ];
        let weights = [25, 20, 20, 20, 7, 8];
        let mut draw = rng.range(0, 99);
        let mut at = 0;
        while draw >= weights[at] {
            draw -= weights[at];
            at += 1;
        }
        let (members, sync_backups, min_in_sync, partitions) = shapes[at];
        let ordered = rng.chance(600);
        Plan {
            members,
            config: ClusterConfig {
                partitions,
                sync_backups,
                async_backups: u8::from(members > usize::from(sync_backups) + 1 && rng.chance(300)),
                min_in_sync,
                lease_ms: LEASE_MS,
                hash_seed: rng.bits(),
            },
            clients: 22,
            ops: 800,
            chaos: 900 * MS,
            end: 6_000 * MS,
            faults: true,
            losses: rng.chance(200),
            barrier: 40 * MS,
            slow: rng.below(6),
            noise: [1000, 1000, 400, 2500][rng.below(4)],
            clock_permille: 20,
            message: if ordered { [100, 200, 400][rng.below(3)] } else { 8_000 },
            ordered,
            moves: 25,
        }
    }

    /// A quiet cluster, for scenarios.
    #[must_use]
    pub fn quiet(members: usize, sync_backups: u8, min_in_sync: u8, partitions: u16) -> Self {
        Plan {
            members,
            config: ClusterConfig {
                partitions,
                sync_backups,
                async_backups: 0,
                min_in_sync,
                lease_ms: LEASE_MS,
                hash_seed: 7,
            },
            clients: 0,
            ops: 0,
            chaos: 0,
            end: u64::MAX,
            faults: false,
            losses: false,
            barrier: 40 * MS,
            slow: usize::MAX,
            noise: 0,
            clock_permille: 0,
            message: 100,
            ordered: true,
            moves: 0,
        }
    }
}
