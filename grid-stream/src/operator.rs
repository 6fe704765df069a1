//! The operators, one a file: what the plan holds, what runs, and how it takes an item.

mod enrich;
mod filter;
mod filter_map;
mod flat_map;
mod inspect;
mod map;
pub(crate) mod process;
mod timestamps;
pub(crate) mod window;

pub use enrich::Enrich;
pub use filter::Filter;
pub use filter_map::FilterMap;
pub use flat_map::FlatMap;
pub use inspect::Inspect;
pub use map::Map;
pub use process::ProcessFlow;
pub use timestamps::Timestamps;
pub use window::run::WindowFlow;
