//! Tests of the whole store, against a model that is a sorted map.

use super::arena::Chunk;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

impl Store {
    /// Asserts everything that must hold between two calls.
    fn check(&self) {
        let hash_of = |at| self.hash_at(at);
        self.index.check(hash_of);
        assert_eq!(self.arena.check(), self.index.entries(), "records and index entries");
        let (mut tombstones, mut met, mut large) = (0, 0, 0);
        let _ = self.walk(0, |hash, entry| {
            met += 1;
            assert_eq!(hash, (self.hasher)(entry.key().payload, self.seed));
            assert!(matches!(self.arena.chunk(entry.at), Chunk::Record(_)));
            tombstones += usize::from(entry.is_tombstone());
            large += usize::from(entry.value().payload.len() > 4096);
            ControlFlow::Continue(())
        });
        assert_eq!((tombstones, met), (self.tombstones, self.index.entries()));
        assert_eq!(self.large.taken(), large, "slots taken and records with one");
    }
}

const SEED: u64 = 0x5eed;

fn pool_of(bytes: u64) -> Arc<Pool> {
    let config = PoolConfig { reserve_bytes: bytes, ..PoolConfig::default() };
    Pool::new(&config, Arc::new(Ledger::new(u64::MAX))).unwrap()
}

fn blob(payload: &[u8]) -> Blob<'_> {
    Blob { tag: TypeTag(-11), payload }
}

fn put(store: &mut Store, key: &[u8], value: &[u8], seq: u64) -> PutOutcome {
    let hash = (store.hasher)(key, store.seed);
    store.put(hash, blob(key), blob(value), &Meta::new(seq)).unwrap()
}

impl PutOutcome {
    fn is_new(self) -> bool {
        self == PutOutcome::Inserted
    }
}

/// The hashers of the model test: the real one, few hashes, one hash.
const HASHERS: [fn(&[u8], u64) -> u64; 4] = [
    hash64,
    |key, seed| hash64(key, seed) % 7 * (u64::MAX / 6),
    |_, _| u64::MAX,
    |key, seed| hash64(key, seed) >> 58,
];

/// What the model knows of an entry; no value is a tombstone.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    value: Option<(TypeTag, Vec<u8>)>,
    meta: Meta,
}

type Key = (u64, Vec<u8>, TypeTag);

fn known(entry: &Entry<'_>) -> Known {
    let value =
        (!entry.is_tombstone()).then(|| (entry.value().tag, entry.value().payload.to_vec()));
    Known { value, meta: entry.meta() }
}

#[derive(Debug, Clone)]
enum Op {
    Put { key: u16, ext: bool, tags: (bool, bool), value: u16, fill: u8, options: u8 },
    Bury(u16),
    Remove(u16),
    Purge(u16),
    Touch(u16),
    Expire(u16, u8),
    Walk(u8),
    Fill(u16),
    Drain(u16),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || prop_oneof![0u16..400, 0u16..20];
    let value = prop_oneof![6 => 0u16..200, 3 => 0u16..1500, 1 => 4000u16..9000];
    let tags = prop_oneof![8 => Just((false, false)), 1 => any::<(bool, bool)>()];
    let put = (key(), prop::bool::weighted(0.05), tags, value, any::<u8>(), 0u8..16).prop_map(
        |(key, ext, tags, value, fill, options)| Op::Put { key, ext, tags, value, fill, options },
    );
    prop_oneof![
        60 => put,
        8 => key().prop_map(Op::Bury),
        20 => key().prop_map(Op::Remove),
        8 => key().prop_map(Op::Purge),
        3 => key().prop_map(Op::Touch),
        4 => (key(), 0u8..8).prop_map(|(key, options)| Op::Expire(key, options)),
        12 => any::<u8>().prop_map(Op::Walk),
        1 => (20u16..300).prop_map(Op::Fill),
        1 => (50u16..400).prop_map(Op::Drain),
        1 => Just(Op::Clear),
    ]
}

