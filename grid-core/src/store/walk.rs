//! Walks over a store in the order of hashes.

use super::entry::Entry;
use super::mem::Ref;
use super::table::Place;
use super::{Store, hash64};
use std::ops::ControlFlow;

impl Store {
    /// Calls `f` with the entries, tombstones included, whose hash is `from` or more: in the order
    /// of their hashes, those of equal hash by payload and tag of their keys. `f` refuses an entry by `Break`. Returns the
    /// hash to go on from: that of the refused entry, or `None` at the end.
    ///
    /// A walk in steps, with any writes in between, meets every entry that was there all the time
    /// exactly once, except that going on from a hash emits all entries of that hash again: a
    /// caller that accepted some of them before `f` refused another one drops those.
    pub fn walk<'s>(
        &'s self,
        from: u64,
        mut f: impl FnMut(u64, Entry<'s>) -> ControlFlow<()>,
    ) -> Option<u64> {
        let mut found: Vec<(u64, Ref, Place)> = Vec::new();
        for (table, buckets) in self.index.ranges(from) {
            for home in buckets {
                table.each_in(home + 2, |at| self.arena.mem.prefetch(at, 64));
                found.clear();
                table.gather(home, |at| self.hash_at(at), &mut found);
                let key = |at| self.entry(at).key();
                found.sort_unstable_by(|a, b| {
                    a.0.cmp(&b.0)
                        .then_with(|| key(a.1).payload.cmp(key(b.1).payload))
                        .then_with(|| key(a.1).tag.cmp(&key(b.1).tag))
                });
                for (hash, at, _) in found.iter().filter(|(hash, ..)| *hash >= from) {
                    if f(*hash, self.entry(*at)).is_break() {
                        return Some(*hash);
                    }
                }
            }
        }
        None
    }

    /// A hash over all entries: keys, values, sequence numbers, expiry and idle times with the last access,
    /// affinities, but no tombstones (replicas drop them at different times). Equal on replicas of equal
    /// content, whatever their layout. Takes time in proportion to the content.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut digest = 0u64;
        let _ = self.walk(0, |_, entry| {
            if !entry.is_tombstone() {
                digest = digest.wrapping_add(digest_of(&entry));
            }
            ControlFlow::Continue(())
        });
        digest
    }
}

fn digest_of(entry: &Entry<'_>) -> u64 {
    let (key, value) = (entry.key(), entry.value());
    let hash = hash64(key.payload, u64::from(key.tag.0.cast_unsigned()));
    let hash = hash64(value.payload, hash ^ u64::from(value.tag.0.cast_unsigned()));
    let words = [
        entry.seq(),
        entry.expires_at().map_or(u64::MAX, |ms| ms),
        entry.idle().map_or(u64::MAX, |idle| u64::from(idle.max_ms)),
        entry.idle().map_or(u64::MAX, |idle| idle.last_ms),
        entry.affinity().map_or(u64::MAX, u64::from),
    ];
    words.iter().fold(hash, |hash, word| hash64(&word.to_le_bytes(), hash))
}
