//! What peers do cannot make a member grow: these tests look at the memory of the process, so they run one
//! after the other in a binary of their own.

use grid_core::op::OpCode;
use grid_core::partitioning::partition_of_name;
use grid_core::wire::control::Control;
use grid_core::wire::reply;
use grid_node::Member;
use grid_tests::raw::{Raw, key, request, resident_bytes};
use grid_tests::{client, member};
use tokio::sync::Mutex;

static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn a_subscriber_that_never_reads_takes_a_bounded_amount_of_memory() {
    let _alone = ALONE.lock().await;
    let member =
        Member::builder().set("limits.subscriber-bytes-max", "64KiB").start().await.unwrap();
    let topic = member.topic::<Vec<u8>>("t");
    topic.publish(&vec![]).await.unwrap();
    let structure = grid_core::ids::StructureId(0);
    let partition = partition_of_name("t", 271);
    let mut silent = Raw::connect(&member);
    silent.control(&Control::Subscribe { structure, partition, subscription: 1 });
    let item = vec![1u8; 100 << 10];
    let before = resident_bytes();
    // 400 MB, in pieces, so that the connection's task gets to run in between.
    for _ in 0..4000 {
        topic.publish(&item).await.unwrap();
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "{} MiB for one subscriber", grown >> 20);
    // Once it reads, it gets what fits and is told what it has missed.
    let (mut items, mut missed) = (0, 0);
    while items + missed < 4000 {
        let frame = silent.frame().expect("the connection is alive");
        match grid_core::wire::event::decode(&frame).unwrap() {
            (1, grid_core::wire::event::Event::Item { .. }) => items += 1,
            (1, grid_core::wire::event::Event::Gap { missed: n }) => missed += n,
            other => panic!("{other:?}"),
        }
    }
    assert!(missed > 0 && items > 0, "{items} items, {missed} missed");
}

#[tokio::test]
async fn small_requests_for_large_values_take_a_bounded_amount_of_memory() {
    let _alone = ALONE.lock().await;
    let member = member().await;
    member.map::<u64, Vec<u8>>("m").set(&1, &vec![7; 4 << 20]).await.unwrap();
    let (body, partition) = key(1);
    let mut greedy = Raw::connect(&member);
    let before = resident_bytes();
    // 4 GB of answers in one packet of requests.
    let requests: Vec<u8> =
        (1..=1000).flat_map(|id| request(id, OpCode::MapGet as u8, partition, 0, &body)).collect();
    greedy.send(&requests);
    let mut most = 0;
    for id in 1..=20 {
        let frame = greedy.frame().unwrap();
        let (header, answer) = reply::decode(&frame).unwrap();
        assert_eq!((header.request.0, header.failed, answer.len() > 4 << 20), (id, false, true));
        most = most.max(resident_bytes().saturating_sub(before));
    }
    assert!(most < 200 << 20, "{} MiB for one connection", most >> 20);
    client(&member).await.map::<u64, Vec<u8>>("m").set(&2, &vec![]).await.unwrap();
}

#[tokio::test]
async fn idle_connections_hold_no_buffers() {
    let _alone = ALONE.lock().await;
    let member = member().await;
    let first = Raw::connect(&member);
    let before = resident_bytes();
    let idle: Vec<Raw> = (0..400).map(|_| Raw::connect(&member)).collect();
    let each = resident_bytes().saturating_sub(before) / idle.len();
    assert!(each < 16 << 10, "{each} bytes for each connection, both ends");
    drop(first);
}