/// The store, its model, and a walk that goes on between the operations.
struct Harness {
    store: Store,
    model: BTreeMap<Key, Known>,
    seq: u64,
    at: u64,
    /// Keys that the present walk has met, and those it must meet.
    met: Vec<Key>,
    due: Vec<Key>,
}

impl Harness {
    fn new(pool: &Arc<Pool>, hasher: fn(&[u8], u64) -> u64) -> Self {
        let store = Store::with_hasher(pool, SEED, hasher);
        Self { store, model: BTreeMap::new(), seq: 0, at: 0, met: vec![], due: vec![] }
    }

    fn key(&self, n: u16, ext: bool, tag: bool) -> Key {
        let mut payload = format!("key {n}").into_bytes();
        if ext {
            payload.resize(250 + usize::from(n % 20), 7);
        }
        ((self.store.hasher)(&payload, SEED), payload, TypeTag(if tag { 5 } else { -11 }))
    }

    fn stored(&self, n: u16) -> Key {
        let plain = self.key(n, false, false);
        let other = self.key(n, n.is_multiple_of(2), n.is_multiple_of(3));
        if self.model.contains_key(&other) { other } else { plain }
    }

    fn meta(&self, options: u8) -> Meta {
        let on = |bit: u8| options & bit != 0;
        Meta {
            seq: self.seq,
            expires_at: on(1).then_some(self.seq + 1000),
            idle: on(2).then_some(Idle { max_ms: 77, last_ms: self.seq }),
            affinity: on(4).then_some(9),
        }
    }

    fn put(&mut self, key: Key, value: (TypeTag, Vec<u8>), meta: Meta) {
        let (k, v) =
            (Blob { tag: key.2, payload: &key.1 }, Blob { tag: value.0, payload: &value.1 });
        let held = |store: &Store| store.arena.bytes() + store.large.bytes();
        let (before, cleaning) = (held(&self.store), self.store.arena.credit > 0);
        let growth = self.store.growth_for(key.0, k, v, &meta);
        let index = self.store.index.growth_for_one();
        let outcome = self.store.put(key.0, k, v, &meta).unwrap();
        let expected = match self.model.get(&key) {
            None => PutOutcome::Inserted,
            Some(Known { value: None, .. }) => PutOutcome::Revived,
            Some(_) => PutOutcome::Replaced,
        };
        assert_eq!(outcome, expected);
        // What the cleaner takes for a while is not part of it.
        if outcome == PutOutcome::Inserted && !cleaning {
            assert_eq!(held(&self.store) - before, (growth - index) as u64);
        }
        self.model.insert(key, Known { value: Some(value), meta });
    }

    fn bury(&mut self, key: &Key) {
        let blob = Blob { tag: key.2, payload: &key.1 };
        let known = self.model.get_mut(key);
        assert_eq!(self.store.bury(key.0, blob, self.seq), known.is_some());
        if let Some(known) = known {
            known.value = None;
            known.meta = Meta::new(self.seq);
        }
    }

    fn remove(&mut self, key: &Key) {
        let blob = Blob { tag: key.2, payload: &key.1 };
        assert_eq!(self.store.remove(key.0, blob), self.model.remove(key).is_some());
        self.due.retain(|due| due != key);
    }

    fn purge(&mut self, key: &Key) {
        let Some(known) = self.model.get(key).cloned() else { return };
        assert!(!self.store.purge_tombstone(key.0, self.seq));
        let purged = self.store.purge_tombstone(key.0, known.meta.seq);
        assert_eq!(purged, known.value.is_none());
        if purged {
            self.model.remove(key);
            self.due.retain(|due| due != key);
        }
    }

    fn touch(&mut self, key: &Key) {
        let blob = Blob { tag: key.2, payload: &key.1 };
        let idle = self.model.get_mut(key).and_then(|known| known.meta.idle.as_mut());
        assert_eq!(self.store.touch(key.0, blob, 4711), idle.is_some());
        if let Some(idle) = idle {
            idle.last_ms = 4711;
        }
    }

