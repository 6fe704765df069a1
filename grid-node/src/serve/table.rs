//! The table as this member tells it to clients.

use crate::observe::Lookout;
use crate::shared::Shared;
use grid_core::control::ControlState;
use grid_core::error::Result;
use grid_core::ids::{Index, MemberId, SessionId};
use grid_core::wire::hello::{Hello, Welcome};
use grid_core::wire::table::{MemberAddress, TableView};
use std::net::SocketAddr;

/// What a client is told at first.
pub(super) fn welcome(
    shared: &Shared,
    hello: &Hello,
    session: SessionId,
    reached: Option<SocketAddr>,
) -> Result<Welcome> {
    let life = shared.life();
    let same_life = hello.session.is_some_and(|(_, of)| of == life);
    // Indices of another life say nothing here; `MAX` says that no table is wanted.
    let foreign = !same_life && hello.table != Index(u64::MAX);
    let known = if foreign { Index(0) } else { hello.table };
    let timeout = shared.settings.session_timeout.as_millis();
    Ok(Welcome {
        cluster_life: life,
        member: shared.member,
        session,
        session_timeout_ms: u64::try_from(timeout).unwrap_or(u64::MAX),
        partitions: shared.cluster.partitions,
        frame_bytes_max: u32::try_from(shared.settings.frame_bytes_max).unwrap_or(u32::MAX),
        applied: shared.agreed.index(),
        lease_ms: shared.cluster.lease_ms,
        table: newer_than(known, shared, reached)?,
    })
}

/// What an operator is told by a member that has not come to its cluster.
pub(super) fn welcome_early(lookout: &Lookout) -> Welcome {
    let settings = &lookout.settings;
    let timeout = settings.session_timeout.as_millis();
    Welcome {
        cluster_life: 0,
        member: MemberId(0),
        session: SessionId(0),
        session_timeout_ms: u64::try_from(timeout).unwrap_or(u64::MAX),
        partitions: settings.partitions,
        frame_bytes_max: u32::try_from(settings.frame_bytes_max).unwrap_or(u32::MAX),
        applied: Index(0),
        lease_ms: settings.lease_ms,
        table: None,
    }
}

/// The table, unless the client has it: `known` is the index of its own. `reached` is where the client has
/// reached this member.
pub(super) fn newer_than(
    known: Index,
    shared: &Shared,
    reached: Option<SocketAddr>,
) -> Result<Option<TableView>> {
    let index = shared.agreed.read(changed_at);
    if known >= index {
        return Ok(None);
    }
    let own = |member: MemberId, address: &str| {
        // A member that listens everywhere is where the client has found it.
        let bound = shared.addresses.0;
        let found = (member == shared.member && bound.ip().is_unspecified()).then_some(reached);
        let unnamed = shared.settings.advertise.is_none();
        found.flatten().filter(|_| unnamed).map_or_else(|| address.to_owned(), |at| at.to_string())
    };
    let (members, table) = shared.agreed.read(|state| {
        let members = state.members().iter().map(|(member, info)| MemberAddress {
            member: *member,
            address: own(*member, &info.address),
        });
        (members.collect::<Vec<_>>(), state.table().to_vec())
    });
    let at = |id: &MemberId| members.iter().position(|known| known.member == *id);
    let replicas: Vec<Vec<u16>> = table
        .iter()
        .map(|record| {
            let others = record.isr.iter().filter(|id| **id != record.primary);
            let all = std::iter::once(&record.primary).chain(others);
            let owners = all.filter(|_| !record.lost).filter_map(at);
            owners.filter_map(|at| u16::try_from(at).ok()).collect()
        })
        .collect();
    let life = shared.life();
    TableView::new(index, life, members, replicas.iter().map(Vec::as_slice)).map(Some)
}

/// Position of the last change of anything that the table tells.
fn changed_at(state: &ControlState) -> Index {
    let records = state.table().iter().map(|record| record.index);
    records.chain([state.members_at()]).max().unwrap_or_default()
}
