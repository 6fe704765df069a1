//! Backups that are dropped again and again: each time they wait longer before they may join again, so that a
//! slow one does not hold up its partition every other second.

use super::Rules;
use crate::ids::MemberId;
use crate::time::Nanos;

/// What a primary remembers of those it dropped for being slow or silent.
#[derive(Debug, Default)]
pub(super) struct Flaps(Vec<Flap>);

#[derive(Clone, Copy, Debug)]
struct Flap {
    member: MemberId,
    dropped: Nanos,
    /// For so long after that it does not join.
    wait: Nanos,
}

impl Flaps {
    /// A backup is dropped. Once does no harm; who is dropped again before the longest wait is over waits, twice as
    /// long each time.
    pub(super) fn dropped(&mut self, member: MemberId, now: Nanos, rules: &Rules) {
        let last = self.0.iter().find(|flap| flap.member == member).copied();
        let (shortest, longest) = rules.rejoin;
        let again = last.filter(|last| now.since(last.dropped).0 <= last.wait.0 + longest.0);
        let wait = again.map_or(Nanos(0), |last| {
            Nanos(last.wait.0.saturating_mul(2).max(shortest.0).min(longest.0))
        });
        self.0.retain(|flap| flap.member != member);
        self.0.push(Flap { member, dropped: now, wait });
    }

    /// Whether a member may join.
    pub(super) fn may_join(&self, member: MemberId, now: Nanos) -> bool {
        let flap = self.0.iter().find(|flap| flap.member == member);
        flap.is_none_or(|flap| now.since(flap.dropped) >= flap.wait)
    }

    /// Forgets those that are wanted no more.
    pub(super) fn keep(&mut self, wanted: impl Fn(MemberId) -> bool) {
        self.0.retain(|flap| wanted(flap.member));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn rules() -> Rules {
        Rules {
            me: MemberId(1),
            min_in_sync: 1,
            lease: Nanos(SECOND),
            patience: Nanos(SECOND),
            resend: Nanos(SECOND),
            rejoin: (Nanos(SECOND), Nanos(60 * SECOND)),
        }
    }

    /// How long a member waits that is dropped now.
    fn drop_at(flaps: &mut Flaps, now: u64) -> u64 {
        flaps.dropped(MemberId(2), Nanos(now), &rules());
        flaps.0.last().map_or(0, |flap| flap.wait.0)
    }

    #[test]
    fn waits_grow_from_a_second_to_a_minute_and_are_forgiven() {
        let (mut flaps, mut now, mut waits) = (Flaps::default(), SECOND, Vec::new());
        for _ in 0..9 {
            let wait = drop_at(&mut flaps, now);
            assert!(flaps.may_join(MemberId(3), Nanos(now)), "others do not wait");
            assert_eq!(flaps.may_join(MemberId(2), Nanos(now)), wait == 0);
            now += wait;
            assert!(flaps.may_join(MemberId(2), Nanos(now)));
            waits.push(wait / SECOND);
            now += SECOND / 10;
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(drop_at(&mut flaps, now + 61 * SECOND), 0, "it held out for long");
        flaps.keep(|member| member != MemberId(2));
        assert!(flaps.0.is_empty());
    }

    proptest! {
        #[test]
        fn whatever_happens_joins_are_rare(
            stays in prop::collection::vec(0..120 * SECOND, 1..200),
        ) {
            let (mut flaps, mut now, mut last) = (Flaps::default(), SECOND, 0);
            let (mut short, mut passed) = (0u64, 0u64);
            for stay in stays {
                let wait = drop_at(&mut flaps, now);
                prop_assert!(wait <= 60 * SECOND);
                prop_assert!(wait == 0 || wait >= last, "{} after {}", wait, last);
                prop_assert!(flaps.0.len() <= 1);
                prop_assert_eq!(flaps.may_join(MemberId(2), Nanos(now + wait.saturating_sub(1))), wait == 0);
                if stay <= 60 * SECOND {
                    // It flaps: apart from the first seven times, a minute passes each time.
                    short += 1;
                    passed += wait + stay;
                    prop_assert!(passed >= short.saturating_sub(8) * 60 * SECOND);
                } else {
                    (short, passed) = (0, 0);
                }
                last = wait;
                now += wait + stay;
            }
        }
    }
}