    fn expire(&mut self, key: &Key, options: u8) {
        let blob = Blob { tag: key.2, payload: &key.1 };
        let Meta { seq, expires_at, idle, .. } = self.meta(options);
        let known = self.model.get_mut(key).filter(|known| known.value.is_some());
        let done = self.store.set_expiry(key.0, blob, seq, expires_at, idle).unwrap();
        assert_eq!(done, known.is_some());
        if let Some(known) = known {
            known.meta = Meta { seq, expires_at, idle, affinity: known.meta.affinity };
        }
    }

    /// Goes on with the walk by some entries; at its end, checks that it met what it had to.
    fn walk(&mut self, steps: u8) {
        if self.at == 0 {
            self.met.clear();
            self.due = self.model.keys().cloned().collect();
        }
        let mut page: Vec<(Key, Known)> = Vec::new();
        let next = self.store.walk(self.at, |hash, entry| {
            let group = page.first().is_none_or(|(first, _)| first.0 == hash);
            if page.len() >= usize::from(steps) && !group {
                return ControlFlow::Break(());
            }
            let key = (hash, entry.key().payload.to_vec(), entry.key().tag);
            page.push((key, known(&entry)));
            ControlFlow::Continue(())
        });
        if let Some(next) = next {
            page.retain(|(key, _)| key.0 < next);
        }
        for (key, known) in page {
            assert_eq!(self.model.get(&key), Some(&known));
            assert!(self.met.last().is_none_or(|last| *last < key), "out of order, or twice");
            self.met.push(key);
        }
        self.at = next.unwrap_or(0);
        if next.is_none() {
            for due in &self.due {
                assert!(self.met.binary_search(due).is_ok(), "the walk missed {due:?}");
            }
        }
    }

    fn step(&mut self, op: &Op) {
        self.seq += 1;
        match *op {
            Op::Put { key, ext, tags, value, fill, options } => {
                let key = self.key(key, ext || (key % 2 == 0 && key < 40), tags.0);
                let value = (TypeTag(if tags.1 { 6 } else { -11 }), vec![fill; usize::from(value)]);
                let meta = self.meta(if options < 8 { 0 } else { options });
                self.put(key, value, meta);
            }
            Op::Bury(key) => self.bury(&self.stored(key)),
            Op::Remove(key) => self.remove(&self.stored(key)),
            Op::Purge(key) => self.purge(&self.stored(key)),
            Op::Touch(key) => self.touch(&self.stored(key)),
            Op::Expire(key, options) => self.expire(&self.stored(key), options),
            Op::Walk(steps) => self.walk(steps % 40),
            Op::Fill(count) => {
                for n in 0..count {
                    self.put(
                        self.key(1000 + n, false, false),
                        (TypeTag(-11), vec![1; 100]),
                        self.meta(0),
                    );
                }
            }
            Op::Drain(count) => {
                let keys: Vec<Key> = self.model.keys().take(usize::from(count)).cloned().collect();
                keys.iter().for_each(|key| self.remove(key));
            }
            Op::Clear => {
                self.store.clear();
                self.model.clear();
                self.due.clear();
            }
        }
        assert_eq!(self.store.len() + self.store.tombstones(), self.model.len());
    }

    fn check(&self) {
        self.store.check();
        for (key, known_to_model) in &self.model {
            let entry = self.store.get(key.0, Blob { tag: key.2, payload: &key.1 });
            assert_eq!(entry.as_ref().map(known).as_ref(), Some(known_to_model));
        }
    }

