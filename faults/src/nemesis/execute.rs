//! Executes a schedule, with the clock.

use super::fault::{Fault, Kind};
use super::plan::Step;
use super::policy::{Policy, Wait};
use super::report::Done;
use crate::cluster::{Cluster, Health};
use crate::detours::Detours;
use crate::error::{Error, Result};
use crate::history::Clock;
use crate::log::Log;
use crate::net::{Place, Weather};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(20);
/// How often members are asked how they are.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How long members may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From their start until they are ready.
    pub ready: Duration,
    /// Until the members are safe after everything was healed.
    pub safe: Duration,
    /// From SIGTERM until they have ended.
    pub stop: Duration,
}

#[derive(Debug)]
struct Active {
    number: usize,
    fault: Fault,
    begun: u64,
    until: Instant,
    /// The target was started again at this time and is not ready yet.
    returning: Option<Instant>,
    restarted: bool,
}

/// Breaks and heals the members of a run.
pub struct Nemesis<'r> {
    cluster: &'r mut Cluster,
    policy: Policy,
    patience: Patience,
    safe_page: &'r str,
    clock: Clock,
    log: &'r Log,
    active: Vec<Active>,
    done: Vec<Done>,
    asked: Instant,
}

impl<'r> Nemesis<'r> {
    /// Nothing is broken yet. All members have to run. On their page `/health/SAFE_PAGE` they say whether one
    /// of them may be killed.
    pub fn new(
        cluster: &'r mut Cluster,
        policy: Policy,
        patience: Patience,
        safe_page: &'r str,
        clock: Clock,
        log: &'r Log,
    ) -> Self {
        let asked = Instant::now();
        let (active, done) = (Vec::new(), Vec::new());
        Nemesis { cluster, policy, patience, safe_page, clock, log, active, done, asked }
    }

    /// What was done so far.
    #[must_use]
    pub fn into_done(self) -> Vec<Done> {
        self.done
    }

    /// Goes through the schedule while `go_on`, which is asked many times a second, then heals everything.
    ///
    /// # Errors
    /// If a member ends by itself, or is not ready or safe in time, or the harness fails. What is broken
    /// then stays so until [`Nemesis::heal`].
    pub fn run(&mut self, steps: &[Step], mut go_on: impl FnMut() -> bool) -> Result<()> {
        for (number, step) in (1..).zip(steps) {
            if !self.pause(step.wait, &mut go_on)? || !self.admit(step, &mut go_on)? {
                return Ok(());
            }
            self.begin(number, step.fault)?;
        }
        while !self.active.is_empty() && go_on() {
            self.tick()?;
        }
        Ok(())
    }

    /// Waits this long; false if it was not to go on.
    fn pause(&mut self, wait: Duration, go_on: &mut impl FnMut() -> bool) -> Result<bool> {
        let next = Instant::now() + wait;
        while Instant::now() < next {
            if !go_on() {
                return Ok(false);
            }
            self.tick()?;
        }
        Ok(true)
    }

    /// Waits until the policy allows a fault; false if it was not to go on. Where something had to be healed
    /// first, most faults leave the members some time after that, others strike at once.
    fn admit(&mut self, step: &Step, go_on: &mut impl FnMut() -> bool) -> Result<bool> {
        let mut had_to_wait = false;
        loop {
            let active: Vec<Fault> = self.active.iter().map(|active| active.fault).collect();
            match self.policy.admits(&active, &step.fault) {
                Wait::Heal => {
                    had_to_wait = true;
                    if !go_on() {
                        return Ok(false);
                    }
                    self.tick()?;
                }
                Wait::No | Wait::Safe if had_to_wait && !step.fault.luck.is_multiple_of(4) => {
                    had_to_wait = false;
                    if !self.pause(step.wait, go_on)? {
                        return Ok(false);
                    }
                }
                Wait::No => return Ok(true),
                Wait::Safe => return self.wait_safe(go_on),
            }
        }
    }

