//! How a node comes to its cluster: it goes on with the one that it has, forms one, or joins one.
//!
//! With a list of members to join, it asks each of them until
//! * one of them belongs to a cluster: then it joins that; or
//! * all of them have answered that they belong to none, and the own address is the first of all: then it
//!   asks each for the promise to form none and to promise nobody else for a while, and forms one if all
//!   give it.
//!
//! A promise lasts longer than the attempt that it is given for, so of all nodes that know one another, even
//! if only through a third one, at most one forms a cluster.

use super::control_log::ControlLog;
use super::data_dir::Stage;
use super::node::ControlNode;
use super::peers::message::{Reply, Request, Standing};
use super::raft::Place;
use crate::entropy;
use grid_core::control::Command;
use grid_core::error::{Error, Kind, Result};
use grid_core::ids::NodeId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long a promise binds.
const PROMISE: Duration = Duration::from_secs(10);
/// How long after asking for promises a node may still form a cluster.
const FORMING: Duration = Duration::from_secs(4);
/// For one question.
const QUESTION: Duration = Duration::from_secs(1);

/// What somebody on the list answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing, and why.
    Silent(String),
    /// That it belongs to no cluster; its address.
    Waiting(String),
    /// That it belongs to this cluster.
    Formed(u64),
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Join(u64),
    Form,
    /// Wait for what this says.
    Wait(String),
}

/// Decides from what all on the list, this node left out, have answered.
fn decide(own: &str, answers: &BTreeMap<String, Answer>) -> Step {
    if let Some(group) = answers
        .values()
        .find_map(|a| if let Answer::Formed(group) = a { Some(*group) } else { None })
    {
        return Step::Join(group);
    }
    let silent = answers.iter().filter_map(|(address, answer)| match answer {
        Answer::Silent(why) => Some(format!("{address} ({why})")),
        _ => None,
    });
    let silent: Vec<_> = silent.collect();
    if !silent.is_empty() {
        return Step::Wait(format!("an answer of {}", silent.join(", ")));
    }
    let first = answers.values().filter_map(|a| match a {
        Answer::Waiting(address) => Some(address.as_str()),
        _ => None,
    });
    match first.min() {
        Some(first) if first < own => Step::Wait(format!("{first} to form the cluster")),
        _ => Step::Form,
    }
}

/// Who was promised not to be disturbed.
#[derive(Debug, Default)]
pub(super) struct Promises {
    given: Mutex<Option<(NodeId, Instant)>>,
}

impl Promises {
    /// Promises `node`, which may be this one, that this one and all others whom this one knows leave it
    /// to `node` to form a cluster. Returns whether that is possible now.
    pub(super) fn give(&self, node: NodeId) -> bool {
        let mut given = self.given.lock();
        let free = given.is_none_or(|(to, at)| to == node || at.elapsed() > PROMISE);
        if free {
            *given = Some((node, Instant::now()));
        }
        free
    }
}

impl ControlNode {
    /// Comes to a cluster, however long that takes.
    ///
    /// # Errors
    /// What cannot get better by waiting: another cluster, another configuration, a disk that fails.
    pub(super) async fn find_cluster(&self) -> Result<()> {
        let stage = self.data.stage();
        let has_log = !self.store_was_empty;
        match stage {
            Stage::Member(group) | Stage::Forming(group) | Stage::Joining(group) if has_log => {
                self.set_group(group);
                self.data.reach(Stage::Member(group))?;
                return self.go_on(group).await;
            }
            Stage::Member(_) => {
                let text = "the data directory has lost its control log. Move the whole directory away: \
                            the node then joins as a new one";
                return Err(Error::with(Kind::Io, text));
            }
            Stage::New | Stage::Forming(_) | Stage::Joining(_) => {}
        }
        if self.join.is_empty() {
            return self.form().await;
        }
        let mut line = self.line();
        loop {
            match self.look().await? {
                Step::Join(group) => return self.join_group(group, &mut line).await,
                Step::Form => match self.promised().await {
                    Ok(()) => return self.form().await,
                    Err(why) => line.say(&why),
                },
                Step::Wait(why) => line.say(&why),
            }
            tokio::time::sleep(self.timing.probe).await;
        }
    }

