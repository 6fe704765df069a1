//! `Serde` and `Json`.

use super::{blob, check_error, check_round_trip, encoded};
use crate::data::{Blob, BlobBuf, Json, Serde, TypeTag, postcard};
use crate::error::Kind;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
enum Node {
    Leaf,
    Number(i64),
    Pair(Box<Node>, Option<Box<Node>>),
    Named { name: String, nodes: Vec<Node>, of: BTreeMap<u16, char> },
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![Just(Node::Leaf), any::<i64>().prop_map(Node::Number)];
    leaf.prop_recursive(4, 16, 3, |inner| {
        let nodes = prop::collection::vec(inner.clone(), 0..3);
        prop_oneof![
            (inner.clone(), prop::option::of(inner))
                .prop_map(|(a, b)| Node::Pair(a.into(), b.map(Into::into))),
            (any::<String>(), nodes, any::<BTreeMap<u16, char>>())
                .prop_map(|(name, nodes, of)| Node::Named { name, nodes, of }),
        ]
    })
}

type Scalars = ((i8, i16, i32, i64, i128, u8, u16, u32), (u64, u128, bool, char, f32, f64, ()));

proptest! {
    #[test]
    fn the_format_is_that_of_the_postcard_crate(node in node(), scalars in any::<Scalars>()) {
        let mut out = vec![];
        postcard::to_vec(&(&node, &scalars), &mut out).expect("encodes");
        prop_assert_eq!(&out, &::postcard::to_stdvec(&(&node, &scalars)).unwrap());
        prop_assert_eq!(postcard::from_slice::<(Node, Scalars)>(&out), Ok((node, scalars)));
    }

    #[test]
    fn any_bytes_are_read_as_the_postcard_crate_reads_them(
        bytes in prop::collection::vec(prop_oneof![0u8..5, any::<u8>()], 0..40),
    ) {
        let theirs = ::postcard::take_from_bytes::<(Node, i16, u128)>(&bytes)
            .ok().filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value);
        prop_assert_eq!(postcard::from_slice(&bytes).ok(), theirs);
    }

    #[test]
    fn json_keeps_floats(float in any::<f64>().prop_filter("finite", |float| float.is_finite())) {
        check_round_trip(&Json(float));
        check_round_trip(&Json(serde_json::json!([float])));
    }

    #[test]
    fn serde_types_are_read(node in node(), map in any::<HashMap<String, Option<f32>>>()) {
        check_round_trip(&Serde(node.clone()));
        check_round_trip(&Json(node));
        check_round_trip(&Serde(map));
    }
}

mod renamed {
    use super::{Deserialize, Serialize};
    #[derive(Serialize, Deserialize, Debug)]
    #[serde(rename = "Node")]
    pub(super) enum Same {
        Leaf,
        Number(i64),
        Pair(Box<Same>, Option<Box<Same>>),
        Named { name: String, nodes: Vec<Same>, of: super::BTreeMap<u16, char> },
    }
    #[derive(Serialize, Deserialize, Debug)]
    pub(super) enum Node {
        Leaf,
        Number(i64),
    }
    #[derive(Serialize, Deserialize, Debug)]
    pub(super) struct Id(pub(super) u64);
}

#[test]
fn a_serde_type_is_known_by_its_name_and_members() {
    let blob = encoded(&Serde(Node::Number(5)));
    assert!(matches!(blob.decode::<Serde<renamed::Same>>(), Ok(Serde(renamed::Same::Number(5)))));
    check_error(blob.decode::<Serde<renamed::Node>>(), Kind::WrongType, "another serde type");
    check_error(blob.decode::<Serde<i64>>(), Kind::WrongType, "expected i64");
    check_error(blob.decode::<Json>(), Kind::WrongType, "expected Json");
    check_error(encoded(&5u8).decode::<Serde<u8>>(), Kind::WrongType, "Serde<u8>");
    let list = encoded(&Serde(vec![Node::Leaf]));
    check_error(list.decode::<Serde<Vec<u8>>>(), Kind::WrongType, "");
    check_error(list.decode::<Serde<Vec<renamed::Node>>>(), Kind::WrongType, "");
    let id = encoded(&Serde(renamed::Id(5)));
    check_error(id.decode::<Serde<u64>>(), Kind::WrongType, "");
}

#[test]
fn bytes_behind_a_serde_value_are_an_error() {
    let whole = encoded(&Serde(7u8));
    let long = [&whole.payload[..], &[0]].concat();
    check_error(Blob::new(whole.tag, &long).decode::<Serde<u8>>(), Kind::Malformed, "behind");
}

#[test]
fn what_postcard_cannot_read_back_is_not_written() {
    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
    }
    check_error(BlobBuf::of(&Serde(Untagged::Number(1))), Kind::Invalid, "cannot read back");
    check_error(BlobBuf::of(&Serde(serde_json::json!(1))), Kind::Invalid, "cannot read back");
}

fn nested(levels: usize) -> Node {
    (0..levels).fold(Node::Leaf, |node, _| Node::Pair(node.into(), None))
}

#[test]
fn nesting_ends_where_it_can_still_be_read() {
    check_round_trip(&Serde(nested(127)));
    check_error(BlobBuf::of(&Serde(nested(128))), Kind::TooLarge, "deeper");
    let bytes = vec![2; 1_000_000];
    check_error(postcard::from_slice::<Node>(&bytes), Kind::TooLarge, "deeper");
    check_round_trip(&Json(nested(63)));
    check_error(BlobBuf::of(&Json(nested(64))), Kind::TooLarge, "deeper");
    let json = [&1_000_000i32.to_be_bytes()[..], &[b'['; 1_000_000]].concat();
    check_error(blob(TypeTag::JSON, &json).decode::<Json>(), Kind::Malformed, "recursion");
}

#[test]
fn items_without_bytes_are_counted() {
    check_round_trip(&Serde(vec![(); 65_536]));
    check_error(BlobBuf::of(&Serde(vec![(); 65_537])), Kind::TooLarge, "without bytes");
    let endless = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    check_error(postcard::from_slice::<Vec<()>>(&endless), Kind::TooLarge, "without bytes");
    check_error(postcard::from_slice::<Vec<u64>>(&endless), Kind::Malformed, "too early");
}

#[test]
fn json_of_another_shape_is_another_type() {
    let text = encoded(&Json("seven"));
    check_error(text.decode::<Json<u8>>(), Kind::WrongType, "invalid type");
    check_error(blob(TypeTag::JSON, b"\0\0\0\x01{").decode::<Json>(), Kind::Malformed, "EOF");
    check_error(blob(TypeTag::JSON, b"\0\0\0\x021 1").decode::<Json>(), Kind::Malformed, "count");
    check_round_trip(&Json(serde_json::json!({"[{\"\\": ["}]", null, 1.5]})));
}
