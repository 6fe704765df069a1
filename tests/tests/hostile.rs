//! Peers that do not read, do not speak, ask for too much or go away at the worst moment: the member stays
//! small and serves the others, and nobody waits for ever.

use grid_client::Client;
use grid_core::handle::Message;
use grid_core::ids::PartitionId;
use grid_core::{Applied, Kind};
use grid_node::Member;
use grid_node::test_backup::Acks;
use grid_tests::proxy::Proxy;
use grid_tests::raw::Raw;
use grid_tests::{client, member, member_with_backup};
use std::future::IntoFuture;
use std::time::{Duration, Instant};

#[tokio::test]
async fn all_values_of_many_keys_come_however_large_they_are() {
    let member = member().await;
    let client = client(&member).await;
    for grid in [member.grid(), client.grid()] {
        // More in one partition than a frame can hold.
        let map = grid.map::<String, Vec<u8>>("large@x");
        let keys: Vec<String> = (0..3000).map(|n| format!("k{n}")).collect();
        let in_one: Vec<&String> = keys
            .iter()
            .filter(|key| grid_core::partitioning::partition_of_name(key, 271) == PartitionId(7))
            .collect();
        assert!(in_one.len() > 5, "{}", in_one.len());
        for (n, key) in in_one.iter().enumerate() {
            map.set(key.as_str(), &vec![n as u8; 14 << 20][..]).await.unwrap();
        }
        let values = map.get_all(in_one.iter().copied()).await.unwrap();
        assert_eq!(values.len(), in_one.len());
        for (n, value) in values.iter().enumerate() {
            let value = value.as_ref().unwrap();
            assert!(value.len() == 14 << 20 && value[0] == n as u8, "value {n}");
        }
        map.clear().await.unwrap();
    }
}

#[tokio::test]
async fn reads_that_wait_for_a_backup_are_refused_before_they_fill_the_memory() {
    let (member, backup) = member_with_backup(Acks::Held).await;
    let map = member.map::<u64, Vec<u8>>("m");
    assert_eq!(map.size().await.unwrap(), 0, "the name is known from now on");
    let write = map.set(&1, &vec![7; 1 << 20]).into_future();
    let mut waiting = Vec::new();
    let refused = loop {
        let read = map.get(&1).into_future();
        if read.is_ready() {
            break read.await.unwrap_err();
        }
        waiting.push(read);
        assert!(waiting.len() < 100, "answers that wait have a bound");
    };
    assert_eq!((refused.kind(), refused.applied()), (Kind::Overloaded, Applied::No));
    backup.set(Acks::AtOnce);
    backup.release();
    write.await.unwrap();
    for read in waiting {
        assert_eq!(read.await.unwrap().unwrap().len(), 1 << 20);
    }
    assert!(map.get(&1).await.unwrap().is_some());
}

