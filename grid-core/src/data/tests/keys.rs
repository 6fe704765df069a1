//! Keys: canonical bytes, borrowed forms, affinity.

use super::{check_error, check_round_trip, encoded};
use crate::GridData;
use crate::data::{Affinity, BlobBuf, Decode, Encode, Key, KeyOf, TypeTag, Uuid, key_hash};
use crate::error::Kind;
use crate::partitioning::partition_hash;
use proptest::prelude::*;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

fn check_same<K: Encode, Q: KeyOf<K> + ?Sized>(owned: &K, borrowed: &Q) {
    assert_eq!(encoded(owned), encoded(borrowed));
}

proptest! {
    #[test]
    fn borrowed_forms_have_the_bytes_of_the_owned(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        check_same::<String, str>(&text, &text);
        check_same::<Box<str>, str>(&text.clone().into(), &text);
        check_same::<Arc<str>, str>(&text.clone().into(), &text);
        check_same::<Rc<str>, str>(&text.clone().into(), &text);
        check_same::<Cow<'_, str>, str>(&text.clone().into(), &text);
        check_same::<Vec<u8>, [u8]>(&bytes, &bytes);
        check_same::<Box<[u8]>, [u8]>(&bytes.clone().into(), &bytes);
        prop_assert_eq!(encoded(&bytes::Bytes::from(bytes.clone())), encoded(&bytes));
        let texts = vec![text];
        check_same::<Vec<String>, [String]>(&texts, &texts);
    }

    /// Else a scan could give out keys that find nothing.
    #[test]
    fn a_key_that_decodes_encodes_to_the_same_bytes(
        payload in prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..24),
        tag in prop::sample::select(TypeTag::TABLE.iter().map(|row| row.0).collect::<Vec<_>>()),
    ) {
        fn check<K: Key + Decode>(blob: &BlobBuf) {
            if let Ok(key) = blob.decode::<K>() {
                assert_eq!(&encoded(&key), blob);
            }
        }
        let blob = super::blob(TypeTag(tag), &payload);
        check::<bool>(&blob);
        check::<i16>(&blob);
        check::<i64>(&blob);
        check::<u8>(&blob);
        check::<u64>(&blob);
        check::<u128>(&blob);
        check::<Uuid>(&blob);
        check::<char>(&blob);
        check::<()>(&blob);
        check::<String>(&blob);
        check::<Vec<u8>>(&blob);
        check::<Vec<String>>(&blob);
        check::<Vec<i32>>(&blob);
        check::<Vec<bool>>(&blob);
        check::<[u8; 5]>(&blob);
        check::<Duration>(&blob);
        check::<Option<Option<u8>>>(&blob);
        check::<(u8, Option<char>)>(&blob);
        check::<(String,)>(&blob);
    }
}

#[derive(GridData, Clone, Copy, Debug, PartialEq)]
#[grid(transparent, key)]
struct CustomerId(u64);

#[derive(GridData, Clone, Debug, PartialEq)]
#[grid(key, affinity = "customer")]
struct OrderKey {
    #[grid(id = 1)]
    number: u32,
    #[grid(id = 2, required)]
    customer: CustomerId,
}

#[derive(GridData, Clone, Debug, PartialEq)]
#[grid(key)]
enum Subject<T> {
    #[grid(id = 1)]
    Nobody,
    #[grid(id = 2)]
    One(T),
    #[grid(id = 3)]
    Group {
        #[grid(id = 1)]
        name: String,
        #[grid(id = 2)]
        of: Option<T>,
    },
}

#[test]
fn a_transparent_struct_is_its_field() {
    assert_eq!(encoded(&CustomerId(7)), encoded(&7u64));
    assert_eq!(encoded(&vec![CustomerId(7)]), encoded(&vec![7u64]));
    check_round_trip(&CustomerId(7));
}

#[test]
fn a_derived_key_lives_with_its_affinity_field() {
    let order = OrderKey { number: 1, customer: CustomerId(7) };
    assert_eq!(order.affinity(), Some(partition_hash(&7u64.to_be_bytes())));
    assert_eq!(key_hash(&order), key_hash(&CustomerId(7)));
    assert_eq!(key_hash(&Box::new(order.clone())), key_hash(&order));
    check_round_trip(&order);
}

#[test]
fn generic_enums_are_keys_if_their_parameters_are() {
    fn key<K: Key + Decode + PartialEq + std::fmt::Debug>(key: &K) {
        check_round_trip(key);
        assert_eq!(key.affinity(), None);
    }
    key(&Subject::<u8>::Nobody);
    key(&Subject::One("a".to_string()));
    key(&Subject::Group { name: "g".into(), of: Some(5u8) });
}

#[test]
fn an_affinity_key_has_the_bytes_of_its_key_and_the_hash_of_the_other() {
    let key: Affinity<String, CustomerId> = Affinity::new("k".to_string(), &CustomerId(7));
    assert_eq!(encoded(&key), encoded("k"));
    assert_eq!(key_hash(&key), key_hash(&7u64));
    let blob = encoded(&key);
    assert_eq!(Affinity::decode_key(blob.as_blob(), key.affinity()), Ok(key.clone()));
    type Plain = Affinity<String, CustomerId>;
    check_error(blob.decode::<Plain>(), Kind::Invalid, "together with its partition hash");
    let other: Plain = Affinity::new("k".to_string(), &CustomerId(8));
    assert_ne!(other, key);
}

#[test]
fn an_affinity_key_in_a_box_or_newtype_keeps_its_hash() {
    #[derive(GridData, Debug, PartialEq)]
    #[grid(transparent, key)]
    struct Wrapped(Affinity<u8, str>);
    let key = Box::new(Wrapped(Affinity::new(1, "a")));
    assert_eq!(key.affinity(), key_hash("a").ok());
    let decoded = Box::<Wrapped>::decode_key(encoded(&key).as_blob(), key.affinity());
    assert_eq!(decoded, Ok(key));
}
