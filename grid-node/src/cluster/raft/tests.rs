//! Tests of the stores: openraft's own suite on both, and the file cut and damaged everywhere.

use super::file::{LogFile, MAGIC, frame, replay};
use super::image::{Image, Record};
use super::machine::{Applying, Machine};
use super::store::LogStore;
use super::{Entry, LogId, Types, Vote, file};
use crate::cluster::tests::Scratch;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::vote::RaftLeaderIdExt;
use openraft::{EntryPayload, StorageError};
use parking_lot::Mutex;
use std::fs::File;
use std::sync::Arc;
use tokio::sync::watch;

struct InMemory;
struct OnDisk;

fn machine(dir: Option<std::path::PathBuf>) -> Machine {
    let applying = Applying { state: Default::default(), applied: Default::default() };
    Machine::open(applying, Arc::new(Mutex::new(Box::new(|_| {}))), dir).unwrap()
}

impl StoreBuilder<Types, LogStore, Machine> for InMemory {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<Types>> {
        Ok(((), LogStore::in_memory(), machine(None)))
    }
}

impl StoreBuilder<Types, LogStore, Machine, Scratch> for OnDisk {
    async fn build(&self) -> Result<(Scratch, LogStore, Machine), StorageError<Types>> {
        let dir = Scratch::new();
        let store = LogStore::open(dir.path(), watch::Sender::new(None), ()).unwrap();
        let machine = machine(Some(dir.path().to_owned()));
        Ok((dir, store, machine))
    }
}

#[tokio::test]
async fn the_store_in_memory_is_what_openraft_expects() {
    Suite::test_all(InMemory).await.unwrap();
}

#[tokio::test]
async fn the_store_on_the_disk_is_what_openraft_expects() {
    Suite::test_all(OnDisk).await.unwrap();
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::type_config::alias::LeaderIdOf::<Types>::new_committed(term, 1), index)
}

fn entry(term: u64, index: u64) -> Entry {
    let payload = if index.is_multiple_of(3) {
        EntryPayload::Blank
    } else {
        let name = format!("structure-{index}");
        let config = grid_core::control::StructureConfig::Topic;
        EntryPayload::Normal(super::Proposal(grid_core::control::Command::Declare { name, config }))
    };
    Entry { log_id: log_id(term, index), payload }
}

/// A stream in which everything occurs, a frame each, with what each frame leads to.
fn history() -> (Vec<u8>, Vec<(usize, Image)>) {
    let steps = vec![
        vec![Record::Vote(Vote::new(1, 1))],
        vec![Record::Entry(entry(1, 0)), Record::Entry(entry(1, 1)), Record::Entry(entry(1, 2))],
        vec![Record::Committed(Some(log_id(1, 1)))],
        vec![Record::Vote(Vote::new_committed(2, 1)), Record::Truncate(Some(log_id(1, 1)))],
        vec![Record::Entry(entry(2, 2)), Record::Entry(entry(2, 3)), Record::Entry(entry(2, 4))],
        vec![Record::Committed(Some(log_id(2, 4))), Record::Purge(log_id(1, 1))],
        vec![Record::Entry(entry(2, 5))],
    ];
    let (mut bytes, mut image) = (MAGIC.to_vec(), Image::default());
    let mut points = vec![(bytes.len(), image.clone())];
    for step in steps {
        let mut content = Vec::new();
        for record in step {
            file::encode(&record, &mut content).unwrap();
            image.apply(record).unwrap();
        }
        frame(&content, &mut bytes).unwrap();
        points.push((bytes.len(), image.clone()));
    }
    (bytes, points)
}

