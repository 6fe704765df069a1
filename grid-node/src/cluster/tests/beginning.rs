//! How clusters begin.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_list_forms_a_cluster_at_once() {
    let node = Site::new().await.start(config(&[])).await;
    assert_eq!(node.node.state().read().config().unwrap().partitions, 7);
    assert_eq!(node.node.state().read().members().len(), 1);
    let declared = node.propose(topic("t")).await.unwrap();
    assert!(matches!(declared, Outcome::Declared(..)), "{declared:?}");
    let index = within(node.node.barrier(LONG)).await.unwrap();
    assert!(node.told.lock().entries.contains(&index));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_that_start_at_once_form_one_cluster() {
    for _ in 0..3 {
        let ([a, b, c], _) = three().await;
        let groups: BTreeSet<_> = [&a, &b, &c].iter().map(|node| node.node.group()).collect();
        assert_eq!(groups.len(), 1);
        for node in [&a, &b, &c] {
            node.until("three members", |state| state.members().len() == 3).await;
        }
        let outcome = b.propose(topic("t")).await.unwrap();
        assert!(matches!(outcome, Outcome::Declared(..)), "{outcome:?}");
        for node in [&a, &b, &c] {
            within(node.node.barrier(LONG)).await.unwrap();
            assert!(node.node.state().read().structure_named("t").is_some());
        }
        within(async { tokio::join!(a.kill(), b.kill(), c.kill()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_one_without_its_memory_joins_those_who_live() {
    let ([a, b, c], addresses) = three().await;
    let group = b.node.group();
    let mut nodes = [a, b, c].into_iter();
    let mut live = Vec::new();
    let first = addresses.iter().min().unwrap().clone();
    for (node, address) in nodes.by_ref().zip(&addresses) {
        if *address == first {
            node.kill().await;
        } else {
            live.push(node);
        }
    }
    let again = Site::at(&first).await.start(config(&addresses)).await;
    assert_eq!(again.node.group(), group);
    let all = ids(&[&again, &live[0], &live[1]]);
    again
        .until_voters("it votes, and the dead one does not", |sets, _| sets == [all.clone()])
        .await;
    again.until_voters("the dead one is forgotten", |_, nodes| *nodes == all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_forms_a_cluster_while_one_of_the_list_is_silent() {
    let ([a, b, c], addresses) = Site::several::<3>().await;
    drop(c.listener);
    let (a, b) =
        (a.open(config(&addresses)).await.unwrap(), b.open(config(&addresses)).await.unwrap());
    let (one, other) = (a.node.clone(), b.node.clone());
    let mut one = tokio::spawn(async move { one.start().await });
    let mut other = tokio::spawn(async move { other.start().await });
    // Many rounds of questions pass, without a cluster.
    let early = tokio::time::timeout(Duration::from_millis(700), async {
        tokio::select! { r = &mut one => r, r = &mut other => r }
    });
    assert!(early.await.is_err());
    assert_eq!((a.node.group(), b.node.group()), (0, 0));
    let c = Site::at(&addresses[2]).await.start(config(&addresses)).await;
    within(one).await.unwrap().unwrap();
    within(other).await.unwrap().unwrap();
    assert_eq!((a.node.group(), b.node.group()), (c.node.group(), c.node.group()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_overlap_in_one_member_only_make_one_cluster() {
    for _ in 0..5 {
        let ([a, b, c], addresses) = Site::several::<3>().await;
        let middle = addresses[2..].to_vec();
        let (a, b, c) = within(async {
            tokio::join!(
                a.start(config(&middle)),
                b.start(config(&middle)),
                c.start(config(&addresses[..2]))
            )
        })
        .await;
        assert_eq!((a.node.group(), b.node.group()), (c.node.group(), c.node.group()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_configuration_is_refused_with_every_difference() {
    let first = Site::new().await;
    let seeds = vec![first.address.clone()];
    let _first = first.start(config(&[])).await;
    let good = config(&seeds);
    let start = async |config: ControlConfig| {
        let node = Site::new().await.open(config).await.unwrap();
        within(node.node.start()).await
    };
    let other = ControlConfig { cluster: "other".to_owned(), ..good.clone() };
    let error = text(start(other).await);
    assert!(error.contains(&name()) && error.contains("'other'"), "{error}");
    let mut other = good.clone();
    (other.config.partitions, other.config.lease_ms) = (8, 2000);
    let error = text(start(other).await);
    let wanted = ["partitions: 7 here, 8 there", "lease in milliseconds: 400 here, 2000 there"];
    assert!(wanted.iter().all(|part| error.contains(part)), "{error}");
    let mut other = good.clone();
    other.config.sync_backups = 2;
    assert!(text(start(other).await).contains("sync backups: 1 here, 2 there"));
    // The seed of the hash is the cluster's.
    let mut other = good;
    other.config.hash_seed = 6;
    start(other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_belongs_to_one_process_and_one_cluster() {
    let dir = Scratch::new();
    let first = Site::new().await.start(durable(&[], &dir)).await;
    let error = text(Site::new().await.open(durable(&[], &dir)).await.map(|_| ()));
    assert!(error.contains("in use by another process"), "{error}");
    first.kill().await;
    let other = ControlConfig { cluster: "other".to_owned(), ..durable(&[], &dir) };
    let error = text(Site::new().await.open(other).await.map(|_| ()));
    assert!(error.contains(&format!("cluster '{}'", name())), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_on_with_what_its_directory_has() {
    let dir = Scratch::new();
    let first = Site::new().await.start(durable(&[], &dir)).await;
    let (node, member) = (first.node.node(), first.member());
    first.propose(topic("kept")).await.unwrap();
    let group = first.node.group();
    first.kill().await;
    let second = Site::new().await.start(durable(&[], &dir)).await;
    assert_eq!((second.node.node(), second.node.group()), (node, group));
    let state = second.node.state();
    assert!(state.read().structure_named("kept").is_some());
    // The process is another one: it has lost the data.
    assert!(second.member() > member);
    assert_eq!(state.read().boot(node), Some((2, second.member())));
    assert_eq!(state.read().members().len(), 1);
    second.kill().await;
    std::fs::remove_file(dir.path().join("raft.log")).unwrap();
    let third = Site::new().await.open(durable(&[], &dir)).await.unwrap();
    assert!(text(within(third.node.start()).await).contains("lost its control log"));
}
