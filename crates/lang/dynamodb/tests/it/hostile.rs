//! Any text is an expression or an error: never a panic, never a deep stack.

use lang_dynamodb::{Condition, KeyCondition, Projection, Update};
use proptest::prelude::*;

use crate::support::{Given, item, n, s};

fn all(text: &str) {
    let given = Given::new();
    let empty = item(&[("a", n("1")), ("b", s("x"))]);
    if let Ok(condition) = Condition::parse("FilterExpression", text, &mut given.placeholders()) {
        let _ = condition.is_met(&empty);
    }
    let _ = KeyCondition::parse(text, &mut given.placeholders());
    if let Ok(projection) = Projection::parse(text, &mut given.placeholders()) {
        let _ = projection.apply(&empty);
    }
    if let Ok(update) = Update::parse(text, &mut given.placeholders()) {
        let _ = update.apply(&mut empty.clone());
    }
}

#[test]
fn depth_is_bounded_in_every_grammar() {
    for part in
        ["(", "NOT ", "NOT(", "size(", "a = (", "SET a = (", "SET a = list_append(", "a[", "a.", "((a = :s) AND "]
    {
        all(&part.repeat(4096 / part.len()));
        all(&format!("SET a = {}", part.repeat(4000 / part.len())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text(text in ".{0,80}") {
        all(&text);
    }

    #[test]
    fn any_tokens(tokens in proptest::collection::vec(
        prop::sample::select(vec![
            "a", "b", "status", "#a", "#z", ":s", ":n", ":z", "(", ")", "[", "]", "0", "1", ".", ",", "=", "<>", "<", "<=",
            "AND", "OR", "NOT", "BETWEEN", "IN", "SET", "REMOVE", "ADD", "DELETE", "+", "-", "size", "contains",
            "begins_with", "attribute_exists", "attribute_type", "if_not_exists", "list_append", "_", "é", "\"",
        ]),
        0..24,
    )) {
        all(&tokens.join(" "));
        all(&tokens.concat());
    }
}