    /// Another store with the same content, written in another order.
    fn replica(&self, pool: &Arc<Pool>) -> Store {
        let mut store = Store::with_hasher(pool, SEED, self.store.hasher);
        for ((hash, payload, tag), known) in self.model.iter().rev() {
            let key = Blob { tag: *tag, payload };
            match &known.value {
                Some((tag, payload)) => {
                    store.put(*hash, key, Blob { tag: *tag, payload }, &known.meta).unwrap();
                }
                None => store.put_tombstone(*hash, key, known.meta.seq).unwrap(),
            }
        }
        store
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 64 }))]

    #[test]
    fn a_store_does_what_its_model_does(
        hasher in 0usize..HASHERS.len(),
        ops in prop::collection::vec(op(), 1..400),
    ) {
        let pool = pool_of(64 << 20);
        let mut harness = Harness::new(&pool, HASHERS[hasher]);
        for (i, op) in ops.iter().enumerate() {
            harness.step(op);
            if i % 16 == 0 {
                harness.check();
            }
        }
        harness.check();
        prop_assert_eq!(pool.bytes_used(), harness.store.bytes());
        let replica = harness.replica(&pool);
        replica.check();
        prop_assert_eq!(replica.digest(), harness.store.digest());
        drop((harness, replica));
        prop_assert_eq!(pool.bytes_used(), 0);
    }
}

fn get<'a>(store: &'a Store, key: &[u8]) -> Option<Entry<'a>> {
    store.get((store.hasher)(key, store.seed), blob(key))
}

fn remove(store: &mut Store, key: &[u8]) -> bool {
    store.remove((store.hasher)(key, store.seed), blob(key))
}

/// A reproducible sequence of numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((u128::from(mixed ^ mixed >> 32) * u128::from(end)) >> 64) as u64
    }
}

const MANY: u32 = if cfg!(miri) { 2_000 } else { 20_000 };

#[test]
fn it_grows_and_shrinks_without_losing_anything() {
    let pool = pool_of(64 << 20);
    let mut store = Store::new(&pool, SEED);
    let mut most_tables = 0;
    for n in 0..MANY {
        assert_eq!(put(&mut store, &n.to_le_bytes(), &[7; 20], n.into()), PutOutcome::Inserted);
        most_tables = most_tables.max(store.index.buckets().1);
        if n % 997 == 0 {
            store.check();
        }
    }
    assert!(most_tables > 0, "it grows in steps");
    let (full, buckets) = (store.bytes(), store.index.buckets().0);
    for n in 0..MANY {
        assert_eq!(get(&store, &n.to_le_bytes()).unwrap().seq(), u64::from(n));
    }
    for n in 0..MANY - 50 {
        assert!(remove(&mut store, &n.to_le_bytes()));
        assert!(get(&store, &n.to_le_bytes()).is_none());
        if n % 997 == 0 {
            store.check();
        }
    }
    store.check();
    assert!(store.index.buckets().0 * 4 < buckets && store.bytes() * 2 < full);
    assert_eq!(store.len(), 50);
    for n in MANY - 50..MANY {
        assert_eq!(get(&store, &n.to_le_bytes()).unwrap().value(), blob(&[7; 20]));
        assert!(remove(&mut store, &n.to_le_bytes()));
    }
    assert_eq!((store.bytes(), pool.bytes_used()), (0, 0), "an empty store holds nothing");
}

/// Entries in the order of their hashes, as a copy of another store gets them.
#[test]
fn entries_in_the_order_of_hashes_are_spread_over_an_index_that_expects_them() {
    const COPIED: u32 = MANY / 4;
    let mut order: Vec<u32> = (0..COPIED).collect();
    order.sort_by_key(|n| hash64(&n.to_le_bytes(), SEED));
    let pool = pool_of(64 << 20);
    let mut crowd = [0u32; 2];
    for (expects, crowd) in [false, true].into_iter().zip(&mut crowd) {
        let mut store = Store::new(&pool, SEED);
        for (at, n) in order.iter().enumerate() {
            match at {
                _ if !expects => {}
                0 => store.expect(COPIED as usize / 2), // as many as there were at first
                100 => store.expect(COPIED as usize),
                _ => {}
            }
            put(&mut store, &n.to_le_bytes(), &[7; 20], 1);
            if at % 100 == 99 {
                assert!(remove(&mut store, &order[at - 50].to_le_bytes()), "it does not shrink");
            }
            if at % 128 == 0 {
                *crowd = store.index.crowd().max(*crowd);
            }
            if at == COPIED as usize / 4 {
                store.check();
                assert!(store.bytes() < u64::from(COPIED) * 24, "pages come when they are needed");
            }
        }
        store.check();
        store.expect(0);
        for n in &order {
            remove(&mut store, &n.to_le_bytes());
        }
        assert_eq!(store.bytes(), 0, "it shrinks as usual");
    }
    // Entries that a single bucket sends on, and so a search passes by.
    assert!(crowd[1] < 40, "{crowd:?}");
    assert!(crowd[0] > 20 * crowd[1], "{crowd:?}: without, the test would show nothing");
}

