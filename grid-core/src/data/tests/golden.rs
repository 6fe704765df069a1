//! The bytes of one value of each tag, written down: what is stored must stay readable.

use super::{blob, hex};
use crate::GridData;
use crate::data::{Decode, Encode, Json, Serde, TypeTag, Uuid, fingerprint};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(GridData, Debug, PartialEq)]
struct Person {
    #[grid(id = 7)]
    age: u8,
    #[grid(id = 1)]
    name: String,
}

#[derive(GridData, Debug, PartialEq)]
#[grid(name = "Shape")]
enum Figure {
    #[grid(id = 3)]
    Empty,
    #[grid(id = 4)]
    Circle(f32),
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Point {
    x: i32,
    y: u64,
}

/// The tags seen so far.
#[derive(Default)]
struct Golden(BTreeSet<TypeTag>);

impl Golden {
    #[track_caller]
    fn check<T: Encode + Decode + PartialEq + std::fmt::Debug>(
        &mut self,
        value: T,
        tag: i32,
        bytes: &str,
    ) {
        let mut out = vec![];
        value.encode(&mut out).expect("encodes");
        assert_eq!(value.tag(), TypeTag(tag), "{value:?}");
        assert_eq!(hex_of(&out), hex_of(&hex(bytes)), "{value:?}");
        assert_eq!(blob(TypeTag(tag), &hex(bytes)).decode::<T>(), Ok(value));
        self.0.insert(TypeTag(tag));
    }
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_tag_has_its_bytes() {
    let mut golden = Golden::default();
    scalars(&mut golden);
    arrays(&mut golden);
    composites(&mut golden);
    records(&mut golden);
    let table = TypeTag::TABLE.iter().map(|(id, _)| TypeTag(*id)).filter(|tag| tag.0 != 0);
    let missing: Vec<_> = table.filter(|tag| !golden.0.contains(tag)).collect();
    assert_eq!(missing, [], "tags without golden bytes");
}

fn scalars(golden: &mut Golden) {
    golden.check(-2i8, -3, "fe");
    golden.check(true, -4, "01");
    golden.check('ä', -5, "00e4");
    golden.check(-2i16, -6, "fffe");
    golden.check(1i32, -7, "00000001");
    golden.check(-2i64, -8, "fffffffffffffffe");
    golden.check(-2isize, -8, "fffffffffffffffe");
    golden.check(1.5f32, -9, "3fc00000");
    golden.check(1.5f64, -10, "3ff8000000000000");
    golden.check("foo".to_string(), -11, "00000003 666f6f");
    golden.check(Uuid(1), -21, "0000000000000000 0000000000000001");
    golden.check(Json(serde_json::json!({"b": [1], "a": "x"})), -130, {
        "00000011 7b2261223a2278222c2262223a5b315d7d"
    });
    golden.check((), 18_000, "");
    golden.check(254u8, 18_001, "fe");
    golden.check(258u16, 18_002, "0102");
    golden.check(258u32, 18_003, "00000102");
    golden.check(258u64, 18_004, "0000000000000102");
    golden.check(258usize, 18_004, "0000000000000102");
    golden.check(258u128, 18_005, "00000000000000000000000000000102");
    golden.check(-2i128, 18_006, "fffffffffffffffffffffffffffffffe");
    golden.check('😀', 18_007, "0001f600");
    golden.check(Duration::new(258, 5), 18_020, "0000000000000102 00000005");
    let late = UNIX_EPOCH + Duration::new(258, 5);
    golden.check(late, 18_021, "0000000000000102 00000005");
    let early: SystemTime = UNIX_EPOCH - Duration::from_millis(1_500);
    golden.check(early, 18_021, "fffffffffffffffe 1dcd6500");
}

fn arrays(golden: &mut Golden) {
    golden.check(vec![1u8, 2], -12, "00000002 0102");
    golden.check(vec![true, false], -13, "00000002 0100");
    golden.check(vec![1i16, -2], -15, "00000002 0001fffe");
    golden.check(vec![1i32], -16, "00000001 00000001");
    golden.check(vec![1i64], -17, "00000001 0000000000000001");
    golden.check(vec![1.5f32], -18, "00000001 3fc00000");
    golden.check(vec![1.5f64], -19, "00000001 3ff8000000000000");
    golden.check(vec!["a".to_string(), String::new()], -20, "00000002 00000001 61 00000000");
    golden.check([1u8, 2, 3], 18_010, "010203");
    golden.check([1i32, 2], -16, "00000002 00000001 00000002");
}

fn composites(golden: &mut Golden) {
    golden.check(None::<u8>, 18_011, "");
    golden.check(Some(5u8), 18_001, "05");
    golden.check(Some(None::<u8>), 18_012, "0000465b");
    golden.check((5u8, "a".to_string(), [7u8]), 18_013, {
        "00004651 05  fffffff5 00000001 61  0000465a 00000001 07"
    });
    golden.check(vec![1u16, 2], 18_014, "00000002 00004652 0001 0002");
    golden.check(vec![(1u8,)], 18_014, "00000001 0000465d 00000005 00004651 01");
    golden.check(vec!['a', '😀'], 18_014, "00000002 00000000 fffffffb 0061 00004657 0001f600");
    golden.check(BTreeSet::from([1i8, -1]), 18_015, "00000002 fffffffd 01 ff");
    let map = [(-1i8, true), (1, false)];
    golden.check(BTreeMap::from(map), 18_016, "00000002 fffffffd fffffffc 01 00 ff 01");
    golden.check(HashMap::from(map), 18_016, "00000002 fffffffd fffffffc 01 00 ff 01");
}

fn records(golden: &mut Golden) {
    assert_eq!(fingerprint(b"Person"), 0x40d7_6f1f_5163_9ec0);
    golden.check(Person { age: 9, name: "Al".into() }, 18_030, {
        "40d76f1f51639ec0 00 0002  0001 fff5 0006  0007 4651 0007  00000002 416c 09"
    });
    golden.check(Figure::Empty, 18_030, "2de969afacdaa7a6 02 0003 0000");
    golden.check(Figure::Circle(1.5), 18_030, {
        "2de969afacdaa7a6 02 0004 0001  0001 fff7 0004 3fc00000"
    });
    golden.check(Serde(Point { x: -1, y: 300 }), 18_031, "18aad9214f876212 01 ac02");
}
