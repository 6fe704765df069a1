//! The objects of the grid as models.

pub(crate) mod map;
pub(crate) mod queue;
pub(crate) mod register;