/// What is left lies in few pages then, and the first of them may begin with the last bucket of one
/// that is not there.
#[test]
fn nothing_is_lost_when_entries_go_in_the_order_of_their_hashes() {
    let pool = pool_of(64 << 20);
    for entries in (2240..2380).step_by(if cfg!(miri) { 130 } else { 7 }) {
        let mut order: Vec<u32> = (0..entries).collect();
        order.sort_by_key(|n| hash64(&n.to_le_bytes(), SEED));
        let mut store = Store::new(&pool, SEED);
        order.iter().for_each(|n| assert!(put(&mut store, &n.to_le_bytes(), b"", 1).is_new()));
        let lost = order.iter().filter(|n| !remove(&mut store, &n.to_le_bytes())).count();
        assert_eq!((lost, store.bytes()), (0, 0), "of {entries}");
    }
}

/// Then the entries of one bucket belong to buckets in many pages.
#[test]
fn nothing_is_lost_when_an_index_grows_by_much_at_once() {
    let pool = pool_of(64 << 20);
    let mut store = Store::new(&pool, SEED);
    for n in 0..600 {
        match n {
            40 => store.expect(3_000),
            300 => store.expect(200_000),
            _ => {}
        }
        put(&mut store, &(n as u32).to_le_bytes(), b"", 1);
        if n % 25 == 24 {
            store.check();
        }
    }
    assert!(!store.index.is_resizing() && store.index.buckets().0 > 20_000);
    assert_eq!((0..600u32).filter(|n| get(&store, &n.to_le_bytes()).is_some()).count(), 600);
    assert!(store.bytes() < 40 << 20);
}

/// A walk that goes on between writes which make the index grow, then shrink.
#[test]
fn a_walk_in_steps_meets_everything_once_while_the_index_resizes() {
    let pool = pool_of(64 << 20);
    let mut store = Store::new(&pool, SEED);
    let (first, steps) = (MANY / 4, MANY / 40);
    for n in 0..first {
        put(&mut store, &n.to_le_bytes(), b"stays", 1);
    }
    for growing in [true, false] {
        let (mut met, mut from, mut step, mut resizing) = (Vec::new(), Some(0), 0, 0);
        while let Some(at) = from {
            let mut page = 0;
            from = store.walk(at, |hash, entry| {
                if page == 10 {
                    return ControlFlow::Break(());
                }
                page += 1;
                if entry.value() == blob(b"stays") {
                    met.push(hash);
                }
                ControlFlow::Continue(())
            });
            for n in first + step * 20..first + (step + 1) * 20 {
                if growing && step < steps {
                    put(&mut store, &n.to_le_bytes(), b"comes", 2);
                } else {
                    remove(&mut store, &n.to_le_bytes());
                }
            }
            resizing += usize::from(store.index.is_resizing());
            step += 1;
        }
        assert!(met.is_sorted());
        met.dedup();
        assert_eq!(met.len(), first as usize);
        assert!(cfg!(miri) || resizing > 3, "it resized during {resizing} steps");
        store.check();
    }
}

