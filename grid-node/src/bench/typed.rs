//! The load through the typed handles of the thin client. Each connection is a client of its own, each
//! request in flight a task that awaits one operation after the other.

use super::generator::Load;
use super::keys::{self, KEY_BYTES, Random, key};
use super::map::MapArgs;
use super::phases::{self, Party, Run};
use super::report::Measured;
use grid_client::Client;
use grid_core::Map;
use grid_core::data::GridData;
use grid_core::error::{Error, Kind, Result};
use parking_lot::Mutex;
use std::sync::Arc;

/// Values of the usual size travel as what they would be in a program: an array.
const ARRAY_BYTES: usize = 100;

/// A type of values.
trait Value: GridData + Send + Sync + AsRef<[u8]> + 'static {
    /// A value of this many bytes for key `n`.
    fn of(n: u64, bytes: usize) -> Self;
}

impl Value for [u8; ARRAY_BYTES] {
    #[inline]
    fn of(n: u64, _: usize) -> Self {
        let mut value = [b'x'; ARRAY_BYTES];
        keys::mark(&mut value, n);
        value
    }
}

impl Value for Vec<u8> {
    #[inline]
    fn of(n: u64, bytes: usize) -> Self {
        let mut value = vec![b'x'; bytes];
        keys::mark(&mut value, n);
        value
    }
}

pub(super) fn run(load: &Load, args: &MapArgs) -> Result<Measured> {
    load.check()?;
    if load.value_bytes == ARRAY_BYTES {
        run_with::<[u8; ARRAY_BYTES]>(load, args)
    } else {
        run_with::<Vec<u8>>(load, args)
    }
}

fn run_with<V: Value>(load: &Load, args: &MapArgs) -> Result<Measured> {
    // Clients must outlive the tasks of all phases.
    let clients = Mutex::new(Vec::new());
    let tasks = load.connections * load.pipeline;
    phases::run(load, tasks, |load: Arc<Load>, thread| {
        let clients = &clients;
        async move {
            let mut parties = Vec::new();
            for number in (thread..load.connections).step_by(load.threads) {
                let address = args.addr[number % args.addr.len()].clone();
                let client = Client::builder().address(address).cluster(args.cluster.clone());
                let client = client.connect().await?;
                let map: Map<[u8; KEY_BYTES], V> = client.map(&args.map);
                for task in 0..load.pipeline {
                    let number = number * load.pipeline + task;
                    parties.push(Task {
                        number,
                        map: map.clone(),
                        random: Random::new(number as u64),
                    });
                }
                clients.lock().push(client);
            }
            Ok(parties)
        }
    })
}

/// One operation after the other.
struct Task<V> {
    number: usize,
    map: Map<[u8; KEY_BYTES], V>,
    random: Random,
}

impl<V: Value> Task<V> {
    async fn operate(&mut self, run: &Run, due_ns: u64) {
        let load = &*run.load;
        let read = self.random.below(100) < u64::from(load.reads_percent);
        let n = self.random.below(load.keys);
        let (mut missing, mut wrong) = (false, false);
        let outcome = if read {
            self.map.get(&key(n)).await.map(|value| match value {
                Some(value) => {
                    wrong = load.verify && !keys::is_value_of(value.as_ref(), n, load.value_bytes);
                }
                None => missing = true,
            })
        } else {
            self.map.set(&key(n), &V::of(n, load.value_bytes)).await
        };
        run.progress();
        let now_ns = run.now_ns();
        if !run.counts(now_ns) {
            return;
        }
        let mut tally = run.tally.lock();
        match outcome {
            Ok(()) if wrong => tally.fail("wrong value".into()),
            Ok(()) => {
                tally.record(read, now_ns.saturating_sub(due_ns));
                tally.missing += u64::from(missing);
            }
            Err(error) => tally.fail(error.to_string()),
        }
    }
}

impl<V: Value> Party for Task<V> {
    fn number(&self) -> usize {
        self.number
    }

    async fn fill(&mut self, run: &Run) -> Result<()> {
        for n in (self.number as u64..run.load.keys).step_by(run.parties) {
            self.map.set(&key(n), &V::of(n, run.load.value_bytes)).await.map_err(|error| {
                Error::with(Kind::Invalid, format!("the keys cannot be written: {error}"))
            })?;
            run.progress();
        }
        Ok(())
    }

    async fn measure(&mut self, run: &Run) -> Result<()> {
        let Some((mut next_ns, gap_ns)) = run.schedule(self.number) else {
            loop {
                let now_ns = run.now_ns();
                if run.is_over(now_ns) {
                    return Ok(());
                }
                self.operate(run, now_ns).await;
            }
        };
        loop {
            let now_ns = run.now_ns();
            if run.is_over(now_ns) {
                run.tally.lock().unsent += run.until_ns.saturating_sub(next_ns).div_ceil(gap_ns);
                return Ok(());
            }
            if next_ns > now_ns {
                run.due.notified().await;
            } else {
                self.operate(run, next_ns).await;
                next_ns += gap_ns;
            }
        }
    }
}
