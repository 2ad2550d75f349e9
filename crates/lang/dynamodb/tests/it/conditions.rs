//! Conditions, key conditions and projections: what is refused, and what is met.

use lang_dynamodb::{Condition, KeyCondition, Placeholders, Projection, Value};

use crate::support::{Given, b, item, l, m, n, ns, s, ss};

fn refusal(text: &str) -> String {
    match Condition::parse("ConditionExpression", text, &mut Given::new().placeholders()) {
        Ok(condition) => format!("{condition:?}"),
        Err(error) => error.0.strip_prefix("Invalid ConditionExpression: ").unwrap_or(&error.0).to_owned(),
    }
}

#[test]
fn what_has_the_wrong_form_is_told_with_its_neighbours() {
    for (text, token, near) in [
        ("foo", "<EOF>", "foo"),
        ("a = ", "<EOF>", "="),
        ("a =", "<EOF>", "="),
        ("attribute_not_exists(", "<EOF>", "("),
        ("NOT (#a)", "<EOF>", ")"),
        ("attribute_exists([1])", "[", "([1"),
        ("pk = :s AND __typename = :t", "_", "AND __"),
        ("a == :s", "=", "== :s"),
        ("= :s", "=", "= :s"),
        ("a = :s :t", ":t", ":s :t"),
        ("a : b", ":", "a : b"),
        ("a & b = :s", "&", "a & b"),
        ("a = :s AND", "<EOF>", "AND"),
        ("a = :s OR AND", "AND", "OR AND"),
        ("a BETWEEN :n OR :m", "OR", ":n OR :m"),
        ("a IN :s", ":s", "IN :s"),
        ("a IN ()", ")", "()"),
        ("(a = :s", "<EOF>", ":s"),
        ("a = :s)", ")", ":s)"),
        ("1 = :s", "1", "1 ="),
        ("a[b] = :s", "b", "[b]"),
        ("a[ = :s", "=", "[ = :s"),
        ("a. = :s", "=", ". = :s"),
        ("a.1 = :s", "1", ".1 ="),
        ("contains(a, )", ")", ", )"),
        ("and = :s", "and", "and ="),
        ("é = :s", "é", "é ="),
        ("a-b = :s", "-", "a-b"),
    ] {
        assert_eq!(refusal(text), format!("Syntax error; token: \"{token}\", near: \"{near}\""), "{text}");
    }
}