#[test]
fn the_index_stays_dense() {
    let pool = pool_of(64 << 20);
    let mut store = Store::new(&pool, SEED);
    for n in 0..MANY {
        put(&mut store, &n.to_le_bytes(), &[], 1);
        let settled = !store.index.is_resizing();
        if n > 2000 && settled {
            let per_entry = store.index.bytes() as f64 / f64::from(n + 1);
            assert!((6.2..7.6).contains(&per_entry), "{per_entry} bytes of index at {n}");
        }
        // The table that is emptied gives back what the one that is filled takes.
        assert!(store.index.bytes() as f64 <= f64::from(n + 1) * 9.0 + 4096.0);
    }
}

/// Overwrites, removals and insertions of ever other sizes must not let dead memory pile up.
#[test]
fn dead_memory_is_bounded_under_churn() {
    let pool = pool_of(256 << 20);
    for (keys, sizes) in [(3_000u64, 400u64), (3_000, 3_000), (100, 200), (20_000, 60)] {
        let mut store = Store::new(&pool, SEED);
        let mut numbers = Numbers(keys);
        let (mut sizes_now, mut live, mut worst) = (vec![None; keys as usize], 0u64, 0.0f64);
        for round in 0..if cfg!(miri) { 500 } else { 60_000u64 } {
            let n = numbers.below(keys);
            let key = n.to_le_bytes();
            // The sizes in demand drift, so that freed sizes are not asked for again.
            let size = (numbers.below(sizes / 4) + round * sizes * 3 / 4 / 60_000) as usize;
            if numbers.below(5) == 0 {
                remove(&mut store, &key);
                live -= sizes_now[n as usize].take().unwrap_or(0);
            } else {
                put(&mut store, &key, &vec![1; size], round);
                let chunk = (12 + 8 + size as u64).next_multiple_of(8);
                live = live + chunk - sizes_now[n as usize].replace(chunk).unwrap_or(0);
            }
            let held = store.arena.bytes();
            let bound = live as f64 * 1.3 + 16384.0;
            worst = worst.max(held as f64 / bound);
            assert!(worst <= 1.0, "{held} held for {live} live, {} dead", store.arena.dead_bytes());
        }
        store.check();
    }
    assert_eq!(pool.bytes_used(), 0, "dropped stores hold nothing");
}

#[test]
fn one_write_moves_little() {
    let pool = pool_of(64 << 20);
    let mut store = Store::new(&pool, SEED);
    for n in 0..MANY {
        put(&mut store, &n.to_le_bytes(), &[1; 100], 1);
    }
    let some = || (0..MANY).step_by(999);
    let (mut cleaned, mut before) = (0, some().map(|n| at(&store, n)).collect::<Vec<_>>());
    for n in (0..MANY).filter(|n| n % 3 != 0) {
        let held = store.arena.bytes();
        remove(&mut store, &n.to_le_bytes());
        let after: Vec<Option<Ref>> = some().map(|n| at(&store, n)).collect();
        let moved = before.iter().zip(&after).filter(|(b, a)| a.is_some() && a != b).count();
        assert!(moved <= 32 && held.saturating_sub(store.arena.bytes()) <= 64 << 10);
        (cleaned, before) = (cleaned + moved, after);
    }
    assert!(cfg!(miri) || cleaned > 0, "nothing was moved");
}

fn at(store: &Store, n: u32) -> Option<Ref> {
    get(store, &n.to_le_bytes()).map(|entry| entry.at)
}

