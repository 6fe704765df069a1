//! The same handles, embedded and through a client, do the same.

use grid_core::handle::{Grid, Message};
use grid_tests::{client, member};
use std::collections::BTreeMap;
use std::time::Duration;

async fn maps(grid: &Grid, name: &str) {
    let map = grid.map::<String, u64>(name);
    assert_eq!(map.get("a").await.unwrap(), None);
    assert_eq!(map.put("a", &1).await.unwrap(), None);
    assert_eq!(map.put("a", &2).await.unwrap(), Some(1));
    assert_eq!(map.get("a").await.unwrap(), Some(2));
    assert!(map.contains("a").await.unwrap());
    assert_eq!(map.put_if_absent("a", &3).await.unwrap(), Some(2));
    assert_eq!(map.put_if_absent("b", &3).await.unwrap(), None);
    assert_eq!(map.replace("c", &3).await.unwrap(), None);
    assert_eq!(map.replace("b", &4).await.unwrap(), Some(3));
    assert!(!map.replace_if_same("b", &3, &5).await.unwrap());
    assert!(map.replace_if_same("b", &4, &5).await.unwrap());
    assert!(!map.remove_if_same("b", &4).await.unwrap());
    assert!(map.remove_if_same("b", &5).await.unwrap());
    assert_eq!(map.remove("b").await.unwrap(), None);
    let before = map.entry("a").await.unwrap().unwrap();
    map.set("a", &7).await.unwrap();
    let after = map.entry("a").await.unwrap().unwrap();
    assert!(after.version > before.version && after.value == 7 && after.expires_at.is_none());
    map.set("t", &1).ttl(Duration::from_secs(3600)).await.unwrap();
    assert!(map.entry("t").await.unwrap().unwrap().expires_at.is_some());
    assert!(map.set_ttl("t", Duration::ZERO).await.unwrap());
    assert!(map.entry("t").await.unwrap().unwrap().expires_at.is_none());
    map.delete("t").await.unwrap();
    let many: BTreeMap<String, u64> = (0..5000).map(|n| (format!("key {n}"), n)).collect();
    map.put_all(&many).await.unwrap();
    assert_eq!(map.size().await.unwrap(), 5001);
    let keys: Vec<String> = many.keys().rev().cloned().chain(["missing".into()]).collect();
    let values = map.get_all(&keys).await.unwrap();
    let expected: Vec<Option<u64>> = keys.iter().map(|key| many.get(key).copied()).collect();
    assert_eq!(values, expected);
    let entries: BTreeMap<String, u64> =
        map.entries().page_entries(7).all().await.unwrap().into_iter().collect();
    let mut all = many.clone();
    all.insert("a".into(), 7);
    assert_eq!(entries, all);
    assert_eq!(map.keys().all().await.unwrap().len(), 5001);
    map.clear().await.unwrap();
    assert!(map.is_empty().await.unwrap());
}

async fn queues(grid: &Grid, name: &str) {
    let queue = grid.queue::<String>(name);
    assert_eq!(queue.poll().await.unwrap(), None);
    for n in 0..100 {
        assert!(queue.offer(&format!("item {n}")).await.unwrap());
    }
    assert_eq!(queue.size().await.unwrap(), 100);
    assert_eq!(queue.peek().await.unwrap().as_deref(), Some("item 0"));
    for n in 0..100 {
        assert_eq!(queue.poll().await.unwrap(), Some(format!("item {n}")));
    }
    assert_eq!(queue.poll().await.unwrap(), None);
}

async fn topics(publisher: &Grid, subscriber: &Grid, name: &str) {
    let mut subscription = subscriber.topic::<u64>(name).subscribe().await.unwrap();
    let topic = publisher.topic::<u64>(name);
    for n in 0..100 {
        topic.publish(&n).await.unwrap();
    }
    let mut last = 0;
    for n in 0..100 {
        match subscription.next().await.unwrap() {
            Some(Message::Item { seq, value }) => {
                assert_eq!(value, n);
                assert!(seq > last);
                last = seq;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_embedded_member_and_a_client_do_the_same() {
    let member = member().await;
    let client = client(&member).await;
    maps(&member, "embedded").await;
    maps(&client, "remote").await;
    queues(&member, "queue 1").await;
    queues(&client, "queue 2").await;
    topics(&member, &client, "topic 1").await;
    topics(&client, &member, "topic 2").await;
    client.map::<u64, String>("shared").set(&1, "x").await.unwrap();
    assert_eq!(member.map::<u64, String>("shared").get(&1).await.unwrap().as_deref(), Some("x"));
    client.shutdown().await;
    member.shutdown().await;
}
