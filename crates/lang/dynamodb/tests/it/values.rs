//! Values as bytes, and their sizes.

use lang_dynamodb::{Item, Value, decode, encode, item_size};
use proptest::prelude::*;

use crate::support::{b, item, l, m, s, ss};

#[test]
fn sizes_follow_the_rule_of_aws() {
    for (value, size) in [
        (s("Fred"), 4),
        (s("é"), 2),
        (b(b"abc"), 3),
        (Value::Bool(true), 1),
        (Value::Null, 1),
        (ss(&["ab", "c"]), 3),
        (l(&[]), 3),
        (l(&[s("a"), s("b")]), 7),
        (m(&[("k", s("v"))]), 6),
    ] {
        assert_eq!(value.size(), size, "{value}");
    }
    assert_eq!(item_size(&item(&[("id", s("Fred"))])), 6, "as AWS says in a stream's record: key and image are 12");
}

fn value() -> impl Strategy<Value = Value> {
    let number = (any::<bool>(), 0..10_u128.pow(38), -100..80_i16)
        .prop_filter_map("a number", |(negative, c, e)| lang_dynamodb::Number::from_parts(negative, c, e).ok());
    let leaf = prop_oneof![
        ".{0,8}".prop_map(Value::S),
        number.clone().prop_map(Value::N),
        proptest::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| Value::B(bytes.into())),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null),
        proptest::collection::btree_set(".{0,4}", 1..4).prop_map(Value::Ss),
        proptest::collection::btree_set(number, 1..4).prop_map(Value::Ns),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::L),
            proptest::collection::btree_map(".{0,4}", inner, 0..4).prop_map(Value::M),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(item in proptest::collection::btree_map(".{0,6}", value(), 0..6)) {
        let item: Item = item;
        prop_assert_eq!(decode(&encode(&item)), Ok(item));
    }

    #[test]
    fn damaged_bytes_are_an_error_or_an_item(
        item in proptest::collection::btree_map("[a-c]{1,2}", value(), 0..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode(&item);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(&bytes);
        let _ = decode(&bytes[..at]);
    }

    #[test]
    fn any_bytes_are_an_error_or_an_item(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn keys_order_as_their_values(left in value(), right in value()) {
        let Some(order) = left.compare(&right) else { return Ok(()) };
        let bytes = |value: &Value| {
            let mut out = Vec::new();
            assert!(value.encode_ordered(&mut out));
            out
        };
        prop_assert_eq!(bytes(&left).cmp(&bytes(&right)), order);
    }
}
