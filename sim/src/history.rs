//! What clients saw, and whether one order of all operations explains it.

use crate::event::{Ask, Values};
use crate::search::{Verdict, check};
use grid_core::ids::Term;

/// One operation of a client.
#[derive(Clone, Debug)]
pub struct Record {
    /// What it asked.
    pub ask: Ask,
    /// When.
    pub from: u64,
    /// The term of the primary that answered.
    pub term: Term,
    /// When it was answered, and how; unanswered it may have happened at any later time, or never.
    pub answer: Option<(u64, Values)>,
}

/// A time in which the data of a partition was not lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The term in which it began.
    pub term: Term,
    /// When it began.
    pub at: u64,
    /// What was there then; none if nobody knows.
    pub begins: Option<Values>,
}

/// The operations on one object that is linearizable as a whole.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What clients saw.
    pub records: Vec<Record>,
    /// When the data was lost, and there was new, oldest first. What was before is not listed.
    pub lives: Vec<Life>,
}

impl History {
    /// The operations of each life, and what it began with. What was not answered may belong to several.
    fn by_life(&self) -> Vec<(Vec<Record>, Values)> {
        let mut out = Vec::new();
        for n in 0..=self.lives.len() {
            let life = n.checked_sub(1).map(|n| self.lives[n]);
            let Some(begins) = life.map_or(Some(Values::default()), |life| life.begins) else {
                continue;
            };
            let until = self.lives.get(n);
            let records = self.records.iter().filter_map(|record| {
                let mut record = record.clone();
                let later = until.is_some_and(|until| record.term >= until.term);
                // What began before may have taken effect before, and be told only now. With the data it was also
                // forgotten which requests had taken effect: one that is on its way still may do so again.
                if later || life.is_some_and(|life| record.from < life.at) {
                    record.answer = None;
                }
                let over = until.is_some_and(|until| record.from > until.at);
                (!over || record.answer.is_some()).then_some(record)
            });
            out.push((records.collect(), begins));
        }
        out
    }

    /// Whether no primary answered something that was asked after a later primary had answered.
    fn goes_forward(&self) -> bool {
        let told = self.records.iter().filter(|r| !matches!(r.ask, Ask::Stale(..)));
        let answers = told.filter_map(|r| Some((r.from, r.answer?.0, r.term)));
        let answers: Vec<(u64, u64, Term)> = answers.collect();
        let newest = answers.iter().map(|(_, _, term)| *term).max();
        if answers.iter().all(|(_, _, term)| Some(*term) == newest) {
            return true;
        }
        let after =
            |from: u64, term: Term| answers.iter().all(|(_, at, t)| *at >= from || *t <= term);
        answers.iter().all(|(from, _, term)| after(*from, *term))
    }

    /// Whether some order explains it, and how many answers were checked.
    pub(crate) fn check(&self) -> (Verdict, u64) {
        if !self.goes_forward() {
            return (Verdict::Violation, 0);
        }
        if self.lives.is_empty() {
            return (check(&self.records, Values::default()), answered(&self.records));
        }
        let mut sum = 0;
        for (records, begins) in self.by_life() {
            match check(&records, begins) {
                Verdict::Linearizable => sum += answered(&records),
                other => return (other, sum),
            }
        }
        (Verdict::Linearizable, sum)
    }
}

fn answered(records: &[Record]) -> u64 {
    records.iter().filter(|record| record.answer.is_some()).count() as u64
}

/// The operations on each object that is linearizable as a whole: the map in one partition (its keys, its
/// size and scans of it), and the queue.
#[derive(Debug, Default)]
pub struct Histories {
    /// By partition.
    pub maps: Vec<History>,
    /// Of the map that is answered early, by partition: a life for each term whose primary before did not
    /// hand over.
    pub quick: Vec<History>,
    /// Of the one queue.
    pub queue: History,
}

/// What a check of all histories of a run says.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The first history that no order explains.
    pub wrong: Option<String>,
    /// Operations of histories that were explained.
    pub ops: u64,
    /// Histories whose check took too long: nothing is known about them.
    pub given_up: Vec<String>,
}

impl Histories {
    /// Checks all of them.
    #[must_use]
    pub fn check(&self) -> Checked {
        let mut checked = Checked::default();
        let maps = self.maps.iter().enumerate().map(|(at, map)| (Some(at), map));
        let quick = self.quick.iter().map(|map| (None, map));
        for (at, history) in maps.chain([(None, &self.queue)]).chain(quick) {
            let name = || match at {
                Some(at) => format!("partition {at}"),
                None if history.records.iter().all(|r| r.ask.is_quick()) => "early answers".into(),
                None => "the queue".into(),
            };
            let (verdict, ops) = history.check();
            match verdict {
                Verdict::Linearizable => checked.ops += ops,
                Verdict::Unknown => checked.given_up.push(name()),
                Verdict::Violation => {
                    checked.wrong = Some(format!("not linearizable: {}", name()));
                    break;
                }
            }
        }
        checked
    }

    /// The histories that are not linearizable, an operation a line.
    #[must_use]
    pub fn tell(&self) -> String {
        let mut out = String::new();
        let all = self.maps.iter().chain([&self.queue]).chain(&self.quick).enumerate();
        for (at, history) in all.filter(|(_, history)| history.check().0 != Verdict::Linearizable) {
            out += &format!("history of {at}: {:?}\n", history.lives);
            for Record { ask, from, term, answer } in &history.records {
                let (until, values) = answer.map_or((String::new(), String::new()), |(t, v)| {
                    (format!("{:.3}", t as f64 / 1e6), format!("{v:?}"))
                });
                out +=
                    &format!("{:>9.3} {until:>9} {ask:?} {values} t{term}\n", *from as f64 / 1e6);
            }
        }
        out
    }
}
