//! The table of settings: a row says the key, what is possible, and where it goes.

use super::address::Address;
use super::memory::Budget;
use super::value::{Value, Wanted};
use super::{Config, Level, LogFormat};
use grid_core::control::check_name;
use grid_core::limits::{FRAME_BYTES_MAX, KEY_BYTES_MAX, PARTITION_COUNT_MAX};
use std::path::PathBuf;
use std::time::Duration;

/// A setting.
pub(super) struct Setting {
    /// Its key in `grid.toml`.
    pub(super) key: &'static str,
    /// Puts a value where it belongs, or says what would be possible.
    pub(super) apply: fn(&mut Config, &Value) -> Result<(), Wanted>,
}

/// Most cores that a member uses.
const CORES_MAX: u64 = 1024;
/// Most members on a list of those to join.
const JOIN_MAX: usize = 100;
/// Most backups of a partition, of either sort.
const BACKUPS_MAX: u64 = 6;
/// Most of anything that is counted per member or connection.
const COUNT_MAX: u64 = 1_000_000;
/// The smallest frame limit: the longest key has room, and a page of a value.
const FRAME_BYTES_MIN: u64 = 2 * KEY_BYTES_MAX as u64;

/// Every setting; structures have sections of their own.
pub(super) const SETTINGS: &[Setting] = &[
    Setting { key: "bind", apply: |c, v| put(&mut c.bind, v.address()) },
    Setting { key: "http", apply: |c, v| put(&mut c.http, unless(v, "off", Value::address)) },
    Setting { key: "advertise", apply: |c, v| put(&mut c.advertise, unless(v, "", reachable)) },
    Setting { key: "name", apply: |c, v| put(&mut c.name, unless(v, "", name)) },
    Setting { key: "cores", apply: |c, v| put(&mut c.cores, v.whole(0..=CORES_MAX).map(small)) },
    Setting { key: "join", apply: |c, v| put(&mut c.join, join(v)) },
    Setting { key: "data-dir", apply: |c, v| put(&mut c.data_dir, unless(v, "", path)) },
    Setting { key: "cluster.name", apply: |c, v| put(&mut c.cluster.name, name(v)) },
    Setting {
        key: "cluster.partitions",
        apply: |c, v| {
            put(&mut c.cluster.partitions, v.whole(1..=PARTITION_COUNT_MAX.into()).map(small))
        },
    },
    Setting {
        key: "cluster.sync-backups",
        apply: |c, v| put(&mut c.cluster.sync_backups, v.whole(0..=BACKUPS_MAX).map(tiny)),
    },
    Setting {
        key: "cluster.async-backups",
        apply: |c, v| put(&mut c.cluster.async_backups, v.whole(0..=BACKUPS_MAX).map(tiny)),
    },
    Setting {
        key: "cluster.min-in-sync",
        apply: |c, v| put(&mut c.cluster.min_in_sync, v.whole(1..=BACKUPS_MAX + 1).map(tiny)),
    },
    Setting {
        key: "cluster.lease",
        apply: |c, v| {
            let range = Duration::from_millis(200)..=Duration::from_secs(5);
            put(&mut c.cluster.lease, v.duration(range))
        },
    },
    Setting { key: "memory.budget", apply: |c, v| put(&mut c.memory.budget, Budget::read(v)) },
    Setting { key: "memory.huge-pages", apply: |c, v| put(&mut c.memory.huge_pages, v.truth()) },
    Setting {
        key: "limits.frame-bytes-max",
        apply: |c, v| {
            let bytes = v.bytes(FRAME_BYTES_MIN..=FRAME_BYTES_MAX as u64);
            put(&mut c.limits.frame_bytes_max, bytes.map(count))
        },
    },
    Setting {
        key: "limits.connections-max",
        apply: |c, v| put(&mut c.limits.connections_max, v.whole(1..=COUNT_MAX).map(count)),
    },
    Setting {
        key: "limits.handshake-timeout",
        apply: |c, v| {
            let range = Duration::from_millis(100)..=Duration::from_secs(600);
            put(&mut c.limits.handshake_timeout, v.duration(range))
        },
    },
    Setting {
        key: "limits.session-timeout",
        apply: |c, v| {
            let range = Duration::from_secs(1)..=Duration::from_secs(86_400);
            put(&mut c.limits.session_timeout, v.duration(range))
        },
    },
    Setting {
        key: "limits.operation-timeout",
        apply: |c, v| {
            let range = Duration::from_millis(10)..=Duration::from_secs(3_600);
            put(&mut c.limits.operation_timeout, v.duration(range))
        },
    },
    Setting {
        key: "limits.leave-timeout",
        apply: |c, v| {
            let range = Duration::ZERO..=Duration::from_secs(86_400);
            put(&mut c.limits.leave_timeout, v.duration(range))
        },
    },
    Setting {
        key: "limits.subscriber-bytes-max",
        apply: |c, v| {
            put(&mut c.limits.subscriber_bytes_max, v.bytes(64 << 10..=4 << 30).map(count))
        },
    },
    Setting { key: "log.level", apply: |c, v| put(&mut c.log.level, v.one_of(Level::WORDS)) },
    Setting { key: "log.format", apply: |c, v| put(&mut c.log.format, v.one_of(LogFormat::WORDS)) },
];

fn put<T>(slot: &mut T, value: Result<T, Wanted>) -> Result<(), Wanted> {
    *slot = value?;
    Ok(())
}

/// None for the word that means "none".
fn unless<T>(
    value: &Value,
    none: &str,
    read: fn(&Value) -> Result<T, Wanted>,
) -> Result<Option<T>, Wanted> {
    if value.text().is_ok_and(|text| text.trim().eq_ignore_ascii_case(none)) {
        return Ok(None);
    }
    read(value).map(Some).map_err(|wanted| format!("{wanted}, or {none:?}"))
}

/// An address that means something to others.
fn reachable(value: &Value) -> Result<Address, Wanted> {
    let address = value.address().ok();
    address
        .filter(Address::leads_somewhere)
        .ok_or_else(|| "HOST:PORT of this machine as others know it, the port not 0".to_owned())
}

fn join(value: &Value) -> Result<Vec<Address>, Wanted> {
    let list = value.addresses()?;
    if list.len() > JOIN_MAX {
        return Err(format!("at most {JOIN_MAX} addresses"));
    }
    match list.iter().find(|address| !address.leads_somewhere()) {
        Some(bad) => Err(format!("a list of HOST:PORT that lead to members, unlike {bad}")),
        None => Ok(list),
    }
}

fn name(value: &Value) -> Result<String, Wanted> {
    let good = value.text().ok().filter(|text| check_name(text).is_ok());
    good.map(str::to_owned)
        .ok_or_else(|| "a name of 1 to 255 bytes without control characters".to_owned())
}

fn path(value: &Value) -> Result<PathBuf, Wanted> {
    value.text().map(PathBuf::from).map_err(|_| "a directory".to_owned())
}

/// For numbers whose range has been checked to fit.
fn small(n: u64) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// For numbers whose range has been checked to fit.
fn tiny(n: u64) -> u8 {
    u8::try_from(n).unwrap_or(u8::MAX)
}

/// For numbers whose range has been checked; on small machines the largest that there is.
fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
