//! Many rules at once: the same answers as one by one.

use lang_eventpattern::{Dialect, Event, EventPattern, RuleSet};
use proptest::prelude::*;
use serde_json::{Value, json};

fn pattern(value: &Value) -> EventPattern {
    EventPattern::parse(&value.to_string(), Dialect::Events).unwrap()
}

#[test]
fn rules_are_found_changed_and_taken_out() {
    let mut rules = RuleSet::new();
    rules.insert("exact", pattern(&json!({"source": ["a"], "n": [{"numeric": [">", 1]}]})));
    rules.insert("prefix", pattern(&json!({"source": [{"prefix": "a"}]})));
    rules.insert("suffix", pattern(&json!({"source": [{"suffix": "z"}, {"wildcard": "*y"}]})));
    rules.insert("absent", pattern(&json!({"source": [{"exists": false}]})));
    rules.insert("folded", pattern(&json!({"source": [{"equals-ignore-case": "AZ"}]})));
    let found = |rules: &RuleSet<&'static str>, event: Value| {
        let mut found = rules.matching(&Event::new(&event));
        found.sort_unstable();
        found
    };
    assert_eq!(found(&rules, json!({"source": "a", "n": 2})), ["exact", "prefix"]);
    assert_eq!(found(&rules, json!({"source": "az"})), ["folded", "prefix", "suffix"]);
    assert_eq!(found(&rules, json!({"source": "xy"})), ["suffix"]);
    assert_eq!(found(&rules, json!({"other": 1})), ["absent"]);
    rules.insert("prefix", pattern(&json!({"source": [{"prefix": "b"}]})));
    assert!(rules.remove(&"folded") && !rules.remove(&"folded"));
    assert_eq!(found(&rules, json!({"source": "az"})), ["suffix"]);
    assert_eq!(rules.len(), 4);
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
}
