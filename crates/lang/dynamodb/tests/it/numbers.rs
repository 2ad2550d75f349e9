//! Numbers against an oracle that does not care how long it takes: integers scaled to one exponent, as digit strings.

use lang_dynamodb::{Number, NumberError};
use proptest::prelude::*;

#[test]
fn numbers_have_one_text() {
    for (text, shown) in [
        ("0", "0"),
        ("-0.000", "0"),
        ("0e1000", "0"),
        ("+3", "3"),
        (".123", "0.123"),
        ("1.", "1"),
        ("0001.2300", "1.23"),
        ("1e+5", "100000"),
        ("-17.4E3", "-17400"),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("314159265358979323846.26433832795028841", "314159265358979323846.26433832795028841"),
        ("100e-2", "1"),
        ("1e-3", "0.001"),
    ] {
        assert_eq!(text.parse::<Number>().unwrap().to_string(), shown, "{text}");
    }
    assert_eq!("1e125".parse::<Number>().unwrap().to_string(), format!("1{}", "0".repeat(125)));
    assert_eq!("-1e-130".parse::<Number>().unwrap().to_string(), format!("-0.{}1", "0".repeat(129)));
}

#[test]
fn what_is_no_number_is_refused_for_its_reason() {
    for (text, error) in [
        ("", NumberError::NotNumeric),
        ("-", NumberError::NotNumeric),
        (".", NumberError::NotNumeric),
        ("NaN", NumberError::NotNumeric),
        ("Infinity", NumberError::NotNumeric),
        (" 1", NumberError::NotNumeric),
        ("1 ", NumberError::NotNumeric),
        ("1e", NumberError::NotNumeric),
        ("1e1.5", NumberError::NotNumeric),
        ("1..2", NumberError::NotNumeric),
        ("0x1", NumberError::NotNumeric),
        ("1e126", NumberError::Overflow),
        ("11e125", NumberError::Overflow),
        ("-1e999999999999999999999", NumberError::Overflow),
        ("1e-131", NumberError::Underflow),
        ("0.9e-130", NumberError::Underflow),
        ("3.14159265358979323846264338327950288419", NumberError::Digits),
        ("314159265358979323846264338327950288419e30", NumberError::Digits),
    ] {
        assert_eq!(text.parse::<Number>(), Err(error), "{text}");
    }
}

#[test]
fn arithmetic_is_exact_or_refused() {
    let number = |text: &str| text.parse::<Number>().unwrap();
    for (left, right, sum) in [
        ("1", "10000000000000000000000", Ok("10000000000000000000001")),
        ("0.1", "0.2", Ok("0.3")),
        ("1e38", "-1", Ok("99999999999999999999999999999999999999")),
        ("5", "-5", Ok("0")),
        ("1e50", "1", Err(NumberError::Overflow)),
        ("9e125", "9e125", Err(NumberError::Overflow)),
        ("1e-130", "1e125", Err(NumberError::Overflow)),
        ("99999999999999999999999999999999999999", "1", Ok("100000000000000000000000000000000000000")),
    ] {
        assert_eq!(number(left).plus(&number(right)), sum.map(number), "{left} + {right}");
        assert_eq!(number(left).minus(&number(right).negated()), sum.map(number), "{left} - -{right}");
    }
}

#[test]
fn sizes_are_those_of_aws() {
    for (text, size) in [("0", 1), ("1", 2), ("12", 2), ("1.2", 3), ("-1", 3), ("123", 3), ("0.5", 2), ("100", 2)] {
        assert_eq!(text.parse::<Number>().unwrap().size(), size, "{text}");
    }
}

/// A number as sign and digits before 10^-170, most significant first.
fn oracle(negative: bool, coefficient: u128, exponent: i64) -> (bool, Vec<u8>) {
    let digits = coefficient.to_string();
    let mut all = vec![0_u8; 360];
    let end = 360 - usize::try_from(exponent + 170).unwrap();
    for (offset, digit) in digits.bytes().rev().enumerate() {
        all[end - 1 - offset] = digit - b'0';
    }
    (negative && coefficient != 0, all)
}

