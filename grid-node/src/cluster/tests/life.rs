//! What members do all their lives.

use super::*;
use grid_core::ids::NodeId;

#[tokio::test]
async fn beacons_reach_the_process_that_they_are_for() {
    let ([a, b, _c], _) = three().await;
    a.until("three members", |state| state.members().len() == 3).await;
    let beacon = Beacon { sent: 42, index: Index(1) };
    let reply = within(a.node.beacon(b.member(), beacon, LONG)).await.unwrap();
    let wanted = BeaconReply { sent: 42, behind: Some(Index(a.member().0)), lease_ms: 400 };
    assert_eq!(reply, wanted);
    let unknown = within(a.node.beacon(MemberId(9999), beacon, LONG)).await;
    assert_eq!(kind(unknown), Kind::Disconnected);
    // The node is there, but the process is another one.
    let earlier = MemberId(b.member().0 - 1);
    let stale = peers::message::Request::Beacon { from: a.member(), to: earlier, beacon };
    let reply = within(a.node.peers.call(b.node.node(), stale, LONG)).await;
    assert_eq!(kind(reply), Kind::Disconnected);
}

#[tokio::test]
async fn partitions_get_goals_on_all_members_and_the_dead_lose_theirs() {
    let ([a, b, c], _) = three().await;
    let spread = |state: &ControlState| {
        let holders: BTreeSet<_> = state.table().iter().flat_map(|r| r.goal.clone()).collect();
        state.table().iter().all(|r| r.goal.len() == 2) && holders.len() == 3
    };
    a.until("goals on three members", spread).await;
    let dead = c.member();
    c.kill().await;
    a.until("no goal on the dead one", |state| {
        state.table().iter().all(|r| r.goal.len() == 2 && !r.goal.contains(&dead))
    })
    .await;
    assert_eq!(b.node.state().read().members().len(), 3);
}

#[tokio::test]
async fn silent_sessions_end_and_others_do_not() {
    let mut config = config(&[]);
    config.timing.session = Duration::from_secs(3);
    let node = Site::new().await.start(config).await;
    let open = async || match node.propose(Command::OpenSession).await.unwrap() {
        Outcome::SessionOpened(session) => session,
        other => panic!("{other:?}"),
    };
    let (kept, silent) = (open().await, open().await);
    node.host.heard.lock().insert(kept);
    node.until("the silent session ends", |state| !state.has_session(silent)).await;
    assert!(node.node.state().read().has_session(kept));
}

#[tokio::test]
async fn a_leader_hands_over_before_it_leaves() {
    let ([a, b, c], _) = three().await;
    let leader = a.node.leader();
    let mut nodes = vec![a, b, c];
    let at = nodes.iter().position(|node| Some(node.node.node()) == leader).unwrap();
    let leader = nodes.swap_remove(at);
    leader.propose(Command::Leave(leader.member())).await.unwrap();
    within(leader.node.leave(LONG)).await.unwrap();
    let gone = leader.node.node();
    leader.kill().await;
    nodes[0].until_voters("it is out", |_, all| !all.contains(&gone.0)).await;
    nodes[1].propose(topic("on")).await.unwrap();
}

#[tokio::test]
async fn late_ones_are_sent_a_snapshot_and_logs_stay_short() {
    let first = Site::new().await;
    let seeds = vec![first.address.clone()];
    let mut config = config(&[]);
    config.timing.snapshot_entries = 100;
    let first = first.start(config.clone()).await;
    for n in 0..450 {
        first.propose(topic(&format!("t{n}"))).await.unwrap();
    }
    let purged =
        |m: &openraft::RaftMetrics<raft::Types>| m.purged.as_ref().map_or(0, |id| id.index);
    let wait = first.node.raft().wait(Some(LONG));
    let waited = wait.metrics(|m| purged(m) > 200, "a shorter log");
    waited.await.unwrap();
    config.join = seeds;
    let late = Site::new().await.start(config).await;
    assert!(late.told.lock().snapshots > 0);
    assert_eq!(late.node.state().read().structures().len(), 450);
    late.propose(topic("more")).await.unwrap();
    within(late.node.barrier(LONG)).await.unwrap();
    let (a, b) = (first.node.state(), late.node.state());
    first.until("all of it", |state| state.index() >= b.read().index()).await;
    assert_eq!(a.read().structures(), b.read().structures());
}

#[tokio::test]
async fn all_three_with_directories_come_back_after_a_full_stop_at_other_addresses() {
    let dirs = [Scratch::new(), Scratch::new(), Scratch::new()];
    let start = async || {
        let ([a, b, c], addresses) = Site::several::<3>().await;
        within(async {
            tokio::join!(
                a.start(durable(&addresses, &dirs[0])),
                b.start(durable(&addresses, &dirs[1])),
                c.start(durable(&addresses, &dirs[2]))
            )
        })
        .await
    };
    let (a, b, c) = start().await;
    let all = ids(&[&a, &b, &c]);
    a.until_voters("three voters", |sets, _| sets == [all.clone()]).await;
    b.propose(topic("kept")).await.unwrap();
    within(async {
        tokio::join!(a.kill(), b.kill(), c.kill());
    })
    .await;
    let (a, b, c) = start().await;
    assert_eq!(ids(&[&a, &b, &c]), all);
    within(c.node.barrier(LONG)).await.unwrap();
    assert!(c.node.state().read().structure_named("kept").is_some());
    assert!(a.node.state().read().boot(NodeId(a.node.node().0)).unwrap().0 == 2);
}