    /// Asks everybody on the list, and decides.
    async fn look(&self) -> Result<Step> {
        let mut answers = BTreeMap::new();
        for (address, answer) in self.ask_all(&Request::Probe { promise: false }).await {
            match answer {
                Ok((node, _)) if node == self.me.node => {}
                Ok((_, standing)) => {
                    let answer = match standing.group {
                        Some(group) => Answer::Formed(group),
                        None => Answer::Waiting(standing.address),
                    };
                    answers.insert(address, answer);
                }
                Err(e) if lasting(&e) => return Err(e),
                Err(e) => {
                    let why = reason(&address, &e);
                    answers.insert(address, Answer::Silent(why));
                }
            }
        }
        Ok(decide(&self.me.address, &answers))
    }

    /// Has everybody promise to let this node form the cluster.
    async fn promised(&self) -> Result<(), String> {
        let began = Instant::now();
        if !self.promises.give(self.me.node) {
            return Err("another member to form the cluster".to_owned());
        }
        for (address, answer) in self.ask_all(&Request::Probe { promise: true }).await {
            match answer {
                Ok((node, _)) if node == self.me.node => {}
                Ok((_, standing)) if standing.promised && standing.group.is_none() => {}
                Ok(_) => {
                    return Err(format!(
                        "{address}, which has promised another member to wait for it"
                    ));
                }
                Err(e) => return Err(format!("an answer of {address} ({e})")),
            }
        }
        if began.elapsed() > FORMING {
            return Err("faster answers: those so far came too late".to_owned());
        }
        Ok(())
    }

    async fn ask_all(&self, question: &Request) -> Vec<(String, Result<(NodeId, Standing)>)> {
        let mut asked = tokio::task::JoinSet::new();
        for address in self.join.clone() {
            let (peers, question) = (self.peers.clone(), question.clone());
            asked.spawn(async move {
                let answer = peers.ask(&address, question, QUESTION).await;
                let standing = answer.and_then(|(node, reply)| match reply {
                    Reply::Standing(standing) => Ok((node, standing)),
                    other => Err(other.unexpected()),
                });
                (address, standing)
            });
        }
        asked.join_all().await
    }

    /// Forms a cluster of this node alone.
    async fn form(&self) -> Result<()> {
        let group = entropy::random().0;
        self.data.reach(Stage::Forming(group))?;
        self.set_group(group);
        let raft = self.raft();
        let place = Place { address: self.me.address.clone() };
        let members = BTreeMap::from([(self.me.node.0, place)]);
        let failed = |e: &dyn std::fmt::Display| {
            Error::with(Kind::Internal, format!("the cluster cannot be formed: {e}"))
        };
        raft.initialize(members).await.map_err(|e| failed(&e))?;
        let config = self.me.config.clone();
        self.insist(Command::Form(config, group), |state| state.config().is_some()).await?;
        self.data.reach(Stage::Member(group))?;
        tracing::info!(cluster = %self.me.cluster, "formed a new cluster");
        Ok(())
    }

    async fn join_group(&self, group: u64, line: &mut Line<'_>) -> Result<()> {
        self.data.reach(Stage::Joining(group))?;
        self.set_group(group);
        loop {
            match self.ask_to_join(group).await {
                Ok(()) => break,
                Err(e) if lasting(&e) => return Err(e),
                Err(e) => {
                    line.say(&format!("the leader of the cluster to take this member in ({e})"));
                }
            }
            tokio::time::sleep(self.timing.probe).await;
        }
        let mut applied = self.applying.applied.subscribe();
        let formed = || self.applying.state.read().config().is_some();
        while !formed() {
            if tokio::time::timeout(self.timing.waiting_line, applied.changed()).await.is_err() {
                line.say("the leader to send the control log");
            }
        }
        self.data.reach(Stage::Member(group))?;
        tracing::info!(cluster = %self.me.cluster, "joined the cluster");
        Ok(())
    }

    /// Goes on with a cluster that this node belonged to: the others may have moved, or have let it go.
    async fn go_on(&self, group: u64) -> Result<()> {
        for (_, answer) in self.ask_all(&Request::Probe { promise: false }).await {
            match answer {
                Ok((_, standing)) if standing.group.is_some_and(|other| other != group) => {
                    let text = format!(
                        "the data directory belongs to another life of cluster '{}' than {}. Move the \
                         directory away: the node then joins as a new one",
                        self.me.cluster, standing.address
                    );
                    return Err(Error::with(Kind::WrongCluster, text));
                }
                Err(e) if lasting(&e) => return Err(e),
                _ => {}
            }
        }
        let mut line = self.line();
        loop {
            match self.ask_to_join(group).await {
                Ok(()) => return Ok(()),
                Err(e) if lasting(&e) => return Err(e),
                Err(e) => line.say(&format!("a leader ({e})")),
            }
            tokio::time::sleep(self.timing.probe).await;
        }
    }

