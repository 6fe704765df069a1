//! Whatever comes in, the member answers clearly, ends the offender if it must, and serves the others.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use grid_client::Client;
use grid_core::control::{QueueConfig, StructureConfig};
use grid_core::ids::{Index, PartitionId, RequestId, StructureId};
use grid_core::wire::hello::{self, Answer, Hello, PeerKind};
use grid_core::wire::request::{self, RequestHeader};
use grid_core::wire::{MAGIC, PROTOCOL_VERSION, reply, split_frame};
use grid_core::{Applied, Kind};
use grid_node::Member;
use grid_tests::{client, member};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn hello(cluster: &str) -> Vec<u8> {
    let hello = Hello {
        cluster: cluster.into(),
        kind: PeerKind::Client,
        name: "raw".into(),
        session: None,
        table: Index(u64::MAX),
    };
    let mut bytes = Vec::new();
    hello::encode(&hello, &mut bytes).unwrap();
    bytes
}

/// Sends bytes and reads until the member closes the connection or `enough` says so.
fn exchange(member: &Member, bytes: &[u8], enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(member.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The member may close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !enough(&answer) {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the member neither answered nor closed: {error}"),
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
        }
    }
    answer
}

fn refusal(answer: &[u8]) -> Kind {
    match hello::decode::<Answer>(answer).unwrap() {
        Some((Answer::Refused { kind, detail }, _)) => {
            assert!(!detail.is_empty());
            kind
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn garbage_other_versions_and_other_clusters_are_refused_with_a_reason() {
    let member = member().await;
    let never = |_: &[u8]| false;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"CP2", &[0; 64], &[0xff; 3]] {
        assert_eq!(refusal(&exchange(&member, garbage, never)), Kind::Malformed);
    }
    let mut other_version = hello("dev");
    other_version[4] = 77;
    assert_eq!(refusal(&exchange(&member, &other_version, never)), Kind::WrongVersion);
    assert_eq!(refusal(&exchange(&member, &hello("elsewhere"), never)), Kind::WrongCluster);
    let mut huge = MAGIC.to_vec();
    huge.extend_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    huge.extend_from_slice(&[0, 0]);
    huge.extend_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(refusal(&exchange(&member, &huge, never)), Kind::TooLarge);
    let error =
        Client::builder().address(member.address().to_string()).cluster("other").connect().await;
    assert_eq!(error.unwrap_err().kind(), Kind::WrongCluster);
    // They are told first and counted then.
    let counted = async {
        while member.status().totals.offenders != 8 {
            tokio::task::yield_now().await;
        }
    };
    let counted = tokio::time::timeout(Duration::from_secs(20), counted).await;
    assert!(counted.is_ok(), "{}", member.status());
    client(&member).await.map::<u64, u64>("m").set(&1, &1).await.unwrap();
}

/// The errors that a member answered to requests sent as these frames.
fn errors(member: &Member, frames: &[u8], count: usize) -> Vec<(Kind, Applied)> {
    let mut bytes = hello("dev");
    bytes.extend_from_slice(frames);
    let read = |answer: &[u8]| -> Vec<(Kind, Applied)> {
        let Ok(Some((Answer::Welcome(_), mut used))) = hello::decode::<Answer>(answer) else {
            return Vec::new();
        };
        let mut errors = Vec::new();
        while let Ok(Some((frame, len))) = split_frame(&answer[used..], 1 << 20) {
            used += len;
            let (header, body) = reply::decode(frame).unwrap();
            assert!(header.failed, "request {} succeeded", header.request);
            let error = reply::error(body);
            errors.push((error.kind(), error.applied()));
        }
        errors
    };
    read(&exchange(member, &bytes, |answer| read(answer).len() >= count))
}

fn frame(code: u8, partition: u16, structure: u32, body: &[u8]) -> Vec<u8> {
    let header = RequestHeader {
        code,
        partition: PartitionId(partition),
        structure: StructureId(structure),
        request: RequestId(1),
        floor: RequestId(1),
        attempt: 0,
        read: grid_core::Read::Linearizable,
        applied: Index(0),
    };
    let mut out = Vec::new();
    request::encode(&header, body, &mut out);
    out
}

#[tokio::test]
async fn requests_that_make_no_sense_are_answered_with_an_error_and_change_nothing() {
    let member = member().await;
    member.map::<u64, u64>("m").set(&1, &1).await.unwrap();
    member.queue::<u64>("q").offer(&1).await.unwrap();
    let no = |kind| vec![(kind, Applied::No)];
    assert_eq!(
        errors(&member, &frame(200, 0, 0, b""), 1),
        no(Kind::Malformed),
        "unknown operation"
    );
    assert_eq!(errors(&member, &frame(1, 0, 0, b"short"), 1), no(Kind::Malformed), "half a key");
    assert_eq!(errors(&member, &frame(15, 0, 0, b"x"), 1), no(Kind::Malformed), "surplus bytes");
    assert_eq!(errors(&member, &frame(15, 9999, 0, b""), 1), no(Kind::Malformed), "partition");
    assert_eq!(errors(&member, &frame(15, 0, 77, b""), 1), no(Kind::UnknownStructure));
    assert_eq!(
        errors(&member, &frame(33, 0, 0, b""), 1),
        no(Kind::WrongStructure),
        "poll of a map"
    );
    let mut key = 8u32.to_le_bytes().to_vec();
    key.extend_from_slice(&[0; 12]);
    let elsewhere: Vec<_> = (0..271u16)
        .filter(|p| {
            errors(&member, &frame(5, *p, 0, &[&key[..], &[0; 9]].concat()), 1)
                == no(Kind::Malformed)
        })
        .take(3)
        .collect();
    assert_eq!(elsewhere.len(), 3, "a key in a partition that is not its own");
}

#[tokio::test]
async fn a_broken_frame_ends_its_connection_and_no_other() {
    let member = member().await;
    let other = client(&member).await;
    let map = other.map::<u64, u64>("m");
    map.set(&1, &1).await.unwrap();
    for bad in [
        u32::MAX.to_le_bytes().to_vec(),
        vec![1, 0, 0, 0, 250],
        vec![2, 0, 0, 0, 1, 1],
        vec![1, 0, 0, 0, 3],
    ] {
        let mut bytes = hello("dev");
        bytes.extend_from_slice(&bad);
        let answer = exchange(&member, &bytes, |_| false);
        assert!(
            matches!(hello::decode::<Answer>(&answer), Ok(Some((Answer::Welcome(_), used))) if used == answer.len())
        );
    }
    assert_eq!(map.get(&1).await.unwrap(), Some(1));
}

#[tokio::test]
async fn limits_and_types_are_told_before_anything_is_applied() {
    let small =
        StructureConfig::Queue(QueueConfig { items_max: Some(2), ..QueueConfig::default() });
    let member = Member::builder()
        .structure("small", small)
        .set("memory.budget", "16MiB")
        .set("limits.frame-bytes-max", "256KiB")
        .start()
        .await
        .unwrap();
    let client = client(&member).await;
    for grid in [member.grid(), client.grid()] {
        let queue = grid.queue::<u64>("small");
        assert!(queue.offer(&1).await.unwrap() && queue.offer(&2).await.unwrap());
        assert!(!queue.offer(&3).await.unwrap(), "a full queue says no");
        queue.clear().await.unwrap();
        grid.map::<u64, u64>("m").set(&1, &1).await.unwrap();
        let wrong_kind = grid.queue::<u64>("m").poll().await.unwrap_err();
        assert_eq!(wrong_kind.kind(), Kind::WrongStructure, "{wrong_kind}");
        let wrong_type = grid.map::<u64, String>("m").get(&1).await.unwrap_err();
        assert_eq!(wrong_type.kind(), Kind::WrongType, "{wrong_type}");
        let bad_name = grid.map::<u64, u64>("").get(&1).await.unwrap_err();
        assert_eq!(bad_name.kind(), Kind::Invalid, "{bad_name}");
        let long = "k".repeat(70 << 10);
        let too_large = grid.map::<String, u64>("n").set(&long, &1).await.unwrap_err();
        assert_eq!((too_large.kind(), too_large.applied()), (Kind::TooLarge, Applied::No));
    }
    let too_large = client.map::<u64, Vec<u8>>("v").set(&1, &vec![0; 300 << 10]).await.unwrap_err();
    assert_eq!(
        (too_large.kind(), too_large.applied()),
        (Kind::TooLarge, Applied::No),
        "{too_large}"
    );
    assert!(too_large.to_string().contains("limits.frame-bytes-max"), "{too_large}");

    let full = client.map::<u64, Vec<u8>>("full");
    let value = vec![7; 100 << 10];
    let mut written = 0;
    let refused = loop {
        match full.set(&written, &value).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((refused.kind(), refused.applied()), (Kind::OutOfMemory, Applied::No), "{refused}");
    assert!(refused.to_string().contains("memory.budget"), "{refused}");
    assert!((80..=170).contains(&written), "{written} values of 100 KiB in 16 MiB");
    assert_eq!(full.size().await.unwrap(), written);
    full.delete(&0).await.unwrap();
    full.set(&1, &value).await.unwrap();
    full.set(&written, &value).await.unwrap();
    full.clear().await.unwrap();
    full.set(&0, &value).await.unwrap();
}

#[tokio::test]
async fn impossible_settings_and_a_busy_port_are_refused() {
    let member = member().await;
    let busy = Member::builder().bind(member.address()).start().await.unwrap_err();
    assert_eq!(busy.kind(), Kind::Io);
    assert!(busy.to_string().contains("in use"), "{busy}");
    let wrong =
        Member::builder().set("cluster.partitions", 0).set("memry.budget", "1GiB").start().await;
    let text = wrong.unwrap_err().to_string();
    assert!(text.contains("cluster.partitions") && text.contains("memory.budget"), "{text}");
    let nobody =
        Client::builder().address("127.0.0.1:1").connect_timeout(Duration::from_millis(200));
    assert_eq!(nobody.connect().await.unwrap_err().kind(), Kind::Timeout);
    let bad = Client::builder().address("nonsense").connect().await.unwrap_err();
    assert_eq!(bad.kind(), Kind::Invalid);
}

#[tokio::test]
async fn a_slow_subscriber_is_told_what_it_missed_and_holds_nobody_up() {
    let member =
        Member::builder().set("limits.subscriber-bytes-max", "64KiB").start().await.unwrap();
    let client = client(&member).await;
    let topic = member.topic::<Vec<u8>>("t");
    let mut near = member.topic::<Vec<u8>>("t").subscribe_with(10).await.unwrap();
    let mut far = client.topic::<Vec<u8>>("t").subscribe_with(10).await.unwrap();
    const ITEMS: u64 = 3000;
    for n in 0..ITEMS {
        topic.publish(&vec![n as u8; 1000]).await.unwrap();
    }
    topic.publish(&b"end".to_vec()).await.unwrap();
    use grid_core::handle::Message;
    for subscription in [&mut near, &mut far] {
        let (mut items, mut missed) = (0, 0);
        while items + missed <= ITEMS {
            match subscription.next().await.unwrap().unwrap() {
                Message::Item { .. } => items += 1,
                Message::Gap { missed: n } => missed += n.expect("nothing was cut"),
            }
        }
        assert_eq!(items + missed, ITEMS + 1);
        assert!(missed > 0);
    }
}
