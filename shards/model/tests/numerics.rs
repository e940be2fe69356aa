//! Numbers keep their order in keys and themselves in rows, whatever they are.

use model::key;
use model::numeric::{Numeric, Special};
use model::row::{self, Row};
use model::value::Value;
use proptest::prelude::*;
use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Numbers that often are equal, and often are next to each other.
fn number() -> impl Strategy<Value = Numeric> {
    let close = (-20_i64..20, -3_i64..3);
    prop_oneof![
        6 => close.prop_map(|(digits, scale)| Numeric::new(digits.into(), scale)),
        3 => (any::<i128>(), -40_i64..40)
            .prop_map(|(digits, scale)| Numeric::new(digits.into(), scale)),
        3 => prop::sample::select(&Special::ALL[..]).prop_map(Numeric::Special),
    ]
}

fn encoded(number: &Numeric, descending: bool) -> Vec<u8> {
    let mut out = Vec::new();
    key::push_value(&mut out, &Value::Numeric(number.clone()), descending);
    out
}

fn hashed(number: &Numeric) -> u64 {
    let mut hasher = DefaultHasher::new();
    number.hash(&mut hasher);
    hasher.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_have_the_order_of_numbers(a in number(), b in number()) {
        let order = a.cmp(&b);
        prop_assert_eq!(encoded(&a, false).cmp(&encoded(&b, false)), order);
        prop_assert_eq!(encoded(&a, true).cmp(&encoded(&b, true)), order.reverse());
        prop_assert_eq!(b.cmp(&a), order.reverse());
        prop_assert!(order != Ordering::Equal || hashed(&a) == hashed(&b));
    }

    #[test]
    fn the_order_is_one(mut numbers in prop::collection::vec(number(), 3)) {
        numbers.sort();
        prop_assert!(numbers[0] <= numbers[1] && numbers[1] <= numbers[2]);
        prop_assert!(numbers[0] <= numbers[2]);
    }

    #[test]
    fn rows_give_back_what_they_were_given(numbers in prop::collection::vec(number(), 0..5)) {
        let values: Vec<Value> = numbers.iter().cloned().map(Value::Numeric).collect();
        let bytes = row::encode(&values);
        // SAFETY: the bytes are what `encode` returned.
        let read = unsafe { Row::from_bytes(&bytes) }.to_values();
        for (number, read) in numbers.iter().zip(&read) {
            let Value::Numeric(read) = read else { panic!("a number became {read:?}") };
            prop_assert_eq!(read.to_string(), number.to_string());
        }
        prop_assert_eq!(read.len(), numbers.len());
    }

    #[test]
    fn text_is_read_as_it_was_written(number in number()) {
        let text = number.to_string();
        let read: Numeric = text.parse().expect("what was printed is a number");
        prop_assert_eq!(&read, &number);
        prop_assert_eq!(read.to_string(), text);
    }
}
