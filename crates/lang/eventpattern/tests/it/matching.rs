//! What matches and what does not.

use lang_eventpattern::{Dialect, Event, EventPattern};
use serde_json::json;

fn matches(pattern: &serde_json::Value, event: &serde_json::Value) -> bool {
    EventPattern::parse(&pattern.to_string(), Dialect::Events).unwrap().matches(&Event::new(event))
}

#[test]
fn every_comparison_takes_what_it_should_and_nothing_else() {
    for (test, yes, no) in [
        (json!("a"), vec![json!("a")], vec![json!("A"), json!("ab"), json!(1), json!(null)]),
        (json!(5), vec![json!(5), json!(5.0)], vec![json!("5"), json!(6)]),
        (json!(true), vec![json!(true)], vec![json!(false), json!("true")]),
        (json!(null), vec![json!(null)], vec![json!("null"), json!("")]),
        (json!(""), vec![json!("")], vec![json!(null), json!(" ")]),
        (json!({"prefix": "ab"}), vec![json!("ab"), json!("abc")], vec![json!("a"), json!("xab"), json!("Abc")]),
        (json!({"prefix": {"equals-ignore-case": "aB"}}), vec![json!("ABc"), json!("ab")], vec![json!("ba")]),
        (json!({"suffix": ".png"}), vec![json!("a.png")], vec![json!("a.PNG"), json!(".png ")]),
        (json!({"suffix": {"equals-ignore-case": ".png"}}), vec![json!("a.PNG")], vec![json!("a.jpg")]),
        (json!({"equals-ignore-case": "Straße"}), vec![json!("straße"), json!("STRAßE")], vec![json!("strasse")]),
        (json!({"wildcard": "a*c"}), vec![json!("ac"), json!("abbc")], vec![json!("acd"), json!("bc"), json!("a")]),
        (json!({"wildcard": "*x*y*"}), vec![json!("xy"), json!("1x2y3")], vec![json!("yx")]),
        (json!({"wildcard": "aba*ba"}), vec![json!("ababa"), json!("aba-ba")], vec![json!("aba")]),
        (json!({"wildcard": "a\\*b"}), vec![json!("a*b")], vec![json!("axb")]),
        (json!({"numeric": ["=", 3]}), vec![json!(3), json!(3.0)], vec![json!(4), json!("3")]),
        (json!({"numeric": [">", 0, "<=", 5]}), vec![json!(5), json!(0.1)], vec![json!(0), json!(5.1)]),
        (json!({"numeric": ["<", 0]}), vec![json!(-1)], vec![json!(0)]),
        (json!({"numeric": [">=", 1e3]}), vec![json!(1000)], vec![json!(999.9)]),
        (json!({"cidr": "10.0.0.0/24"}), vec![json!("10.0.0.255")], vec![json!("10.0.1.0"), json!("x"), json!("::1")]),
        (json!({"cidr": "0.0.0.0/0"}), vec![json!("1.2.3.4")], vec![json!("::1")]),
        (json!({"cidr": "2001:db8::/32"}), vec![json!("2001:db8::1")], vec![json!("2001:db9::1")]),
        (json!({"exists": true}), vec![json!(1), json!(null), json!("")], vec![json!({"b": 1}), json!([])]),
        (json!({"anything-but": "a"}), vec![json!("b"), json!(1), json!(null), json!(["a", "b"])], vec![json!("a")]),
        (json!({"anything-but": ["a", 1]}), vec![json!("b"), json!(2)], vec![json!("a"), json!(1)]),
        (json!({"anything-but": {"prefix": "a"}}), vec![json!("b"), json!(1)], vec![json!("ab")]),
        (json!({"anything-but": {"suffix": ["x", "y"]}}), vec![json!("az")], vec![json!("ax"), json!("ay")]),
        (json!({"anything-but": {"equals-ignore-case": ["a", "b"]}}), vec![json!("c")], vec![json!("A"), json!("B")]),
        (json!({"anything-but": {"wildcard": "*/x/*"}}), vec![json!("a/y/b")], vec![json!("a/x/b")]),
    ] {
        let pattern = json!({"a": [test]});
        for value in yes {
            assert!(matches(&pattern, &json!({"a": value})), "{pattern} takes {value}");
            assert!(
                matches(&pattern, &json!({"a": [7777, value]})) || value.is_array(),
                "{pattern} takes {value} in a list"
            );
        }
        for value in no {
            assert!(!matches(&pattern, &json!({"a": value})), "{pattern} does not take {value}");
        }
        if pattern["a"][0] != json!({"exists": false}) {
            assert!(!matches(&pattern, &json!({"b": 1})), "{pattern} wants something there");
        }
    }
}

