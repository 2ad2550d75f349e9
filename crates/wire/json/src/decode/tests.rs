//! AWS's sentences for what does not fit, and hostile documents.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use wire_schema::{Member, summary, validate};

use super::*;
use crate::encode;

static TEXT: Schema = Schema::string("Text");
static NUMBER: Schema = Schema::integer("Number");
static LONG: Schema = Schema::long("Long");
static REAL: Schema = Schema::double("Real");
static FLAG: Schema = Schema::boolean("Flag");
static BYTES: Schema = Schema::blob("Bytes");
static INSTANT: Schema = Schema::timestamp("Instant");
static MODE: Schema = Schema::enumeration("Mode", &["on", "off"]);
static TEXTS: Schema = Schema::list("Texts", &TEXT);
static COUNTS: Schema = Schema::map("Counts", &TEXT, &NUMBER);
static INNER: Schema = Schema::structure("Inner", &[Member::new("id", &TEXT).required()]);
static INNERS: Schema = Schema::list("Inners", &INNER);
static OUTER: Schema = Schema::structure(
    "Outer",
    &[
        Member::new("text", &TEXT).required(),
        Member::new("number", &NUMBER),
        Member::new("long", &LONG),
        Member::new("real", &REAL),
        Member::new("flag", &FLAG),
        Member::new("bytes", &BYTES),
        Member::new("instant", &INSTANT),
        Member::new("mode", &MODE),
        Member::new("texts", &TEXTS),
        Member::new("counts", &COUNTS),
        Member::new("inner", &INNER),
        Member::new("inners", &INNERS),
        Member::new("header", &TEXT).at(Location::Header),
    ],
);

wire_schema::enumeration!(
    /// A mode.
    Mode { On = "on", Off = "off" }
);

#[derive(Clone, Debug, Default, PartialEq)]
struct Inner {
    id: String,
}
wire_schema::structure!(Inner, INNER, { 0 => id });

#[derive(Clone, Debug, Default, PartialEq)]
struct Outer {
    text: String,
    number: Option<i32>,
    long: Option<i64>,
    real: Option<f64>,
    flag: Option<bool>,
    bytes: Option<Bytes>,
    instant: Option<Timestamp>,
    mode: Option<Mode>,
    texts: Option<Vec<String>>,
    counts: Option<BTreeMap<String, i32>>,
    inner: Option<Inner>,
    inners: Option<Vec<Inner>>,
    header: Option<String>,
}
wire_schema::structure!(Outer, OUTER, {
    0 => text, 1 => number, 2 => long, 3 => real, 4 => flag, 5 => bytes, 6 => instant, 7 => mode, 8 => texts,
    9 => counts, 10 => inner, 11 => inners, 12 => header
});

fn read(document: &[u8]) -> Result<(Outer, String), Malformed> {
    let (mut outer, mut seen, mut survey) = (Outer::default(), Seen::default(), Survey::default());
    decode(document, Members::Body, &mut outer, &mut seen, &mut survey)?;
    survey.absent(&OUTER, seen);
    let violations = validate(&outer, &survey);
    let message = if violations.is_empty() { String::new() } else { summary(&violations) };
    Ok((outer, message))
}

#[test]
fn every_kind_of_member_is_read_and_written() {
    let document = br#"{"text":"a\"\u00e9","number":-7,"long":9007199254740993,"real":0.5,"flag":true,"bytes":"aGk=","instant":1795435200.123,"mode":"off","texts":["a",""],"counts":{"a":1},"inner":{"id":"x"},"inners":[{"id":"y"}]}"#;
    let (outer, violations) = read(document).unwrap();
    assert_eq!(violations, "");
    assert_eq!(outer.text, "a\"é");
    assert_eq!(outer.long, Some(9_007_199_254_740_993));
    assert_eq!(outer.bytes.as_deref(), Some(b"hi".as_slice()));
    assert_eq!(outer.instant, Some(Timestamp::from_millis(1_795_435_200_123)));
    let written = String::from_utf8(encode(&outer, Members::Body)).unwrap();
    assert_eq!(written, String::from_utf8_lossy(document).replace("\\u00e9", "é"));
}