    /// Ends all that is broken now, starts what does not run, and waits until all members are ready and
    /// safe.
    ///
    /// # Errors
    /// If they are not in time.
    pub fn heal(&mut self) -> Result<()> {
        let now = Instant::now();
        self.active.iter_mut().for_each(|active| active.until = now);
        while !self.active.is_empty() {
            self.tick()?;
        }
        for member in 0..self.policy.members {
            self.cluster.start(member)?;
        }
        let all: Vec<usize> = (0..self.policy.members).collect();
        let ready = self.cluster.wait("ready", &all, self.patience.ready)?;
        self.wait_safe(&mut || true)?;
        self.log.say(format_args!(
            "all is healed; members are ready ({} ms) and safe",
            ready.as_millis()
        ));
        Ok(())
    }

    /// Waits until all members that are up say that they are safe; false if it was not to go on.
    fn wait_safe(&mut self, go_on: &mut impl FnMut() -> bool) -> Result<bool> {
        let page = self.safe_page;
        let began = Instant::now();
        loop {
            let down = |member: &usize| self.active.iter().any(|active| active.downs(*member));
            let up = (0..self.policy.members).filter(|member| !down(member));
            let health = up.map(|member| (member, self.cluster.health(member, page)));
            let unwell: Vec<_> = health.filter(|(_, health)| *health != Health::Well).collect();
            if unwell.is_empty() {
                let waited = began.elapsed();
                if waited > Duration::from_secs(1) {
                    self.log.say(format_args!("{page} after {:.1} s", waited.as_secs_f64()));
                }
                return Ok(true);
            }
            if began.elapsed() > self.patience.safe {
                let said =
                    unwell.iter().map(|(m, health)| format!("{}: {health}", Place::Member(*m)));
                let what = format!("the members are not {page} after {:?}", self.patience.safe);
                return Err(Error::failed(what, said.collect::<Vec<_>>().join("; ")));
            }
            let again = Instant::now() + ASK_EVERY;
            while Instant::now() < again {
                if !go_on() {
                    return Ok(false);
                }
                self.tick()?;
            }
        }
    }

    /// Sleeps a little, looks after members and ends what has lasted long enough.
    fn tick(&mut self) -> Result<()> {
        std::thread::sleep(TICK);
        for (member, how) in self.cluster.deaths() {
            let excused = |active: &Active| {
                active.fault.kind == Kind::DiskFull && active.fault.target == member
            };
            let name = Place::Member(member);
            if !self.active.iter().any(excused) {
                return Err(Error::failed(name, how));
            }
            self.log.say(format_args!("{name} for want of room: {how}"));
        }
        let now = Instant::now();
        let mut weather_changes = false;
        for index in (0..self.active.len()).rev() {
            let Some(active) = self.active.get(index) else { continue };
            let is_over = match active.returning {
                None if active.until > now => false,
                None => {
                    weather_changes |= active.fault.kind.is_of_network();
                    !self.end(index)?
                }
                Some(since) => self.has_returned(index, since)?,
            };
            if is_over {
                let active = self.active.remove(index);
                self.finish(&active);
            }
        }
        if weather_changes { self.apply() } else { Ok(()) }
    }

    fn begin(&mut self, number: usize, fault: Fault) -> Result<()> {
        let begun = self.clock.now();
        self.log.say(format_args!("#{number} {}", fault.describe(self.policy.members)));
        if let Some(member) = self.cluster.member(fault.target) {
            match fault.kind {
                Kind::Kill | Kind::Restart => member.process.kill()?,
                Kind::Pause => member.process.pause()?,
                Kind::DiskFull => drop(member.disk.fill()?),
                Kind::Terminate => {
                    let status = member.process.terminate(self.patience.stop)?;
                    if let Some(status) = status.filter(|status| !status.success()) {
                        let name = Place::Member(fault.target);
                        let what = format!("{name} was stopped with SIGTERM");
                        return Err(Error::failed(what, status));
                    }
                }
                _ => {}
            }
        }
        if fault.kind == Kind::Reset {
            let detours = self.cluster.detours().into_iter().flat_map(Detours::handles);
            detours.filter(|(link, _)| fault.concerns(**link)).for_each(|(_, h)| h.reset());
        }
        let until = Instant::now() + fault.lasts;
        let (returning, restarted) = (None, false);
        self.active.push(Active { number, fault, begun, until, returning, restarted });
        if fault.kind.is_of_network() { self.apply() } else { Ok(()) }
    }

