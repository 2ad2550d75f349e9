//! PartiQL: what statements mean, what is wrong with those that mean nothing, in the words in which AWS says it, and which
//! key a condition is for.

use lang_dynamodb::{
    Comparator, Condition, Item, KeyCondition, Operand, Path, Value,
    partiql::{Plan, Returning, Statement, key_of, parse},
};
use proptest::prelude::*;

const NOT_WELL_FORMED: &str = "Statement wasn't well formed, can't be processed: ";
const LEFTOVER: &str = "Unexpected token after expression";

fn s(text: &str) -> Value {
    Value::S(text.to_owned())
}

fn n(number: i32) -> Value {
    Value::N(number.to_string().parse().unwrap())
}

#[expect(clippy::panic, reason = "a test that cannot go on shall panic")]
fn refused(statement: &str, parameters: &[Value]) -> String {
    match parse(statement, parameters) {
        Ok(statement) => panic!("{statement:?}"),
        Err(error) => error.0,
    }
}

fn item(entries: &[(&str, Value)]) -> Item {
    entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[test]
fn what_cannot_be_read_is_told_in_the_envelope() {
    for (statement, detail) in [
        ("SELECT * FROM \"N\" WHERE pk = 1 foo", LEFTOVER),
        ("SELECT * FROM \"N\" WHERE pk = 1 e5", LEFTOVER),
        ("INSERT INTO \"N\" VALUE {'pk': 970001} foo", LEFTOVER),
        ("UPDATE \"N\" SET a = 9 WHERE pk = 970002 foo", LEFTOVER),
        ("DELETE FROM \"N\" WHERE pk = 970003 foo", LEFTOVER),
        ("SELECT * FROM \"N\" WHERE pk = 1)", LEFTOVER),
        ("DELETE FROM \"N\" WHERE pk = 970004 ORDER BY pk", LEFTOVER),
        ("SELECT * FROM \"N\" ORDER BY pk WHERE pk = 1", LEFTOVER),
        ("INSERT INTO \"S\" t VALUE {'pk': 'x'}", LEFTOVER),
        ("FROM \"S\" SET c = 1 WHERE pk = 'pq-ff-msg'", LEFTOVER),
        ("FROM \"S\" SET c = 1 WHERE pk = 'pq-ff-msg' SET d = 2", LEFTOVER),
        ("SELECT * FROM \"N\" WHERE pk = 1e2147483648", ""),
        ("SELECT * FROM \"N\" WHERE pk = 1e99999999999", ""),
        ("SELECT * FROM \"N\" WHERE pk = 1.5e-2147483647", ""),
        ("SELECT * FROM \"N\" WHERE pk = 1 # note", ""),
        ("SELECT * FROM \"N\" WHERE pk = 1 /* note", ""),
        ("SELECT * FROM \"N", ""),
        ("SELECT * FROM \"S\" WHERE", "Unexpected term"),
        ("SELECT * FROM \"S\" WHERE;", "Unexpected term"),
        ("SELECT * FROM \"S\" WHERE   ", "Unexpected term"),
        ("SELECT pk FROM \"S\" WHERE", "Unexpected term"),
        ("UPDATE \"S\" SET a = 1 WHERE", "Unexpected term"),
        ("DELETE FROM \"S\" WHERE", "Unexpected term"),
        ("SELECT * FROM \"S\" WHERE NOT", "Unexpected term"),
        ("SELECT * FROM \"S\" WHERE (", "Unexpected term"),
        ("SELECT * FROM", "Unexpected term"),
        ("SELECT * FROM \"S\" WHERE pk = 'p1' AND", "Missing right-hand side expression of infix operator"),
        ("SELECT * FROM \"S\" WHERE pk = 'p1' OR", "Missing right-hand side expression of infix operator"),
        ("SELECT * FROM \"S\" WHERE ORDER BY pk", "Unexpected keyword"),
        ("INSERT INTO urls (key, secret_key) VALUES (?, ?)", "Unexpected keyword"),
        ("SELECT * FROM \"S\" WHERE pk = 'a' AND x IS FOO", "Expected type name"),
        ("SELECT * FROM \"S\" WHERE IS NULL", "Unexpected operator"),
        ("SELECT * FROM \"S\" WHERE pk = LIKE", "Unexpected operator"),
        ("DELETE FROM", "Expected identifier for simple path"),
        ("DELETE FROM   ", "Expected identifier for simple path"),
        ("DELETE FROM;", "Expected identifier for simple path"),
        ("DELETE FROM WHERE pk = 'a'", "Expected identifier for simple path"),
        ("SELECT * FROM T WHERE attribute_exists(m.inner)", "Invalid path dot component"),
        ("UPDATE T SET m.inner = set_add(m.inner, <<'y'>>) WHERE pk = 'x'", "Invalid path dot component"),
        ("SLECT * FROM \"T\" WHERE pk = 'x'", "Expected data manipulation"),
        ("UPDATE Payment-table SET active=? WHERE subscriptionId=?", "Expected data manipulation"),
    ] {
        assert_eq!(refused(statement, &[]), format!("{NOT_WELL_FORMED}{detail}"), "{statement}");
    }
}

#[test]
fn what_can_be_read_and_is_not_allowed_is_named() {
    const OVERFLOW: &str = "Number overflow. Attempting to store a number with magnitude larger than supported range";
    const UNDERFLOW: &str =
        "Number underflow. Attempting to store a number with magnitude smaller than supported range";
    for (statement, message) in [
        ("SELECT * FROM \"S\" t WHERE pk = 'x'", "Aliasing is not supported".to_owned()),
        ("SELECT * FROM \"S\" AS t WHERE pk = 'x'", "Aliasing is not supported".to_owned()),
        ("UPDATE \"S\" t SET a = 3 WHERE pk = 'x'", "Aliasing is not supported".to_owned()),
        ("DELETE FROM \"S\" t WHERE pk = 'x'", "Aliasing is not supported".to_owned()),
        ("SELECT * FROM \"N\" WHERE pk = 1e126", format!("{OVERFLOW} under root")),
        ("SELECT * FROM \"N\" WHERE pk = 1e-131", format!("{UNDERFLOW} under root")),
        (
            "SELECT * FROM \"N\" WHERE pk = 123456789012345678901234567890123456789",
            "Attempting to store more than 38 significant digits in a Number under root".to_owned(),
        ),
        ("INSERT INTO \"N\" VALUE {'pk': 1e126}", format!("{OVERFLOW} under root")),
        ("UPDATE \"N\" SET a = 1e-131 WHERE pk = 970005", format!("{UNDERFLOW} under root")),
        ("INSERT INTO \"N\" VALUE {'pk': 970006, 'm': {'x': 1e126}}", format!("{OVERFLOW} under root.x")),
        ("INSERT INTO \"N\" VALUE {'pk': 970007, 'l': [1, 1e126]}", format!("{OVERFLOW} under root[1]")),
        ("x IS INT4", "Unsupported operation: IsType".to_owned()),
        ("x IS DOUBLE PRECISION", "Unsupported operation: IsType".to_owned()),
        ("x IS CHARACTER VARYING", "Unsupported operation: IsType".to_owned()),
        (
            "SELECT * FROM T WHERE attribute_exists('ss')",
            "Operator or function requires a document path; operator or function: attribute_exists".to_owned(),
        ),
        (
            "SELECT * FROM T WHERE attribute_exists()",
            "Incorrect number of operands for operator or function; operator or function: attribute_exists, number of \
             operands: 0"
                .to_owned(),
        ),
        (
            "SELECT * FROM T WHERE attribute_exists(ss, ns)",
            "Incorrect number of operands for operator or function; operator or function: attribute_exists, number of \
             operands: 2"
                .to_owned(),
        ),
        ("SELECT attribute_exists(ss) FROM T WHERE pk = 'x'", "Unexpected path component at 1:8:16".to_owned()),
        ("SELECT * FROM T WHERE EXISTS(ss)", "Unrecognized function: exists at 1:23:6".to_owned()),
        (
            "UPDATE T SET t = set_add(ss, <<'x'>>) WHERE pk = 'x'",
            "The first argument to SET_ADD must equal the assignment value at 1:18:7".to_owned(),
        ),
        (
            "UPDATE T SET ss = set_add(<<'a'>>, <<'b'>>) WHERE pk = 'x'",
            "The first argument to SET_ADD must equal the assignment value at 1:19:7".to_owned(),
        ),
        (
            "UPDATE T SET ss = set_add(ss, 'x') WHERE pk = 'x'",
            "The second argument to SET_ADD must be a value with type SET at 1:27:2".to_owned(),
        ),
        (
            "UPDATE T SET ss = set_add(ss, ['x']) WHERE pk = 'x'",
            "The second argument to SET_ADD must be a value with type SET at 1:27:2".to_owned(),
        ),
        ("UPDATE T SET ss = set_add(ss) WHERE pk = 'x'", "SET_ADD must have exactly two arguments at 1:19:7".to_owned()),
        (
            "UPDATE T SET t = set_delete(ss, <<'a'>>) WHERE pk = 'x'",
            "The first argument to SET_DELETE must equal the assignment value at 1:18:10".to_owned(),
        ),
        (
            "UPDATE T SET ss = set_add(ss, <<'x', 'x'>>) WHERE pk = 'x'",
            "One or more parameter values were invalid: Input collection [x, x] contains duplicates.".to_owned(),
        ),
        ("UPDATE T SET ss = set_add(ss, <<>>) WHERE pk = 'x'", "Empty bags are not supported".to_owned()),
        ("SELECT * FROM T WHERE set_add(ss, <<'x'>>) = ss", "Unrecognized function: set_add at 1:23:7".to_owned()),
        (
            "INSERT INTO T VALUE {'pk': 'x', 'ss': set_add(<<'a'>>, <<'b'>>)}",
            "Unsupported data type: set_add under key root at 1:39:7".to_owned(),
        ),
        (
            "DELETE FROM T WHERE pk = 'x' RETURNING MODIFIED OLD *",
            "Invalid returning clause: RETURNING MODIFIED OLD *. Only RETURNING ALL OLD * is allowed in DELETE statements."
                .to_owned(),
        ),
        (
            "SELECT * FROM \"T\".\"gsi-all\".\"extra\" WHERE pk = 'p'",
            "A path may contain at most 2 components in the FROM clause".to_owned(),
        ),
        ("SELECT * FROM \"T\".\"\" WHERE pk = 'p'", "Path component cannot be an empty string".to_owned()),
        ("SELECT * FROM \"\" WHERE pk = 'p'", "Path component cannot be an empty string".to_owned()),
        ("SELECT *, a FROM T", "Other attributes should not be present in the projection when '*' is used.".to_owned()),
        (
            "SELECT * FROM T WHERE pk = ?",
            "Number of parameters in request and statement don't match.".to_owned(),
        ),
        (
            "INSERT INTO T VALUE << {'pk': 1}, {'pk': 2} >>",
            "Unsupported operation: Inserting multiple items in a single statement is not supported, use \"INSERT INTO \
             tableName VALUE item\" instead"
                .to_owned(),
        ),
    ] {
        assert_eq!(refused(statement, &[]), message, "{statement}");
    }
    assert_eq!(
        refused("SELECT pk FROM T WHERE pk = ? AND val < ?", &[s("x"), Value::Bool(true)]),
        "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL"
    );
    assert_eq!(
        refused("SELECT * FROM T WHERE pk = 1", &[s("x")]),
        "Number of parameters in request and statement don't match."
    );
}

#[test]
fn a_select_means_a_condition_columns_and_an_order() {
    let statement = "SELECT a.b[0], \"odd name\" FROM \"T\".idx WHERE pk = ? AND NOT size(l) > 2 ORDER BY pk, sk DESC;";
    let Ok(Statement::Select(select)) = parse(statement, &[s("x")]) else { panic!() };
    assert_eq!((select.source.table.as_str(), select.source.index.as_deref()), ("T", Some("idx")));
    assert_eq!(select.order, [("pk".to_owned(), false), ("sk".to_owned(), true)]);
    let found =
        item(&[("a", Value::M(item(&[("b", Value::L(vec![n(7)]))]))), ("odd name", s("y")), ("more", Value::Null)]);
    assert_eq!(select.row(found), item(&[("b[0]", n(7)), ("odd name", s("y"))]));
    let condition = select.condition.unwrap();
    assert!(condition.is_met(&item(&[("pk", s("x")), ("l", Value::L(vec![n(1)]))])));
    assert!(!condition.is_met(&item(&[("pk", s("x")), ("l", Value::L(vec![n(1), n(2), n(3)]))])));
    assert!(!condition.is_met(&item(&[("pk", s("z"))])));
}

#[test]
fn conditions_have_the_operators_of_the_dialect() {
    let found = item(&[
        ("t", s("it's")),
        ("n", n(5)),
        ("null", Value::Null),
        ("set", Value::Ss(["a".to_owned(), "b".to_owned()].into())),
        ("m", Value::M(item(&[("x", n(1))]))),
    ]);
    for (condition, met) in [
        ("t = 'it''s'", true),
        ("n IN [4, 5]", true),
        ("n IN (4, 6)", false),
        ("n NOT IN (4, 6)", true),
        ("n IN (5)", true),
        ("n BETWEEN 4 AND 5 AND t <> 'x'", true),
        ("n NOT BETWEEN 4 AND 5", false),
        ("gone IS MISSING", true),
        ("n IS NOT MISSING", true),
        ("\"null\" IS NULL", true),
        ("n IS NULL OR n = -5", false),
        ("n != 5", false),
        ("gone <> 5", true),
        ("attribute_type(\"set\", 'SS')", true),
        ("BEGINS_WITH(t, 'it')", true),
        ("contains(\"set\", 'b')", true),
        ("size(\"set\") = 2", true),
        ("m.x >= 1 AND m['x'] < 1.5e0", true),
        ("(n = 1 OR n = 5) AND NOT (n = 4)", true),
        ("attribute_exists(m.x) and attribute_not_exists(m.y)", true),
        ("\"set\" = <<'b', 'a'>>", true),
        ("m = {'x': 1}", true),
        ("5 = n", true),
    ] {
        let Ok(Statement::Select(select)) = parse(&format!("SELECT * FROM t WHERE {condition}"), &[]) else {
            panic!("{condition}: {:?}", parse(&format!("SELECT * FROM t WHERE {condition}"), &[]));
        };
        assert_eq!(select.condition.unwrap().is_met(&found), met, "{condition}");
    }
}

#[test]
fn writes_mean_items_updates_and_what_is_given_back() {
    let Ok(Statement::Insert(insert)) = parse("INSERT INTO T value {'a': ?, 'l': [true, null, -1.50]}", &[s("x")])
    else {
        panic!()
    };
    let wanted = item(&[
        ("a", s("x")),
        ("l", Value::L(vec![Value::Bool(true), Value::Null, Value::N("-1.5".parse().unwrap())])),
    ]);
    assert_eq!(insert.item, wanted);
    let statement = "UPDATE T SET n = n + 1, l = list_append(l, ?) SET ss = set_add(ss, <<'b'>>) REMOVE gone \
                     WHERE pk = 'x' AND sk = 2 AND n > 1 RETURNING MODIFIED NEW *";
    let Ok(Statement::Update(update)) = parse(statement, &[Value::L(vec![n(2)])]) else { panic!() };
    assert_eq!(update.returning, Some(Returning::ModifiedNew));
    let mut changed = item(&[
        ("n", n(4)),
        ("l", Value::L(vec![n(1)])),
        ("ss", Value::Ss(["a".to_owned()].into())),
        ("gone", Value::Null),
    ]);
    update.update.apply(&mut changed).unwrap();
    let wanted = item(&[
        ("n", n(5)),
        ("l", Value::L(vec![n(1), n(2)])),
        ("ss", Value::Ss(["a".to_owned(), "b".to_owned()].into())),
    ]);
    assert_eq!(changed, wanted);
    let (key, rest) = key_of(update.condition.as_ref(), &["pk", "sk"]).unwrap();
    assert_eq!(key, item(&[("pk", s("x")), ("sk", n(2))]));
    assert!(rest.unwrap().is_met(&item(&[("n", n(2))])));
    assert!(matches!(parse("FROM T WHERE pk = 'x' SET a = 1", &[]), Ok(Statement::Update(_))));
    assert!(matches!(parse("EXISTS(SELECT * FROM T WHERE pk = 'x' AND a = 1)", &[]), Ok(Statement::Exists(_))));
    for condition in ["sk = 2", "pk = 'x'", "pk = 'x' OR sk = 2", "pk > 'x' AND sk = 2"] {
        let Ok(Statement::Delete(delete)) = parse(&format!("DELETE FROM T WHERE {condition}"), &[]) else { panic!() };
        assert_eq!(
            key_of(delete.condition.as_ref(), &["pk", "sk"]).unwrap_err().0,
            "Where clause does not contain a mandatory equality on all key attributes"
        );
    }
}

#[test]
fn the_key_in_a_condition_is_recognised() {
    let plan = |condition: &str| {
        let Ok(Statement::Select(select)) = parse(&format!("SELECT * FROM t WHERE {condition}"), &[]) else { panic!() };
        Plan::of(select.condition.as_ref(), "pk", Some("sk"))
    };
    let found = plan("a = 1 AND pk = 'x' AND sk > 4 AND sk < 9").unwrap();
    assert_eq!(found.hashes, [s("x")]);
    assert_eq!(found.range, Some(KeyCondition::Compare(Comparator::Greater, n(4))));
    assert!(found.keyed && matches!(&found.filter, Some(Condition::And(left)) if left.len() == 2));
    let found = plan("'x' = pk AND 4 >= sk").unwrap();
    assert_eq!(found.range, Some(KeyCondition::Compare(Comparator::LessOrEqual, n(4))));
    assert_eq!(found.filter, None);
    assert_eq!(plan("pk IN ['x', 'y', 'x'] AND begins_with(sk, 'a')").unwrap().hashes, [s("x"), s("y")]);
    assert_eq!(plan("pk = 'x' OR pk = 'y'").unwrap().hashes, [s("x"), s("y")]);
    for scan in ["sk = 1", "pk > 'x'", "pk = 'x' OR a = 1", "NOT pk = 'x'", "pk.a = 'x'", "pk = sk"] {
        let found = plan(scan).unwrap();
        assert!(found.hashes.is_empty() && found.range.is_none() && found.filter.is_some(), "{scan}");
    }
    for overlap in ["pk = 'a' AND x = '1' OR pk = 'a' AND sk = '2'", "pk = 'a' AND x <> '1' OR pk = 'a' AND sk = '2'"] {
        assert_eq!(
            plan(overlap).unwrap_err().0,
            "Overlapping conditions with range keys are not supported in where clause"
        );
    }
    let both = Condition::Compare(
        Comparator::Equal,
        Operand::Path(Path::attribute("pk")),
        Operand::Path(Path::attribute("pk")),
    );
    assert!(Plan::of(Some(&both), "pk", None).unwrap().hashes.is_empty());
}

/// Words that statements are made of, and some that they are not.
fn word() -> impl Strategy<Value = String> {
    let words = [
        "SELECT",
        "*",
        "FROM",
        "T",
        "\"T\"",
        ".",
        "WHERE",
        "pk",
        "=",
        "'x'",
        "1",
        "-",
        "1e5",
        "AND",
        "OR",
        "NOT",
        "(",
        ")",
        "[",
        "]",
        "<<",
        ">>",
        "{",
        "}",
        ":",
        ",",
        "?",
        "IN",
        "BETWEEN",
        "IS",
        "MISSING",
        "NULL",
        "SET",
        "REMOVE",
        "UPDATE",
        "DELETE",
        "INSERT",
        "INTO",
        "VALUE",
        "RETURNING",
        "ALL",
        "OLD",
        "NEW",
        "ORDER",
        "BY",
        "DESC",
        "size",
        "contains",
        "set_add",
        "list_append",
        "EXISTS",
        ";",
        "--",
        "/*",
        "\n",
        "é",
    ];
    proptest::sample::select(words.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn any_text_gives_a_statement_or_an_error(text in ".{0,200}") {
        let _ = parse(&text, &[s("x")]);
    }

    #[test]
    fn any_row_of_words_gives_a_statement_or_an_error(words in proptest::collection::vec(word(), 0..60)) {
        let _ = parse(&words.join(" "), &[s("x"), n(1)]);
    }

    #[test]
    fn what_a_plan_leaves_out_is_what_it_looks_for(
        wanted in proptest::collection::vec((0..3_i32, 0..3_i32, 0..3_usize), 1..4),
        (pk, sk) in (0..3_i32, 0..3_i32),
    ) {
        // Whatever is looked at by the plan and kept by its filter is what the whole condition is met by.
        let parts: Vec<String> = wanted
            .iter()
            .map(|(hash, range, form)| match form {
                0 => format!("pk = {hash}"),
                1 => format!("sk >= {range}"),
                _ => format!("(pk IN [{hash}, 1] AND sk <> {range})"),
            })
            .collect();
        let statement = format!("SELECT * FROM t WHERE {}", parts.join(" AND "));
        let Ok(Statement::Select(select)) = parse(&statement, &[]) else { panic!("{statement}") };
        let plan = Plan::of(select.condition.as_ref(), "pk", Some("sk")).unwrap();
        let found = item(&[("pk", n(pk)), ("sk", n(sk))]);
        let looked_at = (plan.hashes.is_empty() || plan.hashes.contains(&n(pk)))
            && plan.range.as_ref().is_none_or(|range| range.is_met(&n(sk)));
        let kept = looked_at && plan.filter.as_ref().is_none_or(|filter| filter.is_met(&found));
        prop_assert_eq!(kept, select.condition.unwrap().is_met(&found));
    }
}

#[test]
fn depth_and_length_are_bounded() {
    for (open, close) in [("(", ")"), ("[", "]"), ("{'a':", "}"), ("NOT ", ""), ("<<", ">>"), ("size(", ")")] {
        let deep = format!("SELECT * FROM t WHERE a = 1 AND {}1{}", open.repeat(1000), close.repeat(1000));
        assert!(parse(&deep, &[]).is_err());
    }
    assert!(refused(&format!("SELECT * FROM t WHERE a = '{}'", "x".repeat(9000)), &[]).contains("Statement size"));
    for (part, by, many, most) in [("a = 1", " AND ", 300, 150), ("a = 1", " OR ", 300, 150), ("1", "+", 2000, 300)] {
        let chain = |length: usize| match part {
            "1" => format!("UPDATE t SET a = {} WHERE pk = 1", vec![part; length].join(by)),
            _ => format!("SELECT * FROM t WHERE {}", vec![part; length].join(by)),
        };
        assert!(parse(&chain(most), &[]).is_ok(), "{by}");
        assert!(refused(&chain(many), &[]).contains("too many operators"), "{by}");
    }
}
