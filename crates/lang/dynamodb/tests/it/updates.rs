//! Updates: what is refused, and what becomes of an item.

use lang_dynamodb::{Item, Update};

use crate::support::{Given, item, l, m, n, ns, s, ss};

fn refusal(text: &str) -> String {
    match Update::parse(text, &mut Given::new().placeholders()) {
        Ok(update) => format!("{update:?}"),
        Err(error) => error.0.strip_prefix("Invalid UpdateExpression: ").unwrap_or(&error.0).to_owned(),
    }
}

#[test]
fn what_is_refused_is_told_in_the_words_of_aws() {
    for (text, message) in [
        ("", "The expression can not be empty;"),
        ("INVALID SYNTAX HERE", "Syntax error; token: \"INVALID\", near: \"INVALID SYNTAX\""),
        ("SET", "Syntax error; token: \"<EOF>\", near: \"SET\""),
        ("SET a = :s,", "Syntax error; token: \"<EOF>\", near: \",\""),
        ("ADD hits : incr", "Syntax error; token: \":\", near: \"hits : incr\""),
        ("SET a = if_not_exists(a, 0)", "Syntax error; token: \"0\", near: \", 0)\""),
        ("SET a = :n + 5", "Syntax error; token: \"5\", near: \"+ 5\""),
        ("SET a = :s b = :s", "Syntax error; token: \"b\", near: \":s b =\""),
        ("SET a.1 = :s", "Syntax error; token: \"1\", near: \".1 =\""),
        ("ADD a b", "Syntax error; token: \"b\", near: \"a b\""),
        ("DELETE a", "Syntax error; token: \"<EOF>\", near: \"a\""),
        ("SET set = :s", "Syntax error; token: \"set\", near: \"SET set =\""),
        ("SET a = :s SET b = :s", "The \"SET\" section can only be used once in an update expression;"),
        ("remove a remove b", "The \"REMOVE\" section can only be used once in an update expression;"),
        ("SET status = :s", "Attribute name is a reserved keyword; reserved keyword: status"),
        ("SET #c = :s", "An expression attribute name used in the document path is not defined; attribute name: #c"),
        ("SET a = :c", "An expression attribute value used in expression is not defined; attribute value: :c"),
        ("ADD a :c", "An expression attribute value used in expression is not defined; attribute value: :c"),
        ("SET a = nope(b)", "Invalid function name; function: nope"),
        ("SET a = attribute_exists(b)", "Invalid function name; function: attribute_exists"),
        (
            "SET a = list_append(b)",
            "Incorrect number of operands for operator or function; operator or function: list_append, number of operands: 1",
        ),
        (
            "SET a = if_not_exists(:s, b)",
            "Operator or function requires a document path; operator or function: if_not_exists",
        ),
        (
            "SET a = list_append(:s, b)",
            "Incorrect operand type for operator or function; operator or function: list_append, operand type: S",
        ),
        ("SET a = b + :s", "Incorrect operand type for operator or function; operator or function: +, operand type: S"),
        (
            "SET a = :ss - b",
            "Incorrect operand type for operator or function; operator or function: -, operand type: SS",
        ),
        ("ADD a :s", "Incorrect operand type for operator or function; operator: ADD, operand type: STRING"),
        ("ADD a :map", "Incorrect operand type for operator or function; operator: ADD, operand type: MAP"),
        ("DELETE a :n", "Incorrect operand type for operator or function; operator: DELETE, operand type: NUMBER"),
        ("DELETE a :l", "Incorrect operand type for operator or function; operator: DELETE, operand type: LIST"),
        (
            "SET a = :s, a = :t",
            "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a]",
        ),
        (
            "SET a.b = :s REMOVE a",
            "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a]",
        ),
        (
            "SET a.b = :s, #a[1] = :s",
            "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a, [1]]",
        ),
    ] {
        assert_eq!(refusal(text), message, "{text}");
    }
}

fn before() -> Item {
    item(&[
        ("num", n("10")),
        ("str", s("old")),
        ("strs", ss(&["x", "z"])),
        ("nums", ns(&["1"])),
        ("arr", l(&[n("0"), n("1"), n("2"), n("3")])),
        ("doc", m(&[("k", n("1")), ("arr", l(&[s("p"), s("q")]))])),
    ])
}

