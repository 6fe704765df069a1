//! Versions of a type read each other; members read fields without the type.

use super::{blob, check_error, check_round_trip, encoded};
use crate::GridData;
use crate::data::{Blob, BlobBuf, Record, RecordView, TypeTag, field, path};
use crate::error::Kind;
use proptest::prelude::*;

#[derive(GridData, Clone, Debug, PartialEq)]
#[grid(name = "Order")]
struct Order1 {
    #[grid(id = 1)]
    number: u32,
    #[grid(id = 2)]
    comment: String,
    #[grid(id = 3)]
    state: State1,
}

#[derive(GridData, Clone, Debug, PartialEq, Default)]
#[grid(name = "State")]
enum State1 {
    #[default]
    #[grid(id = 1)]
    Open,
    #[grid(id = 2)]
    Paid {
        #[grid(id = 1)]
        cents: u64,
    },
}

/// `comment` removed, `state` made optional and moved, `currency` and `lines` added.
#[derive(GridData, Clone, Debug, PartialEq)]
#[grid(name = "Order", reserved(2))]
struct Order2 {
    #[grid(id = 5, default = vec![1, 2])]
    lines: Vec<u16>,
    #[grid(id = 3)]
    condition: Option<State2>,
    #[grid(id = 4)]
    currency: String,
    #[grid(id = 1)]
    number: u32,
    #[grid(skip)]
    cached: u8,
}

/// A field and a variant added.
#[derive(GridData, Clone, Debug, PartialEq, Default)]
#[grid(name = "State")]
enum State2 {
    #[grid(id = 7)]
    Shipped(String),
    #[grid(id = 2)]
    Paid {
        #[grid(id = 2, default = "EUR".to_string())]
        currency: String,
        #[grid(id = 1)]
        cents: u64,
    },
    #[default]
    #[grid(id = 1)]
    Open,
}

#[derive(GridData, Clone, Copy, Debug, PartialEq)]
#[grid(name = "State")]
enum StateName {
    #[grid(id = 1)]
    Open,
    #[grid(id = 9, other)]
    Other,
}

fn order2(condition: Option<State2>) -> Order2 {
    Order2 { lines: vec![9], condition, currency: "CHF".into(), number: 7, cached: 3 }
}

#[test]
fn a_new_reader_takes_old_data() {
    let old = Order1 { number: 7, comment: "c".into(), state: State1::Paid { cents: 5 } };
    let paid = State2::Paid { currency: "EUR".into(), cents: 5 };
    let expected = Order2 {
        lines: vec![1, 2],
        condition: Some(paid),
        currency: String::new(),
        number: 7,
        cached: 0,
    };
    assert_eq!(encoded(&old).decode::<Order2>(), Ok(expected));
}

#[test]
fn an_old_reader_takes_new_data() {
    let new = order2(Some(State2::Paid { currency: "CHF".into(), cents: 5 }));
    let expected = Order1 { number: 7, comment: String::new(), state: State1::Paid { cents: 5 } };
    assert_eq!(encoded(&new).decode::<Order1>(), Ok(expected));
}

#[test]
fn what_an_old_reader_cannot_know_is_an_error_that_names_the_field() {
    let shipped = encoded(&order2(Some(State2::Shipped("x".into()))));
    check_error(shipped.decode::<Order1>(), Kind::WrongType, "Order.state: State: no variant has");
    let none = encoded(&order2(None));
    check_error(
        none.decode::<Order1>(),
        Kind::WrongType,
        "Order.state: expected State, found None",
    );
}

#[test]
fn an_other_variant_takes_unknown_ids() {
    assert_eq!(encoded(&State2::Shipped("x".into())).decode(), Ok(StateName::Other));
    assert_eq!(encoded(&State2::Open).decode(), Ok(StateName::Open));
    check_round_trip(&StateName::Other);
}

#[test]
fn order_in_the_source_does_not_matter() {
    #[derive(GridData, Debug, PartialEq)]
    #[grid(name = "Pair")]
    struct Here {
        #[grid(id = 1)]
        a: u8,
        #[grid(id = 2)]
        b: u16,
    }
    #[derive(GridData, Debug, PartialEq)]
    #[grid(name = "Pair")]
    struct There {
        #[grid(id = 2)]
        b: u16,
        #[grid(id = 1)]
        a: u8,
    }
    assert_eq!(encoded(&Here { a: 1, b: 2 }), encoded(&There { a: 1, b: 2 }));
}

