//! One direction of a connection.

use super::nature::Nature;
use super::pace::{Arrival, Pace};
use super::{Counters, Direction, Handle, Settings, Trouble};
use crate::rng::Rng;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until};

const PIECE_BYTES_MAX: usize = 16 << 10;
/// Pieces that wait in the proxy; together a mebibyte.
const PIECES_MAX: usize = 64;

/// How a connection ends that does not end in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has to be reset.
    Broken,
}

struct Piece {
    arrival: Arrival,
    bytes: Vec<u8>,
}

/// One direction of a connection.
pub(super) struct Pipe<'p> {
    pub(super) direction: Direction,
    pub(super) handle: &'p Handle,
    /// What the connection carries.
    pub(super) nature: &'p Nature,
}

impl Pipe<'_> {
    /// Passes on what comes until the end of the stream, and that.
    pub(super) async fn run(
        &self,
        from: impl AsyncRead + Unpin,
        to: impl AsyncWrite + Unpin,
        mut rng: Rng,
    ) -> Result<(), End> {
        let began = Instant::now();
        let (sender, receiver) = channel(PIECES_MAX);
        let write_rng = rng.fork();
        let read = self.read(from, sender, began, rng);
        let write = self.write(to, receiver, began, write_rng);
        tokio::try_join!(read, write).map(drop)
    }

    fn trouble(&self) -> Trouble {
        *self.handle.settings.borrow().of(self.direction)
    }

    fn swallows(&self, settings: &Settings) -> bool {
        let trouble = settings.of(self.direction);
        trouble.swallow || (trouble.swallow_control && self.nature.is_control())
    }

    fn counters(&self) -> &Counters {
        &self.handle.counters
    }

    async fn read(
        &self,
        mut from: impl AsyncRead + Unpin,
        pieces: Sender<Piece>,
        began: Instant,
        mut rng: Rng,
    ) -> Result<(), End> {
        let mut changes = self.handle.settings.subscribe();
        let mut has_hole = false;
        let mut buffer = vec![0; PIECE_BYTES_MAX];
        loop {
            let read = tokio::select! {
                biased;
                _ = changes.wait_for(|s| !self.swallows(s)), if has_hole => {
                    return Err(End::Broken);
                }
                read = from.read(&mut buffer) => read.map_err(|_| End::Broken)?,
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            if self.direction == Direction::ToServer {
                self.nature.follow(bytes);
            }
            let swallows = self.swallows(&self.handle.settings.borrow());
            if swallows {
                has_hole = true;
                self.counters().swallowed.fetch_add(read as u64, Relaxed);
                if read == 0 {
                    // Not even the end arrives.
                    let _ = changes.wait_for(|s| !self.swallows(s)).await;
                    return Err(End::Broken);
                }
                continue;
            }
            if has_hole {
                return Err(End::Broken);
            }
            if read == 0 {
                return Ok(()); // `pieces` is dropped: the writer ends behind what waits
            }
            let arrival = Arrival { at: began.elapsed(), share: rng.share() };
            if pieces.send(Piece { arrival, bytes: bytes.to_vec() }).await.is_err() {
                return Err(End::Broken);
            }
        }
    }

    async fn write(
        &self,
        mut to: impl AsyncWrite + Unpin,
        mut pieces: Receiver<Piece>,
        began: Instant,
        mut rng: Rng,
    ) -> Result<(), End> {
        let mut pace = Pace::default();
        while let Some(mut piece) = pieces.recv().await {
            self.wait(&pace, piece.arrival, began).await;
            self.flip(&mut piece.bytes, &mut rng);
            pace.left(began.elapsed(), piece.bytes.len());
            self.counters().passed.fetch_add(piece.bytes.len() as u64, Relaxed);
            to.write_all(&piece.bytes).await.map_err(|_| End::Broken)?;
        }
        // If the other side has gone already, nothing is missing.
        let _ = to.shutdown().await;
        Ok(())
    }

    /// Waits until a piece may leave, whatever the trouble changes to meanwhile.
    async fn wait(&self, pace: &Pace, arrival: Arrival, began: Instant) {
        let mut changes = self.handle.settings.subscribe();
        loop {
            let trouble = *changes.borrow_and_update().of(self.direction);
            let due = pace.due(arrival, &trouble).map(|due| began + due);
            if due.is_some_and(|due| due <= Instant::now()) {
                return;
            }
            let time = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = time => return,
            }
        }
    }

    fn flip(&self, bytes: &mut [u8], rng: &mut Rng) {
        let times = self.trouble().flips_per_million;
        if times == 0 {
            return;
        }
        for byte in bytes {
            if rng.in_million(times) {
                *byte ^= 1 << rng.below(8);
                self.counters().flipped.fetch_add(1, Relaxed);
            }
        }
    }
}