#[tokio::test]
async fn a_shutdown_ends_idle_connections_at_once_and_waits_for_parked_replies() {
    let (member, backup) = member_with_backup(Acks::AtOnce).await;
    let (idle, busy) = (client(&member).await, client(&member).await);
    let map = idle.map::<u64, u64>("m");
    map.set(&1, &1).await.unwrap();
    backup.set(Acks::Held);
    let write = tokio::spawn(busy.map::<u64, u64>("m").set(&1, &2).into_future());
    let held = std::sync::Arc::clone(&backup);
    tokio::task::spawn_blocking(move || held.wait_for_held(1)).await.unwrap();
    let down = tokio::spawn(member.shutdown());
    // The idle one is told by the end of its connection, long before the shutdown gives up.
    let error = loop {
        let short = Duration::from_millis(50);
        match map.get(&7).timeout(short).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("no connection"), "{error}");
    assert!(!down.is_finished() && !write.is_finished());
    backup.release();
    write.await.unwrap().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), down).await;
    ended.expect("the shutdown does not wait for idle connections").unwrap();
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_ends_and_one_that_only_listens_does_not() {
    let member = Member::builder().set("limits.session-timeout", "1s").start().await.unwrap();
    let client = client(&member).await;
    let topic = member.topic::<u64>("t");
    let mut subscription = client.topic::<u64>("t").subscribe().await.unwrap();
    let mut silent = Raw::connect(&member);
    let published = tokio::spawn(async move {
        loop {
            if topic.publish(&1).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let ended = tokio::task::spawn_blocking(move || silent.frame());
    let ended = async { ended.await.unwrap() };
    tokio::pin!(ended);
    loop {
        tokio::select! {
            end = &mut ended => {
                assert_eq!(end, None, "the member ends what is silent");
                break;
            }
            message = subscription.next() => {
                let message = message.unwrap().unwrap();
                assert!(matches!(message, Message::Item { .. }), "the listener was cut: {message:?}");
            }
        }
    }
    published.abort();
}

#[tokio::test]
async fn a_client_can_be_dropped_whatever_its_connection_is_doing() {
    // A member that accepts and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let member = member().await;
    let proxy = Proxy::start(member.address(), 0).await;
    let client = Client::builder()
        .address(proxy.address().to_string())
        .address(listener.local_addr().unwrap().to_string())
        .backoff(Duration::from_millis(1), Duration::from_millis(2))
        .connect_timeout(Duration::from_secs(600))
        .connect()
        .await
        .unwrap();
    let map = client.map::<u64, u64>("m");
    map.set(&1, &1).await.unwrap();
    proxy.refuse();
    let write = map.set(&1, &2).into_future();
    // The client comes to the one that says nothing.
    let (_held, _) = tokio::task::spawn_blocking(move || listener.accept()).await.unwrap().unwrap();
    let began = Instant::now();
    tokio::task::spawn_blocking(move || drop(client)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(300), "not as long as a connection may take");
    let error = write.await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (Kind::Closed, Applied::Maybe));
}

#[tokio::test]
async fn what_was_not_applied_is_not_applied_later() {
    // A member whose host takes bytes but that does not read them for a while.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let member = member().await;
    let address = listener.local_addr().unwrap();
    let to = member.address();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let relay = std::thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let mut far = std::net::TcpStream::connect(to).unwrap();
        let (mut back_from, mut back_to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        std::thread::spawn(move || drop(std::io::copy(&mut back_from, &mut back_to)));
        // The handshake and the declaration pass.
        let mut chunk = vec![0; 64 << 10];
        for _ in 0..3 {
            let n = std::io::Read::read(&mut near, &mut chunk).unwrap();
            std::io::Write::write_all(&mut far, &chunk[..n]).unwrap();
        }
        gone.recv().unwrap();
        drop(std::io::copy(&mut near, &mut far));
    });
    let client = Client::builder().address(address.to_string()).connect().await.unwrap();
    let map = client.map::<u64, Vec<u8>>("m");
    map.set(&0, &vec![]).await.unwrap();
    let stuck: Vec<_> = (1..=3)
        .map(|n| {
            map.set(&n, &vec![1u8; 20 << 20]).timeout(Duration::from_millis(300)).into_future()
        })
        .collect();
    let mut outcomes = Vec::new();
    for write in stuck {
        outcomes.push(write.await.unwrap_err().applied());
    }
    let refused = map.set(&4, &vec![1]).timeout(Duration::from_millis(100)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.applied()), (Kind::Timeout, Applied::No));
    go.send(()).unwrap();
    map.set(&5, &vec![]).await.unwrap();
    assert_eq!(map.get(&4).await.unwrap(), None, "it was said not to have been applied");
    for (n, applied) in (1..).zip(outcomes) {
        let there = map.contains(&n).await.unwrap();
        assert!(!there || applied == Applied::Maybe, "write {n}");
    }
    drop(client);
    relay.join().unwrap();
}

