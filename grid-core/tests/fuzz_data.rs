//! The fuzz target `data`, over random bytes and over damaged encodings.

#[path = "../../fuzz/entries/data.rs"]
mod data;

use self::data::{Choice, Node, Tree, every_type, run};
use grid_core::data::{Blob, BlobBuf, Encode, Json, Serde};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Bytes as they occur in payloads: mostly small.
fn bytes(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0u8), 0u8..8, any::<u8>()], 0..len)
}

fn blob<T: Encode>(value: T) -> BlobBuf {
    BlobBuf::of(&value).expect("encodes")
}

/// One blob of each composite layout.
fn samples() -> Vec<BlobBuf> {
    let leaf = || Tree { label: Some("leaf".into()), ..Tree::default() };
    let map = BTreeMap::from([(1, Box::new(leaf())), (2, Box::default())]);
    let tree = || Tree { label: None, children: vec![leaf()], choice: Choice::Pair(1, 2.0) };
    let node = Node::Named {
        name: "name".into(),
        nodes: vec![Node::Pair(Node::Leaf.into(), Some(Node::Leaf.into()))],
        of: HashMap::from([(1, (-1, 'c'))]),
    };
    vec![
        blob(Tree { choice: Choice::Map { of: map }, ..tree() }),
        blob(vec![tree(), leaf()]),
        blob(Json(&node)),
        blob(Serde(node)),
        blob(Serde(vec![(); 5])),
        blob(vec!["a".to_string(), "bc".to_string()]),
        blob(("a".to_string(), Some('b'), [1u8, 2])),
        blob(Some(None::<u8>)),
        blob(vec![vec![()], vec![]]),
        blob(HashSet::from([1u8, 2, 3])),
        blob(HashMap::from([(1u16, "a".to_string()), (2, "b".to_string())])),
        blob(BTreeMap::from([("a".to_string(), vec![1u32, 2])])),
    ]
}

#[test]
fn samples_are_read() {
    for sample in samples() {
        every_type(sample.as_blob());
    }
}

proptest! {
    #[test]
    fn any_bytes_as_any_type(bytes in bytes(64)) {
        run(&bytes);
    }

    #[test]
    fn damaged_encodings_as_any_type(
        sample in prop::sample::select(samples()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        more in bytes(8),
    ) {
        let mut payload = sample.payload.to_vec();
        for (at, byte) in damage {
            let at = at.index(payload.len().max(1));
            if let Some(place) = payload.get_mut(at) {
                *place = byte;
            }
        }
        if let Some(cut) = cut {
            payload.truncate(cut.index(payload.len() + 1));
        }
        payload.extend_from_slice(&more);
        every_type(Blob::new(sample.tag, &payload));
    }
}