#[test]
fn what_does_not_fit_is_answered_in_the_words_of_aws() {
    for (document, message) in [
        (r#"{"number":"1"}"#, "STRING_VALUE can not be converted to an Integer"),
        (r#"{"text":1}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"text":true}"#, "TRUE_VALUE can not be converted to a String"),
        (r#"{"number":2147483648}"#, "NUMBER_VALUE can not be converted to an Integer"),
        (r#"{"long":9223372036854775808}"#, "NUMBER_VALUE can not be converted to a Long"),
        (r#"{"text":[]}"#, "Start of list found where not expected"),
        (r#"{"text":{}}"#, "Start of structure or map found where not expected"),
        (r#"{"texts":{}}"#, "Start of structure or map found where not expected"),
        (r#"{"inner":[]}"#, "Start of list found where not expected"),
        (r#"{"inner":"x"}"#, "Unexpected field type"),
        (r#"[]"#, "Start of list found where not expected"),
        (r#"{"bytes":"*"}"#, "Failed to decode base64 data"),
        (r#"{"instant":-1}"#, "NUMBER_VALUE can not be converted to a Date"),
        (r#"{"number":1,"number":2}"#, "Duplicate field 'number'"),
    ] {
        assert_eq!(read(document.as_bytes()), Err(Malformed(message.to_owned())), "{document}");
    }
    for document in ["", "{", "nope", "{}x", "{\"text\":\"\\ud800\"}", "{\"text\":\"a\nb\"}"] {
        let error = read(document.as_bytes()).unwrap_err();
        assert!(error.0.starts_with("Could not parse request body into json: "), "{document}: {error:?}");
    }
}

#[test]
fn null_is_absence_and_absence_is_reported() {
    for (document, violations) in [
        (r#"{"text":"a","number":null,"inner":null}"#, ""),
        (
            r#"{"text":null}"#,
            "1 validation error detected: Value null at 'text' failed to satisfy constraint: Member must not be null",
        ),
        (
            r#"{"text":"","inners":[{"id":"a"},{}]}"#,
            "1 validation error detected: Value null at 'inners.2.member.id' failed to satisfy constraint: Member must \
             not be null",
        ),
        (
            r#"{"text":"","mode":"maybe"}"#,
            "1 validation error detected: Value 'maybe' at 'mode' failed to satisfy constraint: Member must satisfy enum \
             value set: [on, off]",
        ),
        (
            r#"{"text":"","texts":["a",null]}"#,
            "1 validation error detected: Value '[a, null]' at 'texts' failed to satisfy constraint: Member must satisfy \
             constraint: [Member must not be null]",
        ),
    ] {
        assert_eq!(read(document.as_bytes()).unwrap().1, violations, "{document}");
    }
}

#[test]
fn members_from_elsewhere_and_unknown_ones_are_skipped() {
    let (outer, _) = read(br#"{"text":"a","header":"h","other":{"deep":[1,{"x":null}]}}"#).unwrap();
    assert_eq!(outer, Outer { text: "a".into(), ..Outer::default() });
    let deep = format!(r#"{{"text":"a","other":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    drop(read(deep.as_bytes())); // an error or not: no panic, no overflow of the stack
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(read(&bytes));
    }

    #[test]
    fn arbitrary_fragments_never_panic(parts in proptest::collection::vec(prop_oneof![
        Just("{"), Just("}"), Just("["), Just("]"), Just(":"), Just(","), Just("\"text\""), Just("\"number\""),
        Just("\"inners\""), Just("\"counts\""), Just("\"instant\""), Just("1e400"), Just("-0.5"), Just("null"),
        Just("true"), Just("\"\\u0000\""), Just("99999999999999999999"), Just("1795435200")], 0..40)) {
        drop(read(parts.concat().as_bytes()));
    }

    #[test]
    fn what_is_written_reads_back(text in any::<String>(), number in any::<Option<i32>>(), long in any::<Option<i64>>(),
        real in proptest::option::of(proptest::num::f64::NORMAL), bytes in any::<Option<Vec<u8>>>(),
        millis in proptest::option::of(0..253_402_300_799_999_u64), texts in any::<Option<Vec<String>>>(),
        counts in any::<Option<BTreeMap<String, i32>>>()) {
        let outer = Outer {
            text, number, long, real, bytes: bytes.map(Bytes::from), instant: millis.map(Timestamp::from_millis), texts,
            counts, inner: Some(Inner::default()), ..Outer::default()
        };
        prop_assert_eq!(read(&encode(&outer, Members::Body)).unwrap(), (outer, String::new()));
    }
}

static NODE: Schema = Schema::structure(
    "Node",
    &[Member::new("items", &NODES), Member::new("named", &NAMED), Member::new("next", &NODE)],
);
static NODES: Schema = Schema::list("Nodes", &NODE);
static NAMED: Schema = Schema::map("Named", &TEXT, &NODE);

#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    items: Option<Vec<Node>>,
    named: Option<BTreeMap<String, Node>>,
    next: Option<Box<Node>>,
}
wire_schema::structure!(Node, NODE, { 0 => items, 1 => named, 2 => next });

#[test]
fn a_structure_that_contains_itself_is_read_to_a_depth() {
    let nested = |open: &str, close: &str, times: usize| format!("{}{{}}{}", open.repeat(times), close.repeat(times));
    for (open, close) in [("{\"next\":", "}"), ("{\"items\":[", "]}"), ("{\"named\":{\"a\":", "}}")] {
        let read = |times: usize| {
            let (document, mut node) = (nested(open, close, times), Node::default());
            let (mut seen, mut survey) = (Seen::default(), Survey::default());
            let read = decode(document.as_bytes(), Members::All, &mut node, &mut seen, &mut survey);
            read.map(|()| (encode(&node, Members::All) == document.as_bytes(), validate(&node, &survey).is_empty()))
        };
        assert_eq!(read(30).ok(), Some((true, true)), "{open}");
        assert!(read(100_000).is_err(), "{open}");
    }
}
