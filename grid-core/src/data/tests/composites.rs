//! Round trips, and bytes that follow no rule.

use super::{blob, check_error, check_round_trip, encoded};
use crate::GridData;
use crate::data::{Blob, BlobBuf, DataResult, Encode, TypeTag, Uuid};
use crate::error::Kind;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};

#[derive(GridData, Clone, Debug, PartialEq, Default)]
struct Tree {
    #[grid(id = 1)]
    label: Option<String>,
    #[grid(id = 2)]
    children: Vec<Tree>,
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = any::<Option<String>>().prop_map(|label| Tree { label, children: vec![] });
    leaf.prop_recursive(4, 16, 3, |inner| {
        (any::<Option<String>>(), prop::collection::vec(inner, 0..3))
            .prop_map(|(label, children)| Tree { label, children })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        numbers in any::<(i8, i16, i32, i64, i128, u8, u16, u32)>(),
        more in any::<(u64, u128, usize, isize, bool, char)>(),
        text in any::<String>(),
        texts in any::<Vec<String>>(),
        bytes in any::<Vec<u8>>(),
        fixed in any::<[u8; 16]>(),
        longs in any::<Vec<i64>>(),
        chars in any::<Vec<char>>(),
        options in any::<Vec<Option<Option<u32>>>>(),
    ) {
        check_round_trip(&numbers);
        check_round_trip(&more);
        check_round_trip(&(text, texts, bytes, fixed));
        check_round_trip(&(longs, chars, options, Uuid(more.1)));
    }

    #[test]
    fn collections_are_read_and_their_bytes_know_no_order(
        map in prop::collection::hash_map(any::<i16>(), any::<[String; 2]>().prop_map(Vec::from), 0..20),
        set in prop::collection::hash_set(any::<String>(), 0..20),
    ) {
        check_round_trip(&map);
        check_round_trip(&set);
        let sorted: BTreeMap<_, _> = map.clone().into_iter().collect();
        prop_assert_eq!(encoded(&sorted), encoded(&map));
        check_round_trip(&sorted);
    }

    #[test]
    fn records_are_read(tree in tree()) {
        check_round_trip(&tree);
    }

    #[test]
    fn times_are_read(secs in -1_000_000_000_000i64..1_000_000_000_000, nanos in 0u32..1_000_000_000) {
        let span = std::time::Duration::new(secs.unsigned_abs(), nanos);
        check_round_trip(&span);
        let epoch = std::time::UNIX_EPOCH;
        check_round_trip(&if secs < 0 { epoch - span } else { epoch + span });
    }

    #[test]
    fn a_payload_cut_short_or_prolonged_is_malformed(
        value in any::<(String, Vec<i32>, Vec<u16>, HashMap<u8, char>)>(),
        cut in any::<prop::sample::Index>(),
    ) {
        type Value = (String, Vec<i32>, Vec<u16>, HashMap<u8, char>);
        let whole = encoded(&value);
        let short = &whole.payload[..cut.index(whole.payload.len())];
        prop_assert!(Blob::new(whole.tag, short).decode::<Value>().is_err());
        let long = [&whole.payload[..], &[0]].concat();
        prop_assert!(Blob::new(whole.tag, &long).decode::<Value>().is_err());
    }
}

#[test]
fn nested_options_keep_their_levels() {
    type Deep = Option<Option<Option<u8>>>;
    let all: [Deep; 4] = [None, Some(None), Some(Some(None)), Some(Some(Some(5)))];
    let blobs: HashSet<BlobBuf> = all.iter().map(encoded).collect();
    assert_eq!(blobs.len(), all.len());
    all.iter().for_each(check_round_trip);
    let tag = TypeTag::SOME;
    check_error(blob(tag, b"\0\0\x46\x51\x05").decode::<Deep>(), Kind::Malformed, "without need");
}

#[test]
fn floats_keep_their_bits() {
    for bits in [0x8000_0000_0000_0000u64, 0x7ff8_0000_0000_0001, 0xfff0_0000_0000_0000] {
        let value = f64::from_bits(bits);
        assert_eq!(encoded(&value).decode::<f64>().map(f64::to_bits), Ok(bits));
    }
}

#[test]
fn another_type_is_named() {
    let text = encoded("5");
    check_error(text.decode::<u64>(), Kind::WrongType, "expected u64, found String (type -11)");
    check_error(text.decode::<Tree>(), Kind::WrongType, "expected Tree, found String");
    check_error(blob(TypeTag(99), b"").decode::<bool>(), Kind::WrongType, "found type 99");
    let array = encoded(&[1i32, 2]);
    check_error(array.decode::<[i32; 3]>(), Kind::WrongType, "array of 3 items, found 2");
}

#[test]
fn counts_are_not_trusted() {
    let huge = b"\x7f\xff\xff\xff\0\0\0\0";
    check_error(blob(TypeTag::LIST, huge).decode::<Vec<u64>>(), Kind::Malformed, "a count of");
    check_error(blob(TypeTag::STRINGS, huge).decode::<Vec<String>>(), Kind::Malformed, "count");
    check_error(blob(TypeTag::BYTES, huge).decode::<Vec<u8>>(), Kind::Malformed, "count");
    let null = b"\xff\xff\xff\xff";
    check_error(blob(TypeTag::STRING, null).decode::<String>(), Kind::Malformed, "null");
    // A list of items without bytes could count to 2^31.
    let units = [&b"\x7f\xff\xff\xff"[..], &TypeTag::UNIT.0.to_be_bytes()].concat();
    check_error(blob(TypeTag::LIST, &units).decode::<Vec<()>>(), Kind::Malformed, "without tags");
}

#[test]
fn items_without_bytes_are_fine_in_lists() {
    check_round_trip(&vec![(); 5]);
    check_round_trip(&vec![None::<u8>; 5]);
    check_round_trip(&vec![[0u8; 0]; 5]);
}

#[test]
fn a_set_has_no_item_twice() {
    let twice = blob(TypeTag::SET, b"\0\0\0\x02\0\0\x46\x51\x05\x05");
    check_error(twice.decode::<HashSet<u8>>(), Kind::Malformed, "twice");
}

fn nested(levels: usize) -> Tree {
    (0..levels).fold(Tree::default(), |tree, _| Tree { label: None, children: vec![tree] })
}

#[test]
fn nesting_ends_where_it_can_still_be_read() {
    // A tree has two levels each, record and list, and the innermost has both as well.
    check_round_trip(&nested(63));
    check_error(BlobBuf::of(&nested(64)), Kind::TooLarge, "deeper than 128");
    // The count of levels is back at zero after the error.
    check_round_trip(&nested(63));
}

#[test]
fn deeper_bytes_than_any_encoder_writes_are_refused() {
    // Each level is an item: tag, length, and a list of one item.
    let mut inner: Vec<u8> = TypeTag::NONE.0.to_be_bytes().to_vec();
    for _ in 0..200 {
        let mut outer = TypeTag::LIST.0.to_be_bytes().to_vec();
        let list = [&1i32.to_be_bytes()[..], &0i32.to_be_bytes(), &inner].concat();
        outer.extend_from_slice(&u32::try_from(list.len()).unwrap().to_be_bytes());
        outer.extend_from_slice(&list);
        inner = outer;
    }
    #[derive(Debug)]
    struct Lists(#[allow(dead_code)] Vec<Lists>);
    impl crate::data::Decode for Lists {
        fn decode(blob: Blob<'_>) -> DataResult<Self> {
            blob.decode().map(Lists)
        }
    }
    check_error(Blob::new(TypeTag::LIST, &inner[8..]).decode::<Lists>(), Kind::TooLarge, "deeper");
}

#[test]
fn an_encoder_that_breaks_the_layout_of_its_tag_is_caught() {
    struct Liar;
    impl Encode for Liar {
        fn tag(&self) -> TypeTag {
            TypeTag::U64
        }
        fn encode(&self, out: &mut Vec<u8>) -> DataResult<()> {
            out.push(1);
            Ok(())
        }
    }
    check_error(BlobBuf::of(&vec![Liar]), Kind::Invalid, "layout of u64");
    check_error(BlobBuf::of(&(blob(TypeTag::NULL, b""),)), Kind::Invalid, "null");
}
