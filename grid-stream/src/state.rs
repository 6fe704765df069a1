//! Keyed state: which slot a key has, and what is in the slots.

pub(crate) mod panes;
pub(crate) mod table;
