//! Any bytes as an operation: what is accepted is written again to the same meaning, and its keys and
//! entries are as many as it says.

use grid_core::op::{Op, OpCode, encode};

/// The entry. The first byte is the code.
pub(crate) fn run(bytes: &[u8]) {
    let Some((code, body)) = bytes.split_first() else { return };
    let Ok(op) = Op::decode(*code, body) else { return };
    match op {
        Op::MapGetAll(keys) => assert_eq!(keys.iter().count(), keys.count()),
        Op::MapPutAll(entries, _) => assert_eq!(entries.iter().count(), entries.count()),
        _ => {}
    }
    let mut again = Vec::new();
    let coded = encode(&op, &mut again);
    assert_eq!(OpCode::from_code(*code), Some(coded));
    let mut third = Vec::new();
    assert_eq!(encode(&Op::decode(*code, &again).unwrap(), &mut third), coded);
    assert_eq!(again, third);
    assert!(again.len() <= body.len(), "nothing is added");
}