#[test]
fn all_names_must_hold_and_any_value_will_do() {
    let pattern = json!({"source": ["a", "b"], "detail": {"x": [1], "y": [{"exists": false}]}});
    for (event, does) in [
        (json!({"source": "a", "detail": {"x": 1}}), true),
        (json!({"source": "b", "detail": {"x": [2, 1], "z": 0}}), true),
        (json!({"source": "c", "detail": {"x": 1}}), false),
        (json!({"source": "a", "detail": {"x": 1, "y": null}}), false),
        (json!({"source": "a"}), false),
        (json!({"source": "a", "detail": "x"}), false),
    ] {
        assert_eq!(matches(&pattern, &event), does, "{event}");
    }
    assert!(matches(&json!({"detail": {"x": [{"exists": false}]}}), &json!({"source": "a"})));
    assert!(matches(&json!({"detail": {"x": [{"exists": false}, 5]}}), &json!({"detail": {"x": 5}})));
}

#[test]
fn one_element_of_a_list_has_to_hold_for_everything_below() {
    let pattern = json!({"items": {"name": ["a"], "size": [1]}});
    assert!(matches(&pattern, &json!({"items": [{"name": "b", "size": 1}, {"name": "a", "size": 1}]})));
    assert!(!matches(&pattern, &json!({"items": [{"name": "a", "size": 2}, {"name": "b", "size": 1}]})));
    assert!(matches(&pattern, &json!({"items": [[{"name": ["x", "a"], "size": 1}]]})));
    let absent = json!({"items": {"name": ["a"], "gone": [{"exists": false}]}});
    assert!(!matches(&absent, &json!({"items": [{"name": "a"}, {"gone": 1}]})));
}

#[test]
fn alternatives_multiply_and_stand_at_any_level() {
    let pattern = json!({
        "source": ["s"],
        "$or": [{"a": [1]}, {"b": [2]}],
        "detail": {"$or": [{"c": [3]}, {"d": [4], "e": [5]}]}
    });
    for (event, does) in [
        (json!({"source": "s", "a": 1, "detail": {"c": 3}}), true),
        (json!({"source": "s", "b": 2, "detail": {"d": 4, "e": 5}}), true),
        (json!({"source": "s", "b": 2, "detail": {"d": 4}}), false),
        (json!({"source": "s", "detail": {"c": 3}}), false),
        (json!({"source": "t", "a": 1, "detail": {"c": 3}}), false),
    ] {
        assert_eq!(matches(&pattern, &event), does, "{event}");
    }
    let same = json!({"a": [1, 2], "$or": [{"a": [2, 3]}, {"b": [1]}]});
    assert!(matches(&same, &json!({"a": 2})));
    assert!(!matches(&same, &json!({"a": 3})));
    assert!(!matches(&same, &json!({"a": 1})));
}

#[test]
fn names_with_dots_are_paths_on_both_sides() {
    assert!(matches(&json!({"detail.state.status": ["on"]}), &json!({"detail": {"state": {"status": "on"}}})));
    assert!(matches(&json!({"detail": {"state": {"status": ["on"]}}}), &json!({"detail": {"state.status": "on"}})));
    let both = json!({"a.b": 1, "a": {"b": 2}});
    assert!(matches(&json!({"a": {"b": [1]}}), &both) && matches(&json!({"a": {"b": [2]}}), &both));
}

#[test]
fn an_event_nested_without_end_does_no_harm() {
    let mut event = json!(1);
    for _ in 0..120 {
        event = json!({ "a": event });
    }
    assert!(!matches(&json!({"a": [1]}), &event));
}
