//! What is read when the load has ended and nothing is broken any more.

use super::caller::Caller;
use super::{Config, History};
use crate::history::{Call, Outcome, Target};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// Pause before another attempt.
const AGAIN: Duration = Duration::from_millis(50);

type Targets = Arc<Mutex<Vec<Target>>>;

/// Reads every key and empties every queue that the history knows.
pub(super) async fn read_all(config: &Config, callers: Vec<Caller>, history: &mut History) {
    let targets: BTreeSet<Target> = history.operations.iter().map(|op| op.target).collect();
    let targets: Targets = Arc::new(Mutex::new(targets.into_iter().collect()));
    let deadline = Instant::now() + config.closing;
    let mut readers = JoinSet::new();
    for caller in callers {
        readers.spawn(read(caller, Arc::clone(&targets), deadline));
    }
    while let Some(ended) = readers.join_next().await {
        match ended {
            Ok((mut caller, mut unread)) => {
                caller.hand_over(history);
                history.unread.append(&mut unread);
            }
            Err(error) => history.odd.push(format!("a task of a client has ended: {error}")),
        }
    }
}

async fn read(
    mut caller: Caller,
    targets: Targets,
    deadline: Instant,
) -> (Caller, Vec<(Target, String)>) {
    let mut unread = Vec::new();
    loop {
        let next = targets.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(target) = next else { return (caller, unread) };
        let call = match target {
            Target::Entry { .. } | Target::Counter { .. } => Call::Get,
            Target::Queue { .. } => Call::Poll,
        };
        loop {
            let outcome = caller.call(target, call).await;
            match outcome {
                Outcome::Value(Some(_)) if call == Call::Poll => {}
                Outcome::NotApplied | Outcome::Maybe if Instant::now() < deadline => {
                    sleep(AGAIN).await;
                }
                Outcome::NotApplied | Outcome::Maybe => {
                    unread.push((target, format!("{outcome:?}")));
                    break;
                }
                _ => break,
            }
        }
    }
}