#[test]
fn what_has_no_meaning_is_told_in_the_words_of_aws() {
    for (text, message) in [
        ("", "The expression can not be empty;"),
        ("   ", "The expression can not be empty;"),
        ("((a = :s))", "The expression has redundant parentheses;"),
        ("((a) = :s)", "Compare(Equal, Path(Path([Name(\"a\")])), Value(S(\"text\")))"),
        ("((a)) = :s", "The expression has redundant parentheses;"),
        ("a = ((:s))", "The expression has redundant parentheses;"),
        (
            "((a = :s) AND (b = :s))",
            "And([Compare(Equal, Path(Path([Name(\"a\")])), Value(S(\"text\"))), Compare(Equal, Path(Path([Name(\"b\")])), Value(S(\"text\")))])",
        ),
        ("nope(a)", "Invalid function name; function: nope"),
        ("if_not_exists(a, :s)", "Invalid function name; function: if_not_exists"),
        ("attribute_exists(nope(a))", "Invalid function name; function: nope"),
        ("size(a)", "The function is not allowed to be used this way in an expression; function: size"),
        ("size(a) AND a = :s", "The function is not allowed to be used this way in an expression; function: size"),
        ("NOT size(a)", "The function is not allowed to be used this way in an expression; function: size"),
        (
            "contains(a, :s) = :bool",
            "The function is not allowed to be used this way in an expression; function: contains",
        ),
        (
            "a = begins_with(b, :s)",
            "The function is not allowed to be used this way in an expression; function: begins_with",
        ),
        (
            "a IN (contains(b, :s))",
            "The function is not allowed to be used this way in an expression; function: contains",
        ),
        (
            "size(contains(a, :s)) = :n",
            "The function is not allowed to be used this way in an expression; function: contains",
        ),
        ("status = :s", "Attribute name is a reserved keyword; reserved keyword: status"),
        ("a.Name = :s", "Attribute name is a reserved keyword; reserved keyword: Name"),
        ("#r.value = :s", "Attribute name is a reserved keyword; reserved keyword: value"),
        ("#c = :s", "An expression attribute name used in the document path is not defined; attribute name: #c"),
        ("a = :c", "An expression attribute value used in expression is not defined; attribute value: :c"),
        ("a.#c = :c", "An expression attribute name used in the document path is not defined; attribute name: #c"),
        (
            "attribute_exists(a, b)",
            "Incorrect number of operands for operator or function; operator or function: attribute_exists, number of operands: 2",
        ),
        (
            "begins_with(a)",
            "Incorrect number of operands for operator or function; operator or function: begins_with, number of operands: 1",
        ),
        (
            "size(a, b) = :n",
            "Incorrect number of operands for operator or function; operator or function: size, number of operands: 2",
        ),
        (
            "contains(a, b, c)",
            "Incorrect number of operands for operator or function; operator or function: contains, number of operands: 3",
        ),
        (
            "attribute_exists(:s)",
            "Operator or function requires a document path; operator or function: attribute_exists",
        ),
        (
            "attribute_not_exists(size(a))",
            "Operator or function requires a document path; operator or function: attribute_not_exists",
        ),
        (
            "a = a",
            "The first operand must be distinct from the remaining operands for this operator or function; operator: =, first operand: [a]",
        ),
        (
            "a.b[1] <> #a.#b[1]",
            "The first operand must be distinct from the remaining operands for this operator or function; operator: <>, first operand: [a, b, [1]]",
        ),
        (
            "contains(a, a)",
            "The first operand must be distinct from the remaining operands for this operator or function; operator: contains, first operand: [a]",
        ),
        ("a < :bool", "Incorrect operand type for operator or function; operator or function: <, operand type: BOOL"),
        (":ss >= a", "Incorrect operand type for operator or function; operator or function: >=, operand type: SS"),
        ("a > :map", "Incorrect operand type for operator or function; operator or function: >, operand type: M"),
        (
            "a BETWEEN :l AND :l",
            "Incorrect operand type for operator or function; operator or function: BETWEEN, operand type: L",
        ),
        (
            "begins_with(a, :n)",
            "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
        ),
        (
            "begins_with(a, size(b))",
            "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
        ),
        (
            "size(:n) = :n",
            "Incorrect operand type for operator or function; operator or function: size, operand type: N",
        ),
        (
            "size(:null) = :n",
            "Incorrect operand type for operator or function; operator or function: size, operand type: NULL",
        ),
        (
            "attribute_type(a, :n)",
            "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: N",
        ),
        (
            "attribute_type(a, b)",
            "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: {NS,SS,L,BS,N,M,B,BOOL,NULL,S}",
        ),
        (
            "attribute_type(a, :notype)",
            "Invalid attribute type name found; type: X, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
        ),
        (
            "a BETWEEN :m AND :n",
            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {N:7}, upper bound operand: AttributeValue: {N:5}",
        ),
        (
            "a BETWEEN :s AND :n",
            "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: AttributeValue: {S:text}, upper bound operand: AttributeValue: {N:5}",
        ),
        // Of several mistakes AWS reports one.
        ("((nope(status) = :c))", "The expression has redundant parentheses;"),
        ("nope(status) = :c", "Invalid function name; function: nope"),
        ("status = :c", "Attribute name is a reserved keyword; reserved keyword: status"),
        (
            "a = :c AND b < :bool",
            "An expression attribute value used in expression is not defined; attribute value: :c",
        ),
    ] {
        assert_eq!(refusal(text), message, "{text}");
    }
}

#[test]
fn an_expression_is_bounded() {
    let long = format!("a = :s{}", " ".repeat(4096));
    assert_eq!(
        refusal(&long),
        format!("Expression size has exceeded the maximum allowed size; expression size: {}", long.len())
    );
    let many = vec!["a=:s"; 151].join(" OR ");
    assert_eq!(refusal(&many), "The expression contains too many operators; operator count: 301");
    let list = format!("a IN ({})", vec![":s"; 101].join(","));
    assert_eq!(refusal(&list), "The IN operator is provided with too many operands; number of operands: 101");
    let deep = format!("{}a = :s{}", "NOT (".repeat(300), ")".repeat(300));
    assert!(refusal(&deep).starts_with("The expression is nested too deeply"), "{}", refusal(&deep));
}

