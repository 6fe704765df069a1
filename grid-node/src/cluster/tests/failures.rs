//! What happens when members fail or cannot reach one another.

use super::*;

/// Splits the leader from the others.
async fn by_role(nodes: [TestNode; 3]) -> (TestNode, Vec<TestNode>) {
    let leader = nodes[0].node.leader();
    let mut nodes = Vec::from(nodes);
    let at = nodes.iter().position(|node| Some(node.node.node()) == leader);
    (nodes.swap_remove(at.expect("a leader")), nodes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_death_of_the_leader_is_survived_and_nothing_agreed_is_lost() {
    let (nodes, _) = three().await;
    let (leader, rest) = by_role(nodes).await;
    for n in 0..20 {
        leader.propose(topic(&format!("before-{n}"))).await.unwrap();
    }
    leader.kill().await;
    // Whoever is asked finds the new leader in time, or says that it may have been applied.
    for n in 0..20 {
        let result = rest[n % 2].propose(topic(&format!("after-{n}"))).await;
        let again = || rest[n % 2].propose(topic(&format!("after-{n}")));
        if result.is_err() {
            again().await.unwrap();
        }
    }
    for node in &rest {
        within(node.node.barrier(LONG)).await.unwrap();
        assert_eq!(node.node.state().read().structures().len(), 40);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_everything_says_so_and_later_goes_on() {
    let (nodes, _) = three().await;
    let (leader, mut rest) = by_role(nodes).await;
    let (b, c) = (rest.remove(0), rest.remove(0));
    let all = [&leader, &b, &c];
    for one in all {
        let others =
            all.iter().map(|other| other.node.node()).filter(|node| *node != one.node.node());
        *one.node.peers.cut.lock() = others.collect();
    }
    for node in all {
        let mut quorum = node.node.quorum();
        within(quorum.wait_for(|good| !good)).await.unwrap();
        let error = within(node.node.propose(topic("x"), LONG)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NoQuorum, "{error}");
        assert!(error.to_string().contains("the cluster has no quorum"), "{error}");
        assert_eq!(kind(within(node.node.barrier(LONG)).await), Kind::NoQuorum);
    }
    for node in all {
        node.node.peers.cut.lock().clear();
    }
    for node in all {
        let mut quorum = node.node.quorum();
        within(quorum.wait_for(|good| *good)).await.unwrap();
        within(async { while node.propose(topic("y")).await.is_err() {} }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_changes_nothing_and_reads_nothing_old() {
    let (nodes, _) = three().await;
    let (old, rest) = by_role(nodes).await;
    let away = old.node.node();
    for node in &rest {
        node.node.peers.cut.lock().insert(away);
        old.node.peers.cut.lock().insert(node.node.node());
    }
    let doubtful = old.node.propose(topic("doubtful"), LONG);
    let (doubtful, ()) = tokio::join!(within(doubtful), async {
        within(async { while rest[0].propose(topic("new")).await.is_err() {} }).await;
    });
    let error = doubtful.unwrap_err();
    assert_eq!(error.applied(), grid_core::error::Applied::Maybe, "{error}");
    assert_eq!(kind(within(old.node.barrier(LONG)).await), Kind::NoQuorum);
    for node in [&rest[0], &rest[1], &old] {
        node.node.peers.cut.lock().clear();
    }
    old.until("the other side's change", |state| state.structure_named("new").is_some()).await;
    within(async { while old.node.barrier(LONG).await.is_err() {} }).await;
    assert!(old.node.state().read().structure_named("doubtful").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_silent_leader_once_another_leads() {
    let (nodes, _) = three().await;
    let (old, rest) = by_role(nodes).await;
    for node in &rest {
        node.node.peers.mute.lock().insert(old.node.node());
        old.node.peers.cut.lock().insert(node.node.node());
    }
    let (asked, index) = tokio::join!(
        within(rest[0].node.propose(topic("asked"), 10 * LONG)),
        within(rest[1].node.barrier(10 * LONG))
    );
    let error = asked.unwrap_err();
    assert_eq!(error.applied(), grid_core::error::Applied::Maybe, "{error}");
    index.unwrap();
    rest[0].propose(topic("again")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_voter_is_replaced_by_a_learner_and_a_third_one_is_needed_for_three() {
    let ([a, b, c], addresses) = three().await;
    let d = Site::new().await.start(config(&addresses)).await;
    d.until_voters("it is sent the log", |_, nodes| nodes.contains(&d.node.node().0)).await;
    let (leader, mut rest) = by_role([a, b, c]).await;
    rest.remove(0).kill().await;
    let now = ids(&[&leader, &rest[0], &d]);
    leader.until_voters("a learner takes over", |sets, _| sets == [now.clone()]).await;
    leader.until_voters("the dead one is forgotten", |_, nodes| *nodes == now).await;
    // Of two that are left, one votes.
    d.kill().await;
    leader.until_voters("one voter", |sets, _| sets.len() == 1 && sets[0].len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_change_of_voters_is_finished() {
    let ([a, b, c], addresses) = three().await;
    let (leader, rest) = by_role([a, b, c]).await;
    let d = Site::new().await.start(config(&addresses)).await;
    // Only the first half of a change: both sets have a say from now on.
    let old = ids(&[&leader, &rest[0], &rest[1]]);
    let new = ids(&[&leader, &rest[0], &d]);
    let nodes = leader.node.metrics().membership_config.membership().clone();
    let nodes: std::collections::BTreeMap<_, _> =
        nodes.nodes().map(|(n, p)| (*n, p.clone())).collect();
    let joint = openraft::Membership::new(vec![old, new], nodes).unwrap();
    within(leader.node.raft().append_membership(joint, openraft::EntryPayload::Blank, []))
        .await
        .unwrap();
    leader.until_voters("one set of voters", |sets, _| sets.len() == 1 && sets[0].len() == 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_frame_ends_only_its_connection() {
    use grid_core::wire::hello::{MemberHello, PeerKind, Plane};
    use tokio::io::AsyncWriteExt;
    let site = Site::new().await;
    let address = site.address.clone();
    let node = site.start(config(&[])).await;
    let hello = Hello {
        cluster: name(),
        kind: PeerKind::Member(MemberHello {
            node: grid_core::ids::NodeId(1),
            member: None,
            address: "nowhere".to_owned(),
            plane: Plane::Control,
            config: config(&[]).config,
        }),
        name: "odd".to_owned(),
        session: None,
        table: Index(u64::MAX),
    };
    for bad in [&b"\x05\0\0\0abcde"[..], &b"\xff\xff\xff\xffabc"[..], &b"\0\0\0\0"[..]] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let mut bytes = Vec::new();
        hello::encode(&hello, &mut bytes).unwrap();
        bytes.extend_from_slice(bad);
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        // The welcome, and then the end.
        let _ = within(stream.read_to_end(&mut answer)).await;
        assert!(answer.len() > 8);
    }
    node.propose(topic("alive")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_majority_is_lost_an_operator_can_have_the_survivors_go_on() {
    let ([a, b, c], addresses) = three().await;
    let dir = Scratch::new();
    let d = Site::new().await.start(durable(&addresses, &dir)).await;
    a.propose(topic("kept")).await.unwrap();
    let error = within(a.node.force_new_cluster(&[])).await.unwrap_err();
    assert!(error.to_string().contains("nothing may be forced"), "{error}");
    let (old, members) = (a.node.group(), [a.member(), d.member()]);
    within(async { tokio::join!(b.kill(), c.kill()) }).await;
    for node in [&a, &d] {
        let mut quorum = node.node.quorum();
        within(quorum.wait_for(|good| !good)).await.unwrap();
    }
    // Either can begin; the learner with a directory does.
    let followed = within(d.node.force_new_cluster(&[])).await.unwrap();
    assert_eq!(followed, std::slice::from_ref(&a.node.me.address));
    assert!(d.node.group() != old);
    for node in [&d, &a] {
        within(async { while node.propose(topic("on")).await.is_err() {} }).await;
        let state = node.node.state();
        assert!(state.read().structure_named("kept").is_some());
        assert!(members.iter().all(|member| state.read().members().contains_key(member)));
    }
    assert_eq!(a.node.group(), d.node.group());
    // The directory holds the new life.
    let (group, address) = (d.node.group(), d.node.me.address.clone());
    d.kill().await;
    let d = Site::at(&address).await.start(durable(&addresses, &dir)).await;
    assert_eq!(d.node.group(), group);
    assert!(d.node.state().read().structure_named("on").is_some());
}
