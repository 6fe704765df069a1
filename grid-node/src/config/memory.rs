//! How much memory the process may use, and the share of it that data may take.

use super::units::{self, BYTES_FORM};
use super::value::{Value, Wanted};
use std::path::Path;

/// The least budget that a member can work with, in bytes.
pub(super) const BUDGET_BYTES_MIN: u64 = 16 << 20;
/// What is assumed of a system that does not tell its memory.
const TOTAL_BYTES_UNKNOWN: u64 = 4 << 30;

/// What data may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Budget {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the memory that the process may use.
    Percent(u8),
}

impl Budget {
    /// The budget in bytes on this system.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Budget::Bytes(bytes) => bytes,
            Budget::Percent(percent) => Self::share(total(Path::new("/")), percent),
        }
    }

    fn share(total: u64, percent: u8) -> u64 {
        (total / 100).saturating_mul(percent.into()).max(BUDGET_BYTES_MIN)
    }

    pub(super) fn read(value: &Value) -> Result<Self, Wanted> {
        let percent = value.text().ok().and_then(|text| text.trim().strip_suffix('%'));
        let budget = match percent {
            Some(n) => n.trim().parse().ok().filter(|n| (1..=95).contains(n)).map(Budget::Percent),
            None => match value {
                Value::Whole(n) => u64::try_from(*n).ok(),
                Value::Text(text) | Value::Loose(text) => units::bytes(text),
                _ => None,
            }
            .filter(|n| *n >= BUDGET_BYTES_MIN)
            .map(Budget::Bytes),
        };
        budget.ok_or_else(|| format!(r#""1%" to "95%", or at least 16MiB, as {BYTES_FORM}"#))
    }
}

/// Memory that the process may use, in bytes: that of the machine or the limits of its control groups
/// (both generations), whichever is least.
fn total(root: &Path) -> u64 {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let machine = read("proc/meminfo").as_deref().and_then(meminfo_total);
    let own = read("proc/self/cgroup");
    let groups = own.as_deref().map(cgroup_limits).unwrap_or_default();
    let limits = groups.iter().filter_map(|path| read(path)?.trim().parse::<u64>().ok());
    limits.chain(machine).filter(|n| *n > 0).min().unwrap_or(TOTAL_BYTES_UNKNOWN)
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files that may hold limits for the process, its own group and those above it.
fn cgroup_limits(own: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            c if c.split(',').any(|c| c == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut group = group.trim_matches('/');
        loop {
            let slash = if group.is_empty() { "" } else { "/" };
            files.push(format!("{root}{slash}{group}/{file}"));
            if group.is_empty() {
                break;
            }
            group = group.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_share_or_bytes() {
        let read = |text: &str| Budget::read(&Value::Text(text.to_owned()));
        assert_eq!(read("60%"), Ok(Budget::Percent(60)));
        assert_eq!(read("2GiB"), Ok(Budget::Bytes(2 << 30)));
        assert_eq!(Budget::read(&Value::Whole(1 << 30)), Ok(Budget::Bytes(1 << 30)));
        for bad in ["0%", "96%", "-1%", "%", "300%", "15MiB", "", "all"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(Budget::share(1000 << 20, 60), (1000 << 20) / 100 * 60);
        assert_eq!(Budget::share(0, 60), BUDGET_BYTES_MIN);
    }

    #[test]
    fn the_limit_of_a_container_counts_if_it_is_less_than_the_machine_has() {
        assert_eq!(meminfo_total("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16 << 10));
        assert_eq!(meminfo_total("MemFree: 1 kB"), None);
        assert_eq!(
            cgroup_limits("0::/a/b\n"),
            [
                "sys/fs/cgroup/a/b/memory.max",
                "sys/fs/cgroup/a/memory.max",
                "sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(
            cgroup_limits("5:cpu:/x\n4:hugetlb,memory:/\nnonsense\n"),
            ["sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        let root = std::env::temp_dir().join(format!("grid-memory-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(total(&root), TOTAL_BYTES_UNKNOWN);
        write("proc/meminfo", "MemTotal: 1024 kB\n");
        write("proc/self/cgroup", "0::/box\n");
        write("sys/fs/cgroup/box/memory.max", "max\n");
        assert_eq!(total(&root), 1 << 20);
        write("sys/fs/cgroup/memory.max", "4096\n");
        assert_eq!(total(&root), 4096);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