/// The sum of two magnitudes with signs, digit by digit.
fn add(left: &(bool, Vec<u8>), right: &(bool, Vec<u8>)) -> (bool, Vec<u8>) {
    if left.0 == right.0 {
        let mut sum = vec![0_u8; 360];
        let mut carry = 0;
        for at in (0..360).rev() {
            let digit = left.1[at] + right.1[at] + carry;
            (sum[at], carry) = (digit % 10, digit / 10);
        }
        return (left.0, sum);
    }
    let (larger, smaller) = if left.1 >= right.1 { (left, right) } else { (right, left) };
    let mut difference = vec![0_u8; 360];
    let mut borrow = 0_i16;
    for at in (0..360).rev() {
        let digit = i16::from(larger.1[at]) - i16::from(smaller.1[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = u8::try_from(digit.rem_euclid(10)).unwrap();
    }
    (larger.0 && difference.iter().any(|digit| *digit != 0), difference)
}

/// The text of it, and how many digits are significant.
fn text((negative, digits): &(bool, Vec<u8>)) -> (String, usize) {
    let first = digits.iter().position(|digit| *digit != 0);
    let last = digits.iter().rposition(|digit| *digit != 0);
    let (Some(first), Some(last)) = (first, last) else { return ("0".to_owned(), 0) };
    let shown: String = digits[first..=last].iter().map(|digit| char::from(digit + b'0')).collect();
    let exponent = 360 - 1 - i64::try_from(last).unwrap() - 170;
    (format!("{}{shown}e{exponent}", if *negative { "-" } else { "" }), last - first + 1)
}

fn parts() -> impl Strategy<Value = (bool, u128, i64)> {
    let coefficient = prop_oneof![
        0..1000_u128,
        Just(1_u128),
        Just(10_u128.pow(37)),
        Just(10_u128.pow(38) - 1),
        0..10_u128.pow(38),
        (0..10_u128.pow(19)).prop_map(|number| number * 10_u128.pow(19)),
    ];
    (any::<bool>(), coefficient, prop_oneof![-130..88_i64, -5..5_i64, -40..40_i64])
}

fn number((negative, coefficient, exponent): (bool, u128, i64)) -> Option<Number> {
    format!("{}{coefficient}e{exponent}", if negative { "-" } else { "" }).parse().ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn sums_are_those_of_the_oracle(left in parts(), right in parts()) {
        let (Some(a), Some(b)) = (number(left), number(right)) else { return Ok(()) };
        let sum = add(&oracle(left.0, left.1, left.2), &oracle(right.0, right.1, right.2));
        let (shown, digits) = text(&sum);
        match a.plus(&b) {
            Ok(found) => prop_assert_eq!(found, shown.parse::<Number>().unwrap(), "{} + {}", a, b),
            Err(_) => prop_assert!(digits > 38 || shown.parse::<Number>().is_err(), "{} + {} = {}", a, b, shown),
        }
    }

    #[test]
    fn order_text_and_bytes_agree(left in parts(), right in parts()) {
        let (Some(a), Some(b)) = (number(left), number(right)) else { return Ok(()) };
        let (x, y) = (oracle(left.0, left.1, left.2), oracle(right.0, right.1, right.2));
        let wanted = match (x.0, y.0) {
            (false, false) => x.1.cmp(&y.1),
            (true, true) => y.1.cmp(&x.1),
            (negative, _) => if negative { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater },
        };
        prop_assert_eq!(a.cmp(&b), wanted);
        let bytes = |number: &Number| {
            let mut out = Vec::new();
            number.encode_ordered(&mut out);
            out
        };
        prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), wanted, "{} {}", a, b);
        prop_assert_eq!(a.to_string().parse::<Number>(), Ok(a));
        let (negative, coefficient, exponent) = a.parts();
        prop_assert_eq!(Number::from_parts(negative, coefficient, exponent), Ok(a));
    }
}
