//! Breaks things by a seeded schedule, heals them, and waits until the members are well again.
//!
//! `fault` what can be broken and what that does to links · `plan` the schedule of a seed · `policy` what may be
//! broken at the same time · `execute` does it, with the clock · `report` what was done.

mod execute;
mod fault;
mod plan;
mod policy;
mod report;

pub use execute::{Nemesis, Patience};
pub use fault::{Fault, Kind};
pub use plan::{Conditions, Profile, Step, plan};
pub use policy::Policy;
pub use report::{Done, table};
