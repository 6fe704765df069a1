//! Every ceiling in one place. Limits that an operator may change are defaults here and settings in
//! `config/grid.toml`.

/// Partitions of a cluster unless configured otherwise (a prime, as in Hazelcast).
pub const PARTITION_COUNT_DEFAULT: u16 = 271;
/// Most partitions that a cluster can be configured with.
pub const PARTITION_COUNT_MAX: u16 = 16_384;
/// Members that a cluster can have.
pub const MEMBERS_MAX: usize = 1024;
/// Longest name of a structure, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest key, in payload bytes.
pub const KEY_BYTES_MAX: usize = 64 << 10;
/// Longest value, in payload bytes. A frame must be able to carry it.
pub const VALUE_BYTES_MAX: usize = 32 << 20;
/// Largest frame on the wire, in bytes after the length field.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// Operations that one client, or one process with an embedded member, may have waiting.
pub const OUTSTANDING_MAX: usize = 65_536;
/// Structures that a cluster can have; their ids are never used again.
pub const STRUCTURES_MAX: usize = 65_536;
/// Bytes of remembered answers that one session may have in one partition. A session that does not
/// tell which answers it has received is refused beyond them.
pub const DEDUPE_BYTES_MAX: usize = 1 << 20;
/// Bytes of operations that a partition keeps for replicas that have not acknowledged them.
pub const RING_BYTES_MAX: usize = 4 << 20;
/// Bytes of operations that a partition keeps beyond that for a replica that is being copied.
pub const LEARNER_RING_BYTES_MAX: usize = 2 << 20;
/// Bytes of answers of a partition that wait for its backups before further reads of what is not
/// committed are refused.
pub const PARKED_BYTES_MAX: usize = 4 << 20;
/// Expired entries that one operation removes itself before it looks at the rest.
pub const EXPIRE_PER_STEP: usize = 64;
/// Entries that one scan request can return.
pub const SCAN_ENTRIES_MAX: usize = 10_000;
/// Bytes after which the answer to a scan or to many keys ends, whatever was asked for.
pub const SCAN_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX + (1 << 20) < FRAME_BYTES_MAX);