#[test]
fn placeholders_are_checked() {
    let names = |keys: &[&str]| keys.iter().map(|key| ((*key).to_owned(), "a".to_owned())).collect();
    let (nix, wrong, two) = (names(&[]), names(&["#a-"]), names(&["#a", "#b"]));
    let message = |result: Result<Placeholders<'_>, lang_dynamodb::Invalid>| result.unwrap_err().0;
    assert_eq!(message(Placeholders::new(Some(&nix), None)), "ExpressionAttributeNames must not be empty");
    assert_eq!(
        message(Placeholders::new(Some(&wrong), None)),
        "ExpressionAttributeNames contains invalid key: Syntax error; key: \"#a-\""
    );
    let values = item(&[(":x", n("1")), (":y", n("2"))]);
    let mut both = Placeholders::new(Some(&two), Some(&values)).unwrap();
    Condition::parse("FilterExpression", "#a = :x", &mut both).unwrap();
    assert_eq!(
        both.finish().unwrap_err().0,
        "Value provided in ExpressionAttributeNames unused in expressions: keys: {#b}"
    );
    Condition::parse("FilterExpression", "#b = :x", &mut both).unwrap();
    assert_eq!(
        both.finish().unwrap_err().0,
        "Value provided in ExpressionAttributeValues unused in expressions: keys: {:y}"
    );
    assert_eq!(
        Condition::parse("FilterExpression", "#z = :x", &mut both).unwrap_err().0,
        "Invalid FilterExpression: An expression attribute name used in the document path is not defined; attribute \
         name: #z"
    );
}

#[test]
fn conditions_are_met_as_the_item_has_it() {
    let item = item(&[
        ("str", s("text")),
        ("num", n("5")),
        ("bin", b(b"a binary")),
        ("flag", Value::Bool(true)),
        ("nil", Value::Null),
        ("strs", ss(&["x", "y"])),
        ("nums", ns(&["5", "6"])),
        ("arr", l(&[n("5"), s("text"), m(&[("k", n("1"))])])),
        ("doc", m(&[("k", n("1")), ("inside", m(&[("deep", s("text"))]))])),
        ("x.y", n("9")),
    ]);
    for (text, met) in [
        ("str = :s", true),
        ("str = :t", false),
        ("str <> :t", true),
        ("str < :t", true),
        ("num < :s", false),
        ("num >= :n AND num <= :n", true),
        ("num < :m", true),
        ("num > :m OR flag = :bool", true),
        ("NOT num > :m", true),
        ("NOT (num > :m OR flag = :bool)", false),
        ("absent = :s", false),
        ("absent <> :s", true),
        ("absent < :s", false),
        ("NOT absent = :s", true),
        ("absent = lacking", false),
        ("nil = :null", true),
        ("strs = :ss", true),
        ("doc.k < num", true),
        ("doc.inside.deep = str", true),
        ("arr[0] = num", true),
        ("arr[2].k = doc.k", true),
        ("arr[9] = :n", false),
        ("doc[0] = :n", false),
        ("#dot > :m", true),
        ("num BETWEEN :n AND :m", true),
        ("str BETWEEN :n AND :m", false),
        ("num IN (:m, :n)", true),
        ("num IN (:m, :s)", false),
        ("absent IN (:m)", false),
        ("attribute_exists(doc.inside)", true),
        ("attribute_exists(doc.nix)", false),
        ("attribute_not_exists(doc.nix)", true),
        ("attribute_type(strs, :type)", true),
        ("attribute_type(num, :type)", false),
        ("begins_with(str, :t)", false),
        ("begins_with(str, :s)", true),
        ("begins_with(bin, :b)", false),
        ("contains(str, :s)", true),
        ("contains(bin, :b)", true),
        ("contains(strs, doc)", false),
        ("contains(nums, num)", true),
        ("contains(arr, :s)", true),
        ("contains(arr, :t)", false),
        ("size(str) < :n", true),
        ("size(arr) < size(bin)", true),
        ("size(num) = :n", false),
        ("size(doc) < :n", true),
        ("(str = :s) AND (num = :n) AND flag = :bool", true),
        ("str = :t AND num = :n OR flag = :bool", true),
        ("str = :t AND (num = :n OR flag = :bool)", false),
    ] {
        let condition = Condition::parse("ConditionExpression", text, &mut Given::new().placeholders());
        let condition = condition.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(condition.is_met(&item), met, "{text}");
    }
}