#[test]
fn a_file_cut_at_any_byte_keeps_every_frame_that_was_whole() {
    let (bytes, points) = history();
    let dir = Scratch::new();
    for cut in 0..=bytes.len() {
        std::fs::write(dir.path().join("raft.log"), &bytes[..cut]).unwrap();
        let (mut log, image) = LogFile::open(dir.path()).unwrap();
        let (end, wanted) = points.iter().rev().find(|(end, _)| *end <= cut).unwrap_or(&points[0]);
        assert_eq!(image, *wanted, "cut at {cut}");
        // What follows is found too: nothing of the torn frame is left.
        let mut content = Vec::new();
        file::encode(&Record::<Entry>::Vote(Vote::new(9, 9)), &mut content).unwrap();
        let mut frames = Vec::new();
        frame(&content, &mut frames).unwrap();
        log.append(&frames).unwrap();
        drop(log);
        let after = std::fs::read(dir.path().join("raft.log")).unwrap();
        assert_eq!(after.len(), end.max(&MAGIC.len()) + frames.len());
        assert_eq!(replay(&after).unwrap().0.vote, Some(Vote::new(9, 9)));
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_costs_at_most_the_last_frame() {
    let (bytes, points) = history();
    let last = points[points.len() - 2].0;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            match replay(&damaged) {
                Err(_) => assert!(at < last, "byte {at} of the last frame looks torn"),
                Ok((image, good)) => {
                    assert!(at >= last, "the damage of byte {at} went unnoticed");
                    assert_eq!((good, &image), (last, &points[points.len() - 2].1));
                }
            }
        }
    }
}

#[test]
fn damage_in_the_middle_says_what_to_do() {
    let (mut bytes, points) = history();
    bytes[points[2].0 + 9] ^= 1;
    let dir = Scratch::new();
    std::fs::write(dir.path().join("raft.log"), bytes).unwrap();
    let error = LogFile::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("Move the whole data directory away"), "{error}");
}

async fn append(store: &mut LogStore, entries: Vec<Entry>) -> std::io::Result<()> {
    let (done, flushed) = Types::oneshot();
    store.append(entries, IOFlushed::signal(done)).await?;
    flushed.await.map_err(std::io::Error::other)?
}

#[tokio::test]
async fn the_file_stays_small_and_what_is_left_of_it_is_found_again() {
    let dir = Scratch::new();
    let open = || LogStore::open(dir.path(), watch::Sender::new(None), ()).unwrap();
    let mut store = open();
    store.save_vote(&Vote::new(3, 1)).await.unwrap();
    for round in 0..100u64 {
        let entries = (round * 200..(round + 1) * 200).map(|index| entry(3, index)).collect();
        append(&mut store, entries).await.unwrap();
        store.purge(log_id(3, round * 200 + 150)).await.unwrap();
    }
    store.save_vote(&Vote::new(4, 1)).await.unwrap();
    let bytes = std::fs::metadata(dir.path().join("raft.log")).unwrap().len();
    assert!(bytes < 400 << 10, "{bytes} bytes");
    let entries = store.try_get_log_entries(..).await.unwrap();
    assert_eq!(entries.len(), 49);
    let state = store.get_log_state().await.unwrap();
    let mut again = open();
    assert_eq!(again.try_get_log_entries(..).await.unwrap(), entries);
    assert_eq!(again.get_log_state().await.unwrap(), state);
    assert_eq!(again.read_vote().await.unwrap(), Some(Vote::new(4, 1)));
    assert_eq!(entries[0].index(), 99 * 200 + 151);
}

#[tokio::test]
async fn a_full_disk_stops_the_log_loudly() {
    let dir = Scratch::new();
    let failure = watch::Sender::new(None);
    let mut failed = failure.subscribe();
    let open = || {
        let full = File::options().append(true).open("/dev/full").unwrap();
        let log = LogFile::onto(full, dir.path());
        LogStore::onto(log, Image::default(), failure.clone(), ())
    };
    assert!(open().save_vote(&Vote::new(1, 1)).await.is_err());
    let mut store = open();
    let error = append(&mut store, vec![entry(1, 0)]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    failed.wait_for(Option::is_some).await.unwrap();
    assert!(store.save_vote(&Vote::new(1, 1)).await.is_err());
}