#[test]
fn an_update_changes_what_it_says_and_nothing_else() {
    for (text, changed) in [
        ("SET str = :s", vec![("str", Some(s("text")))]),
        ("SET fresh = :n", vec![("fresh", Some(n("5")))]),
        ("SET num = num + :n", vec![("num", Some(n("15")))]),
        ("SET num = :n - num", vec![("num", Some(n("-5")))]),
        ("SET num = (num - :n) + :m", vec![("num", Some(n("12")))]),
        ("SET fresh = if_not_exists(fresh, :n) + :m", vec![("fresh", Some(n("12")))]),
        ("SET num = if_not_exists(num, :n)", vec![]),
        ("SET arr = list_append(arr, :l)", vec![("arr", Some(l(&[n("0"), n("1"), n("2"), n("3"), n("1")])))]),
        ("SET arr = list_append(:l, if_not_exists(nix, :l))", vec![("arr", Some(l(&[n("1"), n("1")])))]),
        ("SET arr[1] = :s", vec![("arr", Some(l(&[n("0"), s("text"), n("2"), n("3")])))]),
        ("SET arr[9] = :s, arr[7] = :t", vec![("arr", Some(l(&[n("0"), n("1"), n("2"), n("3"), s("z"), s("text")])))]),
        (
            "SET doc.k = num, num = doc.k",
            vec![("doc", Some(m(&[("k", n("10")), ("arr", l(&[s("p"), s("q")]))]))), ("num", Some(n("1")))],
        ),
        (
            "SET doc.fresh = :s",
            vec![("doc", Some(m(&[("k", n("1")), ("arr", l(&[s("p"), s("q")])), ("fresh", s("text"))])))],
        ),
        ("REMOVE str, nix", vec![("str", None)]),
        ("REMOVE arr[0], arr[2], arr[8]", vec![("arr", Some(l(&[n("1"), n("3")])))]),
        ("REMOVE doc.arr[0] SET doc.k = :n", vec![("doc", Some(m(&[("k", n("5")), ("arr", l(&[s("q")]))])))]),
        ("REMOVE arr[0] SET arr[1] = :s", vec![("arr", Some(l(&[s("text"), n("2"), n("3")])))]),
        ("ADD num :n, fresh :m", vec![("num", Some(n("15"))), ("fresh", Some(n("7")))]),
        ("ADD strs :ss", vec![("strs", Some(ss(&["x", "y", "z"])))]),
        ("ADD nums :ns, fresh :ss", vec![("nums", Some(ns(&["1", "2"]))), ("fresh", Some(ss(&["x", "y"])))]),
        ("DELETE strs :ss", vec![("strs", Some(ss(&["z"])))]),
        ("DELETE nums :ns, nix :ss", vec![("nums", None)]),
        (
            "set str = :s remove num add nums :ns delete strs :ss",
            vec![("str", Some(s("text"))), ("num", None), ("nums", Some(ns(&["1", "2"]))), ("strs", Some(ss(&["z"])))],
        ),
    ] {
        let update = Update::parse(text, &mut Given::new().placeholders());
        let update = update.unwrap_or_else(|error| panic!("{text}: {error}"));
        let (mut item, mut wanted) = (before(), before());
        update.apply(&mut item).unwrap_or_else(|error| panic!("{text}: {error}"));
        for (name, value) in changed {
            match value {
                Some(value) => wanted.insert(name.to_owned(), value),
                None => wanted.remove(name),
            };
        }
        assert_eq!(item, wanted, "{text}");
    }
}

#[test]
fn an_update_that_does_not_fit_the_item_says_why() {
    const NO_ATTRIBUTE: &str = "The provided expression refers to an attribute that does not exist in the item";
    const WRONG_TYPE: &str = "An operand in the update expression has an incorrect data type";
    const NO_PATH: &str = "The document path provided in the update expression is invalid for update";
    for (text, message) in [
        ("SET a = nix", NO_ATTRIBUTE),
        ("SET num = nix + :n", NO_ATTRIBUTE),
        ("SET a = str + :n", WRONG_TYPE),
        ("SET a = list_append(str, :l)", WRONG_TYPE),
        ("SET nix.b = :s", NO_PATH),
        ("SET str.b = :s", NO_PATH),
        ("SET doc[0] = :s", NO_PATH),
        ("SET arr.a = :s", NO_PATH),
        ("REMOVE nix.b", NO_PATH),
        ("REMOVE arr[0].b", NO_PATH),
        ("ADD nix.b :n", NO_PATH),
        ("ADD str :n", WRONG_TYPE),
        ("ADD strs :ns", WRONG_TYPE),
        ("ADD num :ss", WRONG_TYPE),
        ("DELETE num :ss", WRONG_TYPE),
        ("DELETE strs :ns", WRONG_TYPE),
    ] {
        let update = Update::parse(text, &mut Given::new().placeholders());
        let update = update.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(update.apply(&mut before()).unwrap_err().to_string(), message, "{text}");
    }
}