#[test]
fn an_exhausted_pool_is_an_error_and_changes_nothing() {
    let pool = pool_of(1 << 20);
    let mut store = Store::new(&pool, SEED);
    let mut other = Store::new(&pool, SEED);
    put(&mut other, b"mine", &[3; 1500], 1);
    let mut stored = 0u32;
    let hash = |n: u32| hash64(&n.to_le_bytes(), SEED);
    let value = [9; 300];
    while store.put(hash(stored), blob(&stored.to_le_bytes()), blob(&value), &Meta::new(5)).is_ok()
    {
        stored += 1;
    }
    assert!(stored > 2000, "{stored} of about 3300");
    store.check();
    let digest = store.digest();
    let long = vec![1; 4000];
    let meta = Meta::new(6);
    assert_eq!(store.put(hash(7), blob(&7u32.to_le_bytes()), blob(&long), &meta), Err(StoreFull));
    assert_eq!(store.digest(), digest);
    // In place still works, and so does everything after a removal.
    assert_eq!(put(&mut store, &7u32.to_le_bytes(), &[8; 300], 9), PutOutcome::Replaced);
    assert!(remove(&mut store, &8u32.to_le_bytes()));
    assert_eq!(put(&mut store, b"new!", &[8; 300], 9), PutOutcome::Inserted);
    store.check();
    assert_eq!(get(&other, b"mine").unwrap().value(), blob(&[3; 1500]));
    drop(store);
    assert_eq!(pool.bytes_used(), other.bytes());
    put(&mut other, b"more", &[3; 4000], 1);
}

#[test]
fn long_keys_and_large_values() {
    let pool = pool_of(64 << 20);
    let mut store = Store::new(&pool, SEED);
    let lengths = [0, 1, 254, 255, 256, 5000, 65_536];
    for (i, length) in lengths.into_iter().enumerate() {
        let key = vec![i as u8; length];
        for size in [4096, 4097, 100_000, 100_000, 10, 4098, 0] {
            let value = vec![size as u8; size];
            let growth =
                store.growth_for(hash64(&key, SEED), blob(&key), blob(&value), &Meta::new(1));
            put(&mut store, &key, &value, size as u64);
            assert!(size <= 4096 || growth <= size + (1 << 20));
            assert_eq!(get(&store, &key).unwrap().value(), blob(&value));
            assert_eq!(store.large.bytes(), if size > 4096 { size as u64 } else { 0 });
            store.check();
        }
    }
    assert_eq!(store.len(), lengths.len());
    if !cfg!(miri) {
        let value: Vec<u8> = (0..32u32 << 20).map(|n| n as u8).collect();
        put(&mut store, b"largest", &value, 1);
        assert_eq!(get(&store, b"largest").unwrap().value().payload, value);
        assert!(store.bury(hash64(b"largest", SEED), blob(b"largest"), 2));
    }
    assert_eq!(store.large.bytes(), 0, "a tombstone keeps no value");
    put(&mut store, b"large", &[1; 5000], 1);
    store.clear();
    assert_eq!(pool.bytes_used(), 0);
}

#[test]
fn a_plain_record_has_twelve_bytes_of_header() {
    let pool = pool_of(1 << 20);
    let mut store = Store::new(&pool, SEED);
    put(&mut store, &[1; 16], &[2; 100], 1);
    assert_eq!(get(&store, &[1; 16]).unwrap().shape.bytes(), 128);
    // Another type than the container's costs its tags, as long as it is there.
    let (hash, key) = (hash64(&[1; 16], SEED), Blob { tag: TypeTag(4), payload: &[1; 16] });
    store.put(hash, key, blob(&[2; 100]), &Meta::new(2)).unwrap();
    assert_eq!(store.get(hash, key).unwrap().shape.bytes(), 136);
    assert_eq!((store.len(), get(&store, &[1; 16]).unwrap().seq()), (2, 1));
}

#[test]
fn blocks_go_from_store_to_store() {
    let pool = pool_of(2 << 20);
    for round in 0..20u64 {
        let mut store = Store::new(&pool, SEED);
        for n in 0..3_000u32 {
            put(&mut store, &n.to_le_bytes(), &[round as u8; 200], round);
        }
        store.check();
    }
    assert_eq!(pool.bytes_used(), 0);
}

#[test]
fn a_small_store_is_small() {
    let pool = pool_of(64 << 20);
    let mut store = Store::new(&pool, SEED);
    assert_eq!(store.bytes(), 0);
    put(&mut store, b"key", b"value", 1);
    assert_eq!(store.bytes(), 2048, "one page of index, one block");
}
