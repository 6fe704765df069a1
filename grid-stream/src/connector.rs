//! Sources, sinks and lookups: the ends of a pipeline.

pub mod callback;
pub mod collect;
pub mod csv;
pub mod file;
pub mod generate;
pub mod grid;
pub mod json;
pub mod lookup;
pub mod memory;
pub mod sink;
pub mod source;