#[test]
fn a_key_condition_is_one_that_an_index_can_answer() {
    for (text, message) in [
        ("a = :s OR b = :n", "Invalid operator used in KeyConditionExpression: OR"),
        ("NOT a = :s", "Invalid operator used in KeyConditionExpression: NOT"),
        ("a IN (:s)", "Invalid operator used in KeyConditionExpression: IN"),
        ("a <> :s", "Invalid operator used in KeyConditionExpression: <>"),
        ("attribute_exists(a)", "Invalid operator used in KeyConditionExpression: attribute_exists"),
        ("contains(a, :s)", "Invalid operator used in KeyConditionExpression: contains"),
        ("size(a) = :n", "KeyConditionExpressions cannot contain nested operations"),
        ("a.b = :s", "KeyConditionExpressions cannot have conditions on nested attributes"),
        ("a = :s AND a = :t", "KeyConditionExpressions must only contain one condition per key"),
        ("a = b", "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition"),
        (":s = :t", "Invalid condition in KeyConditionExpression: No key attribute specified"),
        (
            "begins_with(:s, a)",
            "Invalid condition in KeyConditionExpression: begins_with operator must have the key attribute as its first operand",
        ),
        (
            ":n BETWEEN a AND b",
            "Invalid condition in KeyConditionExpression: BETWEEN operator must have the key attribute as its first operand",
        ),
        (
            "a = :c",
            "Invalid KeyConditionExpression: An expression attribute value used in expression is not defined; attribute value: :c",
        ),
    ] {
        let given = Given::new();
        assert_eq!(KeyCondition::parse(text, &mut given.placeholders()).unwrap_err().0, message, "{text}");
    }
    let given = Given::new();
    let read = |text: &str| KeyCondition::parse(text, &mut given.placeholders()).unwrap();
    assert_eq!(read(":n < a"), read("a > :n"), "turned round it says the same");
    assert_eq!(read("(#a = :s) AND (b BETWEEN :n AND :m)").len(), 2);
}

#[test]
fn a_projection_keeps_what_its_paths_lead_to() {
    let whole = item(&[
        ("a", m(&[("b", n("1")), ("c", n("2"))])),
        ("l", l(&[n("0"), m(&[("x", n("1")), ("y", n("2"))]), n("2")])),
        ("z", s("text")),
    ]);
    for (text, kept) in [
        ("z", item(&[("z", s("text"))])),
        ("a.b, z", item(&[("a", m(&[("b", n("1"))])), ("z", s("text"))])),
        ("l[2], l[0]", item(&[("l", l(&[n("0"), n("2")]))])),
        ("l[1].y", item(&[("l", l(&[m(&[("y", n("2"))])]))])),
        ("a.nix, nothing, l[7], z.deeper", item(&[])),
    ] {
        let projection = Projection::parse(text, &mut Placeholders::default()).unwrap();
        assert_eq!(projection.apply(&whole), kept, "{text}");
    }
    for (text, message) in [
        ("!!!", "Syntax error; token: \"!\", near: \"!!\""),
        ("a b", "Syntax error; token: \"b\", near: \"a b\""),
        ("a,", "Syntax error; token: \"<EOF>\", near: \",\""),
        ("name", "Attribute name is a reserved keyword; reserved keyword: name"),
        (
            "a, a.b",
            "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
        ),
        (
            "a.b, a[1]",
            "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a, [1]]",
        ),
        ("a[2147483648]", "List index is not within the allowable range; index: [2147483648]"),
    ] {
        let error = Projection::parse(text, &mut Placeholders::default()).unwrap_err();
        assert_eq!(error.0, format!("Invalid ProjectionExpression: {message}"), "{text}");
    }
}
