//! Histories as text, there and back, and what is said of text that is no history.
#![allow(clippy::unwrap_used)]

use grid_check::text::{Reader, TextModel, Writer, read, write};
use grid_check::{
    History, MapIn, MapOfKeys, MapOut, Outcome, Queue, QueueIn, QueueOut, QueueState, Register,
    RegisterIn, RegisterOut,
};
use proptest::prelude::*;

fn written<M: TextModel>(history: &History<M>) -> String {
    let mut out = Vec::new();
    write(&mut out, history).unwrap();
    String::from_utf8(out).unwrap()
}

fn problem<M: TextModel>(text: &str) -> String {
    read::<M>(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_line_per_operation() {
    let mut history = History::<Register>::starting_at(Some(4));
    let put = history.invoke(3, RegisterIn::Put(5), 17);
    history.ret(put, RegisterOut::Value(Some(4)), 42);
    let cas = RegisterIn::CompareAndSet { expected: Some(5), new: None };
    let cas = history.invoke(3, cas, 43);
    history.ret(cas, RegisterOut::Flag(true), 44);
    history.invoke(4, RegisterIn::Add(-7), 18);
    let delete = history.invoke(5, RegisterIn::Delete, 20);
    history.never(delete);
    assert_eq!(
        written(&history),
        "history register 4\n\
         3 17 42 put 5 -> 4\n\
         3 43 44 cas 5 - -> true\n\
         4 18 ? add -7\n\
         5 20 ! delete\n"
    );
}

#[test]
fn keys_have_histories_of_their_own() {
    let mut writer = Writer::<Queue, _>::new(Vec::new(), &QueueState::bounded(3)).unwrap();
    let mut history = History::<Queue>::new();
    let offer = history.invoke(1, QueueIn::Offer(9), 5);
    history.ret(offer, QueueOut::Flag(true), 6);
    writer.op("a:1", history.op(offer)).unwrap();
    writer.op("b", history.op(offer)).unwrap();
    assert!(writer.op("a b", history.op(offer)).is_err());
    assert!(writer.op("a#b", history.op(offer)).is_err());
    let text = String::from_utf8(writer.into_inner()).unwrap();
    assert_eq!(text, "history queue 3\n@a:1 1 5 6 offer 9 -> true\n@b 1 5 6 offer 9 -> true\n");
    let histories = read::<Queue>(text.as_bytes()).unwrap();
    assert_eq!(histories.keys().collect::<Vec<_>>(), ["a:1", "b"]);
    assert_eq!(histories["b"].initial().capacity(), 3);
}

#[test]
fn comments_and_empty_lines_are_skipped() {
    let text = "# a run\n\n  history map 1=10 # two members\n1 0 1 size -> 1 # one\n\n";
    assert_eq!(Reader::new(text.as_bytes()).unwrap().model(), Some("map"));
    let histories = read::<MapOfKeys>(text.as_bytes()).unwrap();
    assert_eq!(histories[""].len(), 1);
    assert_eq!(histories[""].initial(), &[(1, 10)]);
}

#[test]
fn a_text_may_leave_the_model_to_its_reader() {
    let reader = Reader::new("1 0 1 poll -> -".as_bytes()).unwrap();
    assert_eq!(reader.model(), None);
    assert_eq!(reader.histories::<Queue>().unwrap()[""].len(), 1);
    assert!(read::<Queue>("".as_bytes()).unwrap().is_empty());
}

#[test]
fn errors_say_the_line_and_what_was_expected() {
    let register = problem::<Register>;
    for (text, expected) in [
        ("history queue -", "line 1: a history of a queue, not of a register"),
        ("history", "line 1: expected the name of a model, found the end of the line"),
        ("history register x", "line 1: expected a number or `-`, found `x`"),
        ("history register 1 2", "line 1: expected the end of the line, found `2`"),
        ("\nx 0 1 get -> -", "line 2: process: expected a number, found `x`"),
        ("1", "line 1: expected the time of the invocation, found the end of the line"),
        ("1 x 1 get -> -", "line 1: expected a time, found `x`"),
        ("1 0 x get -> -", "line 1: expected a time, found `x`"),
        ("1 0", "line 1: expected the time of the answer, `?` or `!`, found the end of the line"),
        ("1 0 1", "line 1: expected an operation, found the end of the line"),
        ("1 0 1 get", "line 1: no ` -> ` and answer, but a time of the answer"),
        ("1 0 ? get -> 5", "line 1: an answer, but `?` for its time"),
        ("1 5 4 get -> 5", "line 1: answered at 4, before it was invoked at 5"),
        ("1 0 1 put -> 5", "line 1: expected a number, found the end of the line"),
        ("1 0 1 put -3 -> 5", "line 1: expected a number, found `-3`"),
        ("1 0 1 put 3 4 -> 5", "line 1: expected the end of the line, found `4`"),
        ("1 0 1 put 3 -> ok", "line 1: expected a number or `-`, found `ok`"),
        ("1 0 1 set 3 -> 5", "line 1: expected `ok`, found `5`"),
        ("1 0 1 cas 3 4 -> 5", "line 1: expected `true` or `false`, found `5`"),
        (
            "1 0 1 put 18446744073709551616 -> 5",
            "line 1: expected a number, found `18446744073709551616`",
        ),
        (
            "1 0 9223372036854775808 get -> 5",
            "line 1: time 9223372036854775808 is over the latest, 9223372036854775807",
        ),
    ] {
        assert_eq!(register(text), expected, "{text}");
    }
    assert!(
        register("1 0 1 poll -> -").starts_with("line 1: unknown operation `poll`: a register")
    );
    assert!(problem::<Queue>("1 0 1 get -> -").contains("unknown operation `get`: a queue has"));
    assert!(problem::<MapOfKeys>("1 0 1 get -> -").contains("unknown operation `get`: a map has"));
    assert_eq!(
        problem::<MapOfKeys>("1 0 1 scan -> 1:2"),
        "line 1: expected entries like `1=10,2=20` or `-`, found `1:2`"
    );
    assert_eq!(
        problem::<MapOfKeys>("history map 2=1,1=1"),
        "line 1: the keys of a state are in ascending order"
    );
    assert_eq!(
        problem::<Queue>("history queue 1 5 6"),
        "line 1: a queue for 1 items cannot have 2"
    );
}

#[test]
fn bytes_that_are_no_text_or_no_lines_are_refused() {
    let error = read::<Register>(&b"1 0 ? get\n\xff\n"[..]).unwrap_err();
    assert_eq!((error.line(), error.to_string()), (2, "line 2: not UTF-8 text".into()));
    let long = vec![b'1'; 3 << 20];
    let error = read::<Register>(&long[..]).unwrap_err();
    assert_eq!(error.to_string(), "line 1: longer than 1048576 bytes");
}

fn register_in() -> impl Strategy<Value = RegisterIn> {
    let value = any::<u64>();
    let maybe = proptest::option::of(any::<u64>());
    prop_oneof![
        Just(RegisterIn::Get),
        Just(RegisterIn::Contains),
        value.prop_map(RegisterIn::Put),
        value.prop_map(RegisterIn::Set),
        value.prop_map(RegisterIn::PutIfAbsent),
        value.prop_map(RegisterIn::Replace),
        Just(RegisterIn::Remove),
        Just(RegisterIn::Delete),
        (maybe.clone(), maybe)
            .prop_map(|(expected, new)| RegisterIn::CompareAndSet { expected, new }),
        any::<i64>().prop_map(RegisterIn::Add),
    ]
}

fn register_out(input: &RegisterIn, value: Option<u64>) -> RegisterOut {
    match input {
        RegisterIn::Set(_) | RegisterIn::Delete => RegisterOut::Done,
        RegisterIn::Contains | RegisterIn::CompareAndSet { .. } => {
            RegisterOut::Flag(value.is_some())
        }
        RegisterIn::Add(_) => RegisterOut::Value(value.or(Some(3))),
        _ => RegisterOut::Value(value),
    }
}

fn map_op() -> impl Strategy<Value = (MapIn, MapOut)> {
    let entries = proptest::collection::vec(any::<(u64, u64)>(), 0..4);
    prop_oneof![
        (any::<u64>(), register_in(), any::<Option<u64>>()).prop_map(|(key, input, value)| {
            (MapIn::Key(key, input), MapOut::Key(register_out(&input, value)))
        }),
        entries.clone().prop_map(|entries| (MapIn::PutAll(entries), MapOut::Done)),
        any::<u64>().prop_map(|size| (MapIn::Size, MapOut::Size(size))),
        entries.prop_map(|entries| (MapIn::Scan, MapOut::Entries(entries))),
        Just((MapIn::Clear, MapOut::Done)),
    ]
}

fn queue_op() -> impl Strategy<Value = (QueueIn, QueueOut)> {
    prop_oneof![
        (any::<u64>(), any::<bool>())
            .prop_map(|(item, room)| (QueueIn::Offer(item), QueueOut::Flag(room))),
        any::<Option<u64>>().prop_map(|item| (QueueIn::Poll, QueueOut::Item(item))),
        any::<Option<u64>>().prop_map(|item| (QueueIn::Peek, QueueOut::Item(item))),
        any::<u64>().prop_map(|size| (QueueIn::Size, QueueOut::Size(size))),
        Just((QueueIn::Clear, QueueOut::Done)),
    ]
}

/// What is written is read as it was.
fn returns<M: TextModel>(ops: Vec<(M::In, M::Out, u8, u32)>) -> Result<(), TestCaseError>
where
    M::In: PartialEq,
    M::Out: PartialEq,
{
    let mut history = History::<M>::new();
    for (input, output, fate, process) in ops {
        let id = history.invoke(process, input, u64::from(process));
        match fate % 4 {
            0 => history.maybe(id),
            1 => history.never(id),
            _ => history.ret(id, output, u64::from(process) + u64::from(fate)),
        }
    }
    let text = written(&history);
    let read = read::<M>(text.as_bytes()).unwrap();
    prop_assert_eq!(read.len(), usize::from(!history.is_empty()));
    for found in read.values() {
        prop_assert_eq!(found.ops(), history.ops());
        prop_assert!(
            found
                .ops()
                .iter()
                .all(|op| *op.outcome() != Outcome::NotApplied || op.returned().is_none())
        );
        prop_assert_eq!(written(found), text.clone());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn registers_return(
        ops in proptest::collection::vec(
            (register_in(), any::<Option<u64>>(), any::<u8>(), any::<u32>()), 0..10),
    ) {
        let ops = ops.into_iter().map(|(input, value, fate, process)| {
            (input, register_out(&input, value), fate, process)
        });
        returns::<Register>(ops.collect())?;
    }

    #[test]
    fn maps_return(
        ops in proptest::collection::vec((map_op(), any::<u8>(), any::<u32>()), 0..10),
    ) {
        let ops = ops.into_iter().map(|((input, output), fate, process)| {
            (input, output, fate, process)
        });
        returns::<MapOfKeys>(ops.collect())?;
    }

    #[test]
    fn queues_return(
        ops in proptest::collection::vec((queue_op(), any::<u8>(), any::<u32>()), 0..10),
    ) {
        let ops = ops.into_iter().map(|((input, output), fate, process)| {
            (input, output, fate, process)
        });
        returns::<Queue>(ops.collect())?;
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read::<Register>(&bytes[..]);
        let _ = read::<MapOfKeys>(&bytes[..]);
        let _ = read::<Queue>(&bytes[..]);
    }

    #[test]
    fn any_words_are_read_or_refused(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "history", "register", "map", "queue", "@k", "1", "0", "5", "?", "!", "->", "-",
                "get", "put", "cas", "add", "offer", "poll", "scan", "put-all", "1=2", "3:", "ok",
                "true", "#", "\n", "99999999999999999999",
            ]),
            0..40,
        ),
    ) {
        let text = words.join(" ");
        let _ = read::<Register>(text.as_bytes());
        let _ = read::<MapOfKeys>(text.as_bytes());
        let _ = read::<Queue>(text.as_bytes());
    }
}
