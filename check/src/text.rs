//! Histories as text: a line per operation.
//!
//! ```text
//! history register -              # the model, and the state in the beginning
//! 3 17 42 put 5 -> 4              # process, invoked at, answered at, input -> output
//! 4 18 ? set 6                    # no answer: it may take effect later, or never
//! 5 20 ! set 7                    # known to have had no effect
//! @user-12 3 50 61 get -> 6       # an operation on a key; each key has a history of its own
//! ```
//!
//! The first line may be missing: the model is then the reader's, in its initial state. Empty lines
//! and what follows a `#` are skipped. Lines may be in any order: operations can be written as they
//! end. One that is not written never was: those that get no answer must be, too.
//!
//! | model | state | operations and answers |
//! |---|---|---|
//! | `register` | value | `get -> V`, `contains -> B`, `put N -> V`, `set N -> ok`, `put-if-absent N -> V`, `replace N -> V`, `remove -> V`, `delete -> ok`, `cas V V -> B`, `add I -> N` |
//! | `map` | entries | `K: ` and what a register has, `put-all E -> ok`, `size -> N`, `scan -> E`, `clear -> ok` |
//! | `queue` | capacity and items | `offer N -> B`, `poll -> V`, `peek -> V`, `size -> N`, `clear -> ok` |
//!
//! N, K: numbers up to 2^64 - 1 · I: a number that may be negative · V: a number, or `-` for none · B: `true` or
//! `false` · E: entries `K=N,K=N`, or `-` for none · capacity: V, `-` for unbounded.

mod read;
mod words;
mod write;

pub use self::read::{ReadError, Reader, read};
pub use self::words::Words;
pub use self::write::{Writer, write};

use crate::model::Model;

/// A model whose histories can be written and read. The `Debug` forms of inputs and outputs are
/// their text; they contain no `#`, and no ` -> `.
pub trait TextModel: Model {
    /// The name of the model: one word.
    const NAME: &'static str;

    /// A state in words.
    fn write_state(state: &Self::State) -> String;

    /// The state in these words; the initial one if there are none.
    ///
    /// # Errors
    /// What is wrong with the words.
    fn read_state(words: &mut Words<'_>) -> Result<Self::State, String>;

    /// The operation in these words.
    ///
    /// # Errors
    /// What is wrong with the words.
    fn read_input(words: &mut Words<'_>) -> Result<Self::In, String>;

    /// The answer to `input` in these words.
    ///
    /// # Errors
    /// What is wrong with the words.
    fn read_output(input: &Self::In, words: &mut Words<'_>) -> Result<Self::Out, String>;
}