#[test]
fn a_required_field_must_be_there() {
    #[derive(GridData, Debug)]
    #[grid(name = "Order")]
    struct Strict {
        #[grid(id = 9, required)]
        _owner: u8,
    }
    let order = encoded(&order2(None));
    check_error(order.decode::<Strict>(), Kind::WrongType, "Order._owner: the field (id 9) is");
}

#[test]
fn another_record_is_another_type() {
    #[derive(GridData, Debug)]
    struct Invoice(u32);
    let invoice = encoded(&Invoice(1));
    check_error(invoice.decode::<Order1>(), Kind::WrongType, "expected Order (");
    #[derive(GridData, Debug)]
    #[grid(name = "State")]
    struct NoEnum();
    check_error(encoded(&NoEnum()).decode::<State1>(), Kind::WrongType, "an enum in one place");
    check_error(encoded(&State1::Open).decode::<NoEnum>(), Kind::WrongType, "an enum in one place");
}

#[test]
fn fields_are_read_without_the_type() {
    let order = encoded(&order2(Some(State2::Paid { currency: "CHF".into(), cents: 5 })));
    let order = order.as_blob();
    assert_eq!(Order2::SCHEMA.field_id("currency"), Some(4));
    assert_eq!(field(order, 4), Ok(Some(encoded("CHF").as_blob())));
    assert_eq!(field(order, 2), Ok(None));
    assert_eq!(path(order, &[3, 1]), Ok(Some(encoded(&5u64).as_blob())));
    assert_eq!(path(order, &[3, 8]), Ok(None));
    assert_eq!(path(order, &[]), Ok(Some(order)));
    check_error(
        path(order, &[4, 1]),
        Kind::WrongType,
        "expected record (type 18030), found String",
    );
    let none = encoded(&order2(None));
    assert_eq!(path(none.as_blob(), &[3, 1]), Ok(None));
    assert_eq!(RecordView::of(encoded(&State1::Open).as_blob()).unwrap().variant(), Some(1));
}

#[test]
fn large_records_have_wide_rows() {
    for len in [65_530usize, 65_531, 65_532, 200_000] {
        let order = Order1 { number: 1, comment: "x".repeat(len), state: State1::Open };
        check_round_trip(&order);
        let blob = encoded(&order);
        assert_eq!(field(blob.as_blob(), 1), Ok(Some(encoded(&1u32).as_blob())));
    }
}

#[test]
fn tags_beyond_the_row_stand_before_the_payload() {
    #[derive(GridData, Debug, PartialEq)]
    struct Holder(#[grid(required)] BlobBuf, u8);
    for tag in [70_000, -70_000, i32::MAX, 32_767, 1] {
        let holder = Holder(blob(TypeTag(tag), b"ab"), 5);
        check_round_trip(&holder);
        let bytes = encoded(&holder);
        assert_eq!(field(bytes.as_blob(), 1), Ok(Some(Blob::new(TypeTag(tag), b"ab"))));
    }
}

#[test]
fn broken_tables_are_malformed() {
    let good = encoded(&Order1 { number: 7, comment: "c".into(), state: State1::Open }).payload;
    for (at, byte, detail) in
        [(8, 4, "flags"), (8, 1, "wrong width"), (12, 9, "do not ascend"), (16, 0xff, "outside")]
    {
        let mut bad = good.to_vec();
        bad[at] = byte;
        check_error(blob(TypeTag::RECORD, &bad).decode::<Order1>(), Kind::Malformed, detail);
    }
    let long = [&good[..], &[0]].concat();
    check_error(
        blob(TypeTag::RECORD, &long).decode::<Order1>(),
        Kind::Malformed,
        "behind its last",
    );
}

proptest! {
    #[test]
    fn no_byte_changed_can_break_a_reader(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        ids in any::<[u16; 2]>(),
    ) {
        let order = order2(Some(State2::Paid { currency: "CHF".into(), cents: 5 }));
        let mut payload = encoded(&order).payload.to_vec();
        let at = at.index(payload.len());
        payload[at] = byte;
        let changed = Blob::new(TypeTag::RECORD, &payload);
        let _ = changed.decode::<Order1>();
        if let Ok(read) = changed.decode::<Order2>() {
            check_round_trip(&Order2 { cached: 0, ..read });
        }
        let _ = path(changed, &ids);
        if let Ok(view) = RecordView::of(changed) {
            prop_assert!(view.fields().count() <= 6);
        }
    }
}
