//! Numbers and times with zones keep their order in keys and themselves in rows, whatever they are.

use model::key;
use model::moment::TimeTz;
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

/// Times that often show the same instant.
fn time() -> impl Strategy<Value = TimeTz> {
    prop_oneof![
        (0_i64..4, -3_i32..4)
            .prop_map(|(h, zone)| TimeTz { micros: h * 3_600_000_000, zone: zone * 3_600 }),
        (0_i64..=86_400_000_000, -57_599_i32..57_600)
            .prop_map(|(micros, zone)| TimeTz { micros, zone }),
    ]
}

fn encoded(value: Value, descending: bool) -> Vec<u8> {
    let mut out = Vec::new();
    key::push_value(&mut out, &value, descending);
    out
}

/// Whether keys are in the order of the values, and the values in this one.
fn are_ordered(a: Value, b: Value, order: Ordering) -> bool {
    let keys = |descending| encoded(a.clone(), descending).cmp(&encoded(b.clone(), descending));
    a.sort_order(&b) == order && keys(false) == order && keys(true) == order.reverse()
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
        prop_assert_eq!(b.cmp(&a), order.reverse());
        prop_assert!(order != Ordering::Equal || hashed(&a) == hashed(&b));
        prop_assert!(are_ordered(Value::Numeric(a), Value::Numeric(b), order));
    }

    #[test]
    fn keys_have_the_order_of_times_with_zones(a in time(), b in time()) {
        let instants = (a.micros + i64::from(a.zone) * 1_000_000)
            .cmp(&(b.micros + i64::from(b.zone) * 1_000_000));
        let order = instants.then(a.zone.cmp(&b.zone));
        prop_assert!(are_ordered(Value::TimeTz(a), Value::TimeTz(b), order));
        prop_assert_eq!(order == Ordering::Equal, a == b);
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
    fn rows_give_back_times_with_zones(times in prop::collection::vec(time(), 0..5)) {
        let values: Vec<Value> = times.iter().copied().map(Value::TimeTz).collect();
        let bytes = row::encode(&values);
        // SAFETY: the bytes are what `encode` returned.
        let read = unsafe { Row::from_bytes(&bytes) }.to_values();
        prop_assert_eq!(read, values);
    }

    #[test]
    fn text_is_read_as_it_was_written(number in number()) {
        let text = number.to_string();
        let read: Numeric = text.parse().expect("what was printed is a number");
        prop_assert_eq!(&read, &number);
        prop_assert_eq!(read.to_string(), text);
    }
}
