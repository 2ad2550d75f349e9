//! Many rules at once: the same answers as one by one.

use lang_eventpattern::{Dialect, Event, EventPattern, RuleSet};
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
