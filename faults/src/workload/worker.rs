//! One task of a client: what it does, one operation after the other.

use super::caller::Caller;
use super::spaces::{Kind, Spaces};
use super::{Config, Stop};
use crate::history::{Call, Outcome, Target};
use crate::rng::Rng;
use std::sync::Arc;
use std::time::Duration;

/// Pause after an operation that failed, so that a refusal is not answered with a storm.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// What a process does next.
#[derive(Clone, Copy)]
enum Step {
    Get,
    Put,
    Set,
    Remove,
    PutIfAbsent,
    Replace,
    RemoveSame,
}

const STEPS: [(Step, u32); 7] = [
    (Step::Get, 30),
    (Step::Put, 15),
    (Step::Set, 12),
    (Step::Remove, 8),
    (Step::PutIfAbsent, 12),
    (Step::Replace, 18),
    (Step::RemoveSame, 5),
];

/// The mean pause between two operations of a task that keeps the rate of all.
pub(super) fn pause(config: &Config) -> Duration {
    let tasks = u32::try_from(config.clients * config.tasks).unwrap_or(u32::MAX);
    match config.rate {
        0 => Duration::ZERO,
        rate => Duration::from_secs(1) * tasks / rate,
    }
}

/// Works until it is stopped; returns the caller, who knows what happened.
pub(super) async fn work(
    mut caller: Caller,
    mut rng: Rng,
    spaces: Arc<Spaces>,
    pause: Duration,
    stop: Arc<Stop>,
) -> Caller {
    for target in spaces.steady() {
        let call = if matches!(target, Target::Queue { .. }) { Call::Poll } else { Call::Get };
        caller.call(target, call).await;
    }
    while !stop.is_set() {
        let (kind, target) = spaces.draw(&mut rng, 2);
        let last = match kind {
            Kind::Entry => entry(&mut caller, &mut rng, target).await,
            Kind::Counter => count_up(&mut caller, target).await,
            Kind::Queue => queue(&mut caller, &mut rng, target).await,
        };
        if matches!(last, Outcome::NotApplied | Outcome::Maybe) {
            stop.sleep(AFTER_FAILURE).await;
        }
        // Two operations each time, with up to twice the mean pause.
        let pause = pause.mul_f64(4.0 * rng.share());
        if pause.is_zero() {
            tokio::task::yield_now().await;
        } else {
            stop.sleep(pause).await;
        }
    }
    caller
}

/// Two operations on an entry; compare-and-set compares with what the first of them saw.
async fn entry(caller: &mut Caller, rng: &mut Rng, target: Target) -> Outcome {
    let Some(step) = rng.weighted(&STEPS) else { return Outcome::Done };
    let second = match step {
        Step::Replace | Step::RemoveSame => {
            let expected = match caller.call(target, Call::Get).await {
                Outcome::Value(Some(value)) => value,
                Outcome::Value(None) => caller.unique(), // never there
                failed => return failed,
            };
            let value = caller.unique();
            match step {
                Step::Replace => Call::ReplaceIfSame { expected, value },
                _ => Call::RemoveIfSame(expected),
            }
        }
        step => {
            let first = simple(caller, step);
            caller.call(target, first).await;
            let step = rng.weighted(&STEPS[..5]).unwrap_or(Step::Get);
            simple(caller, step)
        }
    };
    caller.call(target, second).await
}

fn simple(caller: &mut Caller, step: Step) -> Call {
    match step {
        Step::Put => Call::Put(caller.unique()),
        Step::Set => Call::Set(caller.unique()),
        Step::Remove => Call::Remove,
        Step::PutIfAbsent => Call::PutIfAbsent(caller.unique()),
        Step::Get | Step::Replace | Step::RemoveSame => Call::Get,
    }
}

/// One turn of the loop with which a program counts up: if somebody else was faster, the loop goes on with
/// the next turn.
async fn count_up(caller: &mut Caller, target: Target) -> Outcome {
    match caller.call(target, Call::Get).await {
        Outcome::Value(None) => caller.call(target, Call::PutIfAbsent(1)).await,
        Outcome::Value(Some(count)) => {
            let next = Call::ReplaceIfSame { expected: count, value: count + 1 };
            caller.call(target, next).await
        }
        failed => failed,
    }
}

async fn queue(caller: &mut Caller, rng: &mut Rng, target: Target) -> Outcome {
    let mut last = Outcome::Done;
    for _ in 0..2 {
        // A few more come than go, so that a queue is seldom empty and what is left has to be found.
        let call = if rng.below(100) < 53 { Call::Offer(caller.unique()) } else { Call::Poll };
        last = caller.call(target, call).await;
    }
    last
}