    /// Asks whoever leads to send the log here.
    async fn ask_to_join(&self, group: u64) -> Result<()> {
        let (node, address) = (self.me.node, self.me.address.clone());
        let request = Request::Join { group, node, address };
        let raft_leader = self.leader();
        if raft_leader == Some(node) {
            return self.take_in(node, self.me.address.clone()).await;
        }
        let mut places: Vec<_> =
            raft_leader.and_then(|leader| self.peers.address(leader)).into_iter().collect();
        places.extend(self.join.iter().cloned());
        let mut failure = Error::with(Kind::Disconnected, "none of the known members answers");
        let mut at = 0;
        while let Some(place) = places.get(at).cloned() {
            at += 1;
            match self.peers.ask(&place, request.clone(), 5 * QUESTION).await {
                Ok((other, _)) if other == node => {}
                Ok((_, Reply::Done)) => return Ok(()),
                Ok((_, Reply::NotLeader(Some((leader, address))))) => {
                    self.peers.learn(leader, &address);
                    if !places.contains(&address) {
                        places.insert(at, address);
                    }
                }
                Ok((_, Reply::NotLeader(None))) => {
                    failure = Error::with(Kind::NoQuorum, format!("{place} knows no leader"));
                }
                Ok((_, other)) => failure = other.unexpected(),
                Err(e) if lasting(&e) => return Err(e),
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }
}

/// Why an address does not answer, without saying again which one it is.
fn reason(address: &str, error: &Error) -> String {
    let whole = error.to_string();
    let detail = error.detail().and_then(|detail| detail.strip_prefix(address)?.strip_prefix(": "));
    detail.map_or(whole, ToOwned::to_owned)
}

/// Waiting does not help against these.
fn lasting(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::WrongCluster | Kind::WrongVersion | Kind::Invalid | Kind::Malformed
    )
}

impl ControlNode {
    /// What this node waits for, as long as it has not started.
    #[must_use]
    pub fn waiting(&self) -> Option<String> {
        self.waiting.lock().clone()
    }

    /// Says what this node waits for.
    pub(super) fn line(&self) -> Line<'_> {
        Line { every: self.timing.waiting_line, last: None, told: &self.waiting }
    }
}

/// Says what is waited for: to who asks at once, in the log now and then.
pub(super) struct Line<'n> {
    every: Duration,
    last: Option<Instant>,
    told: &'n Mutex<Option<String>>,
}

impl Line<'_> {
    pub(super) fn say(&mut self, what: &str) {
        *self.told.lock() = Some(what.to_owned());
        if self.last.is_none_or(|last| last.elapsed() >= self.every) {
            self.last = Some(Instant::now());
            tracing::info!("waiting for {what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(own: &str, answers: &[(&str, Answer)]) -> Step {
        decide(own, &answers.iter().map(|(a, b)| ((*a).to_owned(), b.clone())).collect())
    }

    #[test]
    fn whoever_is_formed_is_joined_and_else_the_first_address_forms_once_all_have_answered() {
        let waiting = |address: &str| Answer::Waiting(address.to_owned());
        let silent = || Answer::Silent("refused".to_owned());
        assert_eq!(step("a", &[("b", waiting("b")), ("c", waiting("c"))]), Step::Form);
        assert_eq!(
            step("b", &[("a", waiting("a")), ("c", waiting("c"))]),
            Step::Wait("a to form the cluster".to_owned())
        );
        assert_eq!(
            step("a", &[("b", silent()), ("c", waiting("c"))]),
            Step::Wait("an answer of b (refused)".to_owned())
        );
        assert_eq!(step("a", &[("b", silent()), ("c", Answer::Formed(7))]), Step::Join(7));
        // The name on the list is not the address that the member goes by.
        assert_eq!(
            step("b", &[("host", waiting("a"))]),
            Step::Wait("a to form the cluster".to_owned())
        );
        // Only itself on the list.
        assert_eq!(step("a", &[]), Step::Form);
    }

    #[test]
    fn a_promise_is_given_to_one_node_at_a_time() {
        let promises = Promises::default();
        assert!(promises.give(NodeId(1)) && promises.give(NodeId(1)));
        assert!(!promises.give(NodeId(2)));
        *promises.given.lock() = Instant::now()
            .checked_sub(PROMISE + Duration::from_secs(1))
            .map(|past| (NodeId(1), past));
        assert!(promises.give(NodeId(2)));
        assert!(!promises.give(NodeId(1)));
    }
}
