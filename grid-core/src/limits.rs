//! Every ceiling in one place. Limits that an operator may change are defaults here and settings in
//! `config/grid.toml`.

/// Partitions of a cluster unless configured otherwise (a prime, as in Hazelcast).
pub const PARTITION_COUNT_DEFAULT: u16 = 271;
/// Most partitions that a cluster can be configured with.
pub const PARTITION_COUNT_MAX: u16 = 16_384;
/// Longest name of a structure, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest key, in payload bytes.
pub const KEY_BYTES_MAX: usize = 64 << 10;
/// Longest value, in payload bytes. A frame must be able to carry it.
pub const VALUE_BYTES_MAX: usize = 32 << 20;
/// Largest frame on the wire, in bytes after the length field.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// Requests that a session may have outstanding.
pub const OUTSTANDING_MAX: usize = 65_536;

const _: () = assert!(KEY_BYTES_MAX + VALUE_BYTES_MAX + (1 << 20) < FRAME_BYTES_MAX);
