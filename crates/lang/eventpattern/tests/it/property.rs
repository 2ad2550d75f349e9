//! Patterns and events of any kind: nothing breaks, and the set of rules answers as its rules do one by one.

use lang_eventpattern::{Dialect, Event, EventPattern, RuleSet};
use proptest::prelude::*;
use serde_json::{Value, json};

fn pattern(value: &Value) -> EventPattern {
    EventPattern::parse(&value.to_string(), Dialect::Events).unwrap()
}

fn a_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec!["a", "ab", "abc", "b", "B", ""]).prop_map(|text| json!(text)),
        (-2i64..3).prop_map(|number| json!(number)),
        any::<bool>().prop_map(|is| json!(is)),
        Just(Value::Null),
    ]
}

fn an_event() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![a_value(), prop::collection::vec(a_value(), 0..3).prop_map(Value::Array)];
    let level = |inner: BoxedStrategy<Value>| {
        prop::collection::btree_map(prop::sample::select(vec!["x", "y", "z"]), inner, 0..3).prop_map(|map| json!(map))
    };
    let object = level(leaf.clone().boxed());
    let list = prop::collection::vec(object.clone(), 0..3).prop_map(Value::Array);
    level(prop_oneof![leaf, object, list].boxed())
}

fn a_test() -> impl Strategy<Value = Value> {
    let text = prop::sample::select(vec!["a", "ab", "b"]);
    prop_oneof![
        4 => a_value(),
        1 => text.clone().prop_map(|text| json!({"prefix": text})),
        1 => text.clone().prop_map(|text| json!({"suffix": text})),
        1 => text.clone().prop_map(|text| json!({"equals-ignore-case": text})),
        1 => text.clone().prop_map(|text| json!({"wildcard": format!("*{text}")})),
        1 => text.clone().prop_map(|text| json!({"wildcard": format!("{text}*")})),
        1 => text.prop_map(|text| json!({"anything-but": [text]})),
        1 => any::<bool>().prop_map(|is| json!({"exists": is})),
        1 => (-1i64..2).prop_map(|number| json!({"numeric": [">", number]})),
    ]
}

fn a_pattern() -> impl Strategy<Value = Value> {
    let tests = prop::collection::vec(a_test(), 1..3).prop_map(Value::Array).boxed();
    let names = prop::sample::select(vec!["x", "y", "z"]);
    let flat = prop::collection::btree_map(names.clone(), tests.clone(), 1..3).prop_map(|map| json!(map)).boxed();
    let nested =
        prop::collection::btree_map(names, prop_oneof![tests, flat.clone()], 1..3).prop_map(|map| json!(map)).boxed();
    prop_oneof![
        3 => nested.clone(),
        1 => (nested.clone(), nested).prop_map(|(left, right)| json!({"$or": [left, right]})),
    ]
}

/// Patterns whose leaves, operators and operands do not always fit together.
fn a_crooked_pattern() -> impl Strategy<Value = Value> {
    let operators = vec![
        "prefix",
        "suffix",
        "equals-ignore-case",
        "wildcard",
        "anything-but",
        "exists",
        "numeric",
        "cidr",
        "$or",
        "other",
    ];
    let operand = prop_oneof![
        a_value(),
        Just(json!([">", 1, "<=", 5])),
        Just(json!(["<", "x"])),
        Just(json!("10.0.0.0/8")),
        Just(json!("a*b\\*")),
        Just(json!({"prefix": "a"})),
        Just(json!({"equals-ignore-case": ["A", "b"]})),
        prop::collection::vec(a_value(), 0..3).prop_map(Value::Array),
    ];
    let test = (prop::sample::select(operators.clone()), operand).prop_map(|(name, operand)| json!({ name: operand }));
    let leaf = prop_oneof![
        2 => prop::collection::vec(prop_oneof![a_value(), test.clone(), a_test()], 0..4).prop_map(Value::Array),
        1 => a_value(),
        1 => test,
    ];
    let names = prop::sample::select([vec!["x", "y", "x.y", ""], operators].concat());
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            3 => prop::collection::btree_map(names.clone(), inner.clone(), 0..4).prop_map(|map| json!(map)),
            1 => prop::collection::vec(inner, 0..4).prop_map(|all| json!({ "$or": all })),
        ]
    })
}

proptest! {
    #[test]
    fn the_set_finds_what_each_rule_alone_matches(
        patterns in prop::collection::vec(a_pattern(), 1..12),
        gone in any::<prop::sample::Index>(),
        event in an_event(),
    ) {
        let mut rules = RuleSet::new();
        for (number, text) in patterns.iter().enumerate() {
            rules.insert(number, pattern(text));
        }
        let gone = gone.index(patterns.len());
        rules.remove(&gone);
        let event = Event::new(&event);
        let mut found = rules.matching(&event);
        found.sort_unstable();
        let expected: Vec<usize> = (0..patterns.len())
            .filter(|number| *number != gone && pattern(&patterns[*number]).matches(&event))
            .collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[\\[\\]{}\",:a$*\\\\ 0-9.eE-]{0,60}|\\PC{0,60}") {
        for dialect in [Dialect::Events, Dialect::Sns] {
            if let Err(error) = EventPattern::parse(&text, dialect) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        for dialect in [Dialect::Events, Dialect::Sns] {
            if let Ok(pattern) = EventPattern::parse(&text, dialect) {
                let _ = pattern.matches(&Event::new(&json!({})));
            }
        }
    }

    #[test]
    fn what_looks_like_a_pattern_is_read_or_refused_with_a_reason(
        pattern in a_crooked_pattern(),
        event in an_event(),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = pattern.to_string();
        let part: String = text.chars().take(cut.index(text.len() + 1)).collect();
        for text in [text.as_str(), &part] {
            for dialect in [Dialect::Events, Dialect::Sns] {
                match EventPattern::parse(text, dialect) {
                    Ok(pattern) => {
                        let event = Event::new(&event);
                        let mut rules = RuleSet::new();
                        rules.insert((), pattern.clone());
                        prop_assert_eq!(!rules.matching(&event).is_empty(), pattern.matches(&event), "{}", text);
                    }
                    Err(error) => prop_assert!(!error.to_string().is_empty()),
                }
            }
        }
    }

    #[test]
    fn white_space_and_the_order_of_names_say_nothing(value in a_pattern(), event in an_event()) {
        let event = Event::new(&event);
        let spaced = serde_json::to_string_pretty(&value).unwrap();
        let spaced = EventPattern::parse(&spaced, Dialect::Events).unwrap();
        prop_assert_eq!(spaced.matches(&event), pattern(&value).matches(&event));
    }

    #[test]
    fn depth_is_bounded_and_not_the_stack(depth in 1usize..5000, list: bool) {
        let (open, close) = if list { ("[", "]") } else { ("{\"a\":", "}") };
        let text = format!("{}{}{}", open.repeat(depth), "1", close.repeat(depth));
        for dialect in [Dialect::Events, Dialect::Sns] {
            prop_assert!(EventPattern::parse(&text, dialect).is_err());
        }
    }
}
