//! Operations on the whole part of a map that lives in this partition. They first remove what has
//! expired, a bounded number per step, so that what they report holds at their time.

use super::map::map_in;
use super::{Container, Effect, Partition, Step, Stop, Turn};
use crate::ids::{Seq, SessionId, StructureId};
use crate::limits::{EXPIRE_PER_STEP, SCAN_BYTES_MAX, SCAN_ENTRIES_MAX};
use crate::op::Part;
use crate::time::Clock;
use crate::wire::bytes::{KeyRef, put_key, put_value};
use std::ops::ControlFlow;

impl Partition {
    /// Logs the end of entries whose time is over, at most [`EXPIRE_PER_STEP`] of them; `Again` if
    /// there are more.
    pub(super) fn expire_due(&mut self, clock: &dyn Clock, s: StructureId) -> Step<()> {
        if !map_in(&self.containers, s)?.has_expiring() {
            return Ok(());
        }
        let now = self.log.now(clock);
        for _ in 0..EXPIRE_PER_STEP {
            let map = map_in(&self.containers, s)?;
            let Some((due, hash)) = map.first_due(now) else { return Ok(()) };
            let mut found = None;
            map.store.walk(hash, |at, entry| {
                if at != hash {
                    return ControlFlow::Break(());
                }
                if super::map::due_of(&entry) == Some(due) && !entry.is_tombstone() {
                    let key = entry.key();
                    found = Some((key.tag, key.payload.to_vec(), entry.affinity()));
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            let (tag, payload, affinity) = found.ok_or_else(|| {
                crate::Error::with(crate::Kind::Internal, "an expiry without its entry")
            })?;
            let blob = crate::data::Blob { tag, payload: &payload };
            self.map_end(clock, s, KeyRef { blob, affinity })?;
        }
        if map_in(&self.containers, s)?.first_due(now).is_some() {
            Err(Stop::Again)
        } else {
            Ok(())
        }
    }

    /// Answer: number of entries, `u64`.
    pub(super) fn map_size(&mut self, turn: &mut Turn<'_>, s: StructureId) -> Step {
        self.expire_due(turn.clock, s)?;
        let map = map_in(&self.containers, s)?;
        turn.reply.extend_from_slice(&(map.len() as u64).to_le_bytes());
        Ok(map.gate())
    }

    pub(super) fn map_clear(&mut self, turn: &mut Turn<'_>, s: StructureId) -> Step {
        let map = map_in(&self.containers, s)?;
        if map.len() == 0 {
            return Ok(map.changed);
        }
        self.write(turn, &Effect::MapClear(s), 0)
    }

    /// Answer: `done:u8 next:u64 count:u32`, then the entries in hash order. All entries of one hash
    /// come in the same answer, so that `next` is enough to go on, whatever is written in between.
    pub(super) fn map_scan(
        &mut self,
        turn: &mut Turn<'_>,
        s: StructureId,
        from: u64,
        entries_max: u32,
        part: Part,
    ) -> Step {
        self.expire_due(turn.clock, s)?;
        let map = map_in(&self.containers, s)?;
        let entries_max = (entries_max as usize).clamp(1, SCAN_ENTRIES_MAX);
        let reply = &mut *turn.reply;
        let head = reply.len();
        reply.extend_from_slice(&[0; 13]);
        let (mut count, mut last_hash) = (0u32, None);
        let next = map.store.walk(from, |hash, entry| {
            let full = count as usize >= entries_max || reply.len() - head >= SCAN_BYTES_MAX;
            if full && last_hash != Some(hash) {
                return ControlFlow::Break(());
            }
            last_hash = Some(hash);
            if !entry.is_tombstone() {
                count += 1;
                put_key(reply, KeyRef { blob: entry.key(), affinity: entry.affinity() });
                if part == Part::Entries {
                    put_value(reply, entry.value());
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(fields) = reply.get_mut(head..head + 13) {
            fields[0] = u8::from(next.is_none());
            fields[1..9].copy_from_slice(&next.unwrap_or(0).to_le_bytes());
            fields[9..13].copy_from_slice(&count.to_le_bytes());
        }
        Ok(map.gate())
    }

    /// Prefetches what an operation on a key of this map will touch first. Two passes over a batch of
    /// requests, `index` then not, hide most of the memory's latency.
    #[inline]
    pub fn prefetch(&self, s: StructureId, hash: u64, index: bool) {
        if let Some(Some(Container::Map(map))) = self.containers.get(s.0 as usize) {
            if index {
                map.store.prefetch_index(hash);
            } else {
                map.store.prefetch_record(hash);
            }
        }
    }

    /// Prefetches what is remembered of a session's requests.
    #[inline]
    pub fn prefetch_session(&self, session: SessionId) {
        self.sessions.prefetch(session);
    }

    /// The `seq` that an answer about all entries of a map waits for, for tests.
    #[must_use]
    pub fn changed(&self, s: StructureId) -> Option<Seq> {
        map_in(&self.containers, s).ok().map(|map| map.changed)
    }
}