#[tokio::test]
async fn subscriptions_outlive_their_session_and_end_with_whoever_asked() {
    let member = member().await;
    let client = client(&member).await;
    let topic = member.topic::<u64>("t");
    let mut subscription = client.topic::<u64>("t").subscribe().await.unwrap();
    member.end_all_sessions().await.unwrap();
    // Told that something may be missing, it goes on.
    assert_eq!(subscription.next().await.unwrap(), Some(Message::Gap { missed: None }));
    for n in 0.. {
        topic.publish(&n).await.unwrap();
        let short = Duration::from_millis(20);
        match tokio::time::timeout(short, subscription.next()).await {
            Ok(message) => {
                assert!(matches!(message.unwrap(), Some(Message::Item { .. })));
                break;
            }
            Err(_) => assert!(n < 500, "the subscription was not renewed"),
        }
    }
    drop(subscription);
    // A subscriber that gives up before it has its answer leaves nothing behind.
    let cancelled = client.topic::<u64>("t");
    for _ in 0..10 {
        let mut subscribe = Box::pin(cancelled.subscribe());
        let waker = std::task::Waker::noop();
        let _ = subscribe.as_mut().poll(&mut std::task::Context::from_waker(waker));
    }
    client.map::<u64, u64>("m").set(&1, &1).await.unwrap();
    for tries in 0.. {
        if member.status().clients.subscriptions == 0 {
            break;
        }
        client.map::<u64, u64>("m").get(&1).await.unwrap();
        assert!(tries < 10_000, "{} are left", member.status().clients.subscriptions);
    }
}

#[tokio::test]
async fn values_of_any_size_pass_and_small_frames_behind_them() {
    let member = member().await;
    let client = client(&member).await;
    let (large, small) = (client.map::<u64, Vec<u8>>("large"), client.map::<u64, u64>("small"));
    let value: Vec<u8> = (0..20 << 20).map(|n: u32| n.wrapping_mul(2_654_435_761) as u8).collect();
    let write = large.set(&1, &value).into_future();
    let others: Vec<_> = (0..5000).map(|n| small.set(&n, &n).into_future()).collect();
    write.await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    assert!(large.get(&1).await.unwrap().unwrap() == value);
    assert_eq!(small.size().await.unwrap(), 5000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_through_cuts_lose_and_double_nothing() {
    const THREADS: u64 = 8;
    const EACH: u64 = 1000;
    let (member, backup) = member_with_backup(Acks::AtOnce).await;
    let proxy = Proxy::start(member.address(), 40).await;
    let client = Client::builder()
        .address(proxy.address().to_string())
        .backoff(Duration::from_millis(1), Duration::from_millis(3))
        .operation_timeout(Duration::from_secs(60))
        .connect()
        .await
        .unwrap();
    let queue = client.queue::<u64>("q");
    // Operations that are started before their name is known have no order among each other.
    assert_eq!(queue.size().await.unwrap(), 0);
    let work: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (queue, map) = (queue.clone(), client.map::<u64, u64>("m"));
            tokio::spawn(async move {
                for n in 0..EACH / 10 {
                    let some = (0..10).map(|i| thread * EACH + n * 10 + i);
                    let offers: Vec<_> =
                        some.clone().map(|id| queue.offer(&id).into_future()).collect();
                    let writes: Vec<_> = some.map(|id| map.put(&id, &id).into_future()).collect();
                    for offer in offers {
                        assert!(offer.await.unwrap());
                    }
                    for write in writes {
                        assert_eq!(write.await.unwrap(), None, "an answer of another request");
                    }
                }
            })
        })
        .collect();
    for work in work {
        work.await.unwrap();
    }
    let near = member.queue::<u64>("q");
    let mut seen = Vec::new();
    while let Some(id) = near.poll().await.unwrap() {
        seen.push(id);
    }
    for thread in 0..THREADS {
        let mine: Vec<u64> = seen.iter().copied().filter(|id| id / EACH == thread).collect();
        assert_eq!(mine, (thread * EACH..(thread + 1) * EACH).collect::<Vec<_>>());
    }
    assert_eq!(client.map::<u64, u64>("m").size().await.unwrap(), THREADS * EACH);
    assert!(proxy.cuts() > 5, "only {} cuts", proxy.cuts());
    assert_eq!(backup.differences().0, []);
    assert_eq!(client.outstanding(), 0);
}
