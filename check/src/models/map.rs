//! Some keys of one partition, for operations that concern them all.

mod text;

use crate::Value;
use crate::model::Model;
use crate::models::register::{Register, RegisterIn, RegisterOut};

/// Keys of one partition that are read together. The state is the entries, by key. Keep them few: a
/// state is copied with every write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapOfKeys {}

/// An operation on some keys.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum MapIn {
    /// An operation on one key: [`MapOut::Key`].
    Key(u64, RegisterIn),
    /// Writes entries, all at once: [`MapOut::Done`].
    PutAll(Vec<(u64, Value)>),
    /// The number of entries: [`MapOut::Size`].
    Size,
    /// All entries at one time: [`MapOut::Entries`].
    Scan,
    /// Removes all entries: [`MapOut::Done`].
    Clear,
}

/// An answer of some keys.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum MapOut {
    /// The answer of one key.
    Key(RegisterOut),
    /// A number of entries.
    Size(u64),
    /// Entries, by key.
    Entries(Vec<(u64, Value)>),
    /// It is done; there is nothing to tell.
    Done,
}

/// Entries, by key.
type Entries = Vec<(u64, Value)>;

impl Model for MapOfKeys {
    type State = Entries;
    type In = MapIn;
    type Out = MapOut;

    fn init() -> Entries {
        Vec::new()
    }

    fn step(state: &Entries, input: &MapIn, output: Option<&MapOut>) -> Option<Entries> {
        match (input, output) {
            (MapIn::Key(key, input), Some(MapOut::Key(output))) => {
                step_key(state, *key, input, Some(output))
            }
            (MapIn::Key(key, input), None) => step_key(state, *key, input, None),
            (MapIn::PutAll(entries), Some(MapOut::Done) | None) => {
                let mut next = state.clone();
                for &(key, value) in entries {
                    write(&mut next, key, Some(value));
                }
                Some(next)
            }
            (MapIn::Size, Some(MapOut::Size(size))) => {
                (*size == state.len() as u64).then(|| state.clone())
            }
            (MapIn::Scan, Some(MapOut::Entries(found))) => (found == state).then(|| state.clone()),
            (MapIn::Size | MapIn::Scan, None) => Some(state.clone()),
            (MapIn::Clear, Some(MapOut::Done) | None) => Some(Vec::new()),
            (
                MapIn::Key(..) | MapIn::PutAll(_) | MapIn::Size | MapIn::Scan | MapIn::Clear,
                Some(_),
            ) => None,
        }
    }

    fn reads(input: &MapIn, output: Option<&MapOut>) -> bool {
        match (input, output) {
            (MapIn::Key(_, input), Some(MapOut::Key(output))) => {
                Register::reads(input, Some(output))
            }
            (MapIn::Key(_, input), _) => Register::reads(input, None),
            (MapIn::Size | MapIn::Scan, _) => true,
            (MapIn::PutAll(_) | MapIn::Clear, _) => false,
        }
    }
}

fn step_key(
    state: &Entries,
    key: u64,
    input: &RegisterIn,
    output: Option<&RegisterOut>,
) -> Option<Entries> {
    let place = state.binary_search_by_key(&key, |entry| entry.0);
    let value = place.ok().map(|place| state[place].1);
    let next = Register::step(&value, input, output)?;
    let mut entries = state.clone();
    if next != value {
        write(&mut entries, key, next);
    }
    Some(entries)
}

fn write(entries: &mut Entries, key: u64, value: Option<Value>) {
    match (entries.binary_search_by_key(&key, |entry| entry.0), value) {
        (Ok(place), Some(value)) => entries[place].1 = value,
        (Ok(place), None) => {
            entries.remove(place);
        }
        (Err(place), Some(value)) => entries.insert(place, (key, value)),
        (Err(_), None) => {}
    }
}