    /// Ends a fault; true if its target has to return before it is over.
    fn end(&mut self, index: usize) -> Result<bool> {
        let Some(active) = self.active.get_mut(index) else { return Ok(false) };
        let target = active.fault.target;
        match active.fault.kind {
            Kind::Pause => {
                let member = self.cluster.member(target);
                member.map_or(Ok(()), |member| member.process.resume())?;
                return Ok(false);
            }
            Kind::DiskFull => {
                let member = self.cluster.member(target);
                member.as_ref().map_or(Ok(()), |member| member.disk.free())?;
                if member.is_some_and(|member| member.process.id().is_some()) {
                    return Ok(false);
                }
            }
            kind if !kind.is_lethal() => return Ok(false),
            _ => {}
        }
        self.cluster.start(target)?;
        (active.returning, active.restarted) = (Some(Instant::now()), true);
        Ok(true)
    }

    fn has_returned(&mut self, index: usize, since: Instant) -> Result<bool> {
        if self.asked.elapsed() < ASK_EVERY {
            return Ok(false);
        }
        self.asked = Instant::now();
        let target = self.active.get(index).map_or(0, |active| active.fault.target);
        let health = self.cluster.health(target, "ready");
        if health == Health::Well {
            return Ok(true);
        }
        // What else is wrong with it keeps it from returning, and that ends by itself.
        let hindered = self
            .active
            .iter()
            .enumerate()
            .any(|(other, active)| other != index && active.fault.target == target);
        if since.elapsed() > self.patience.ready && !hindered {
            let what = format!(
                "{} is not ready {:?} after it was started",
                Place::Member(target),
                self.patience.ready
            );
            return Err(Error::failed(what, health));
        }
        Ok(false)
    }

    fn finish(&mut self, active: &Active) {
        let over = self.clock.now();
        let Active { number, fault, begun, restarted, .. } = *active;
        let back = active.returning.map(|since| since.elapsed());
        let name = Place::Member(fault.target);
        match back {
            Some(back) => {
                let ms = back.as_millis();
                self.log
                    .say(format_args!("#{number} over: {name} is ready {ms} ms after its start"));
            }
            None => self.log.say(format_args!("#{number} over: {} {name}", fault.kind)),
        }
        self.done.push(Done { number, fault, begun, over, restarted, back });
    }

    /// Makes network and proxies follow what is broken now.
    fn apply(&mut self) -> Result<()> {
        let now = Instant::now();
        let broken = self.active.iter().filter(|active| active.until > now);
        let broken: Vec<Fault> = broken.map(|active| active.fault).collect();
        let mut weather = Weather::default();
        broken.iter().for_each(|fault| fault.add_to(&mut weather, self.policy.members));
        if let Some(net) = self.cluster.net() {
            net.apply(&weather)?;
        }
        if let Some(detours) = self.cluster.detours() {
            let links: Vec<_> = detours.handles().keys().copied().collect();
            let mut troubles = BTreeMap::new();
            broken.iter().for_each(|fault| fault.add_troubles(&links, &mut troubles));
            for (link, handle) in detours.handles() {
                for direction in crate::proxy::Direction::BOTH {
                    let trouble = troubles.get(&(*link, direction)).copied().unwrap_or_default();
                    handle.set(direction, trouble);
                }
            }
        }
        Ok(())
    }
}

impl Active {
    /// Whether a member cannot be asked while this lasts.
    fn downs(&self, member: usize) -> bool {
        self.fault.target == member && self.fault.kind.is_of_process()
    }
}
