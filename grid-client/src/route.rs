//! Which member takes a request: the primary of its partition, or of a stale read any in-sync replica.

use grid_core::ids::{Index, PartitionId};
use grid_core::wire::table::TableView;

/// No lane.
const NONE: u32 = u32::MAX;

/// See the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Route {
    table: Option<TableView>,
    /// The lane of each member of the table.
    lanes: Vec<usize>,
    /// The lane of the primary of each partition.
    primaries: Vec<u32>,
    /// Spreads stale reads.
    turn: usize,
}

impl Route {
    /// Takes a table into use; `lanes` has the lane of each of its members.
    pub(crate) fn install(&mut self, table: TableView, lanes: Vec<usize>) {
        let primary = |partition| {
            let at = table.primary(PartitionId(partition)).map(usize::from);
            at.and_then(|at| lanes.get(at))
                .map_or(NONE, |lane| u32::try_from(*lane).unwrap_or(NONE))
        };
        self.primaries = (0..table.partitions()).map(primary).collect();
        (self.table, self.lanes) = (Some(table), lanes);
    }

    /// Index of the table.
    pub(crate) fn index(&self) -> Index {
        self.table.as_ref().map_or(Index(0), TableView::index)
    }

    /// Number of members.
    pub(crate) fn members(&self) -> usize {
        self.lanes.len()
    }

    /// The lane of the primary, if anybody owns the partition.
    #[inline]
    pub(crate) fn primary(&self, partition: PartitionId) -> Option<usize> {
        let lane = self.primaries.get(usize::from(partition.0)).copied()?;
        (lane != NONE).then_some(lane as usize)
    }

    /// The lane for a stale read: the in-sync replicas in turn. A read is not made to wait for a connection
    /// while another replica has one; the lane whose turn it was is returned too, to be connected. `up` tells
    /// whether a lane is.
    pub(crate) fn spread(
        &mut self,
        partition: PartitionId,
        up: impl Fn(usize) -> bool,
    ) -> Option<(usize, usize)> {
        let replicas = self.table.as_ref()?.replicas(partition);
        self.turn = self.turn.wrapping_add(1);
        let (turn, count) = (self.turn, replicas.len().max(1));
        let lane = |n: usize| {
            let at = replicas.get(turn.wrapping_add(n) % count)?;
            self.lanes.get(usize::from(*at)).copied()
        };
        let first = lane(0)?;
        let connected = (0..count).filter_map(lane).find(|lane| up(*lane));
        Some((connected.unwrap_or(first), first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_core::MemberId;
    use grid_core::wire::table::MemberAddress;

    #[test]
    fn stale_reads_spread_over_the_connected_replicas_and_name_those_to_connect() {
        let at = |n| MemberAddress { member: MemberId(n), address: format!("h:{n}") };
        let partitions: [&[u16]; 2] = [&[2, 0], &[]];
        let table = TableView::new(Index(4), 1, (1..4).map(at).collect(), partitions).unwrap();
        let mut route = Route::default();
        assert_eq!((route.primary(PartitionId(0)), route.index()), (None, Index(0)));
        route.install(table, vec![10, 11, 12]);
        let (held, lost) = (PartitionId(0), PartitionId(1));
        assert_eq!((route.primary(held), route.primary(lost)), (Some(12), None));
        assert_eq!(route.spread(lost, |_| true), None);
        let mut seen: Vec<_> = (0..4).filter_map(|_| route.spread(held, |_| true)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(10, 10), (10, 10), (12, 12), (12, 12)]);
        let mut seen: Vec<_> = (0..4).filter_map(|_| route.spread(held, |l| l == 12)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(12, 10), (12, 10), (12, 12), (12, 12)]);
    }
}
