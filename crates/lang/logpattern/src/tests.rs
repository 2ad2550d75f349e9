//! Tables of patterns and messages, most of them AWS's documented examples, and hostile texts.

use proptest::prelude::*;

use super::*;

fn check(pattern: &str, message: &str, expected: bool) {
    let compiled = Pattern::compile(pattern).unwrap_or_else(|error| panic!("`{pattern}`: {error}"));
    assert_eq!(compiled.matches(message), expected, "`{pattern}` on `{message}`");
    if let (true, Some(text)) = (expected, compiled.required_text()) {
        assert!(memchr::memmem::find(message.as_bytes(), text).is_some(), "`{pattern}` requires too much");
    }
}

fn check_invalid(pattern: &str, message: &str) {
    let error = Pattern::compile(pattern).err().unwrap_or_else(|| panic!("`{pattern}` was taken"));
    assert_eq!(error.to_string(), message, "`{pattern}`");
}

#[test]
fn terms_occur_do_not_occur_or_one_of_them_does() {
    let both = "ERROR WARN message";
    let error = "[ERROR] Exiting with ERRORCODE: -1";
    let warn = "WARN message";
    for (pattern, message, expected) in [
        ("", error, true),
        ("   ", "", true),
        ("\"\"", error, true),
        ("ERROR", both, true),
        ("ERROR", warn, false),
        ("error", error, false),
        ("ERRORC", error, true),
        ("ERROR WARN", both, true),
        ("ERROR WARN", error, false),
        ("ERROR -Exiting", error, false),
        ("ERROR -Exiting", both, true),
        ("ERROR -\"ERRORCODE: -1\"", error, false),
        ("-WARN", error, true),
        ("-WARN", warn, false),
        ("?ERROR ?WARN", both, true),
        ("?ERROR ?WARN", error, true),
        ("?ERROR ?WARN", warn, true),
        ("?ERROR ?WARN", "INFO", false),
        ("?INFO message", warn, true),
        ("?message -WARN", "nothing", true),
        ("\"[ERROR]\"", error, true),
        ("\"a \\\"b\\\" c\"", "a \"b\" c", true),
        ("\"back\\\\slash\"", "back\\slash", true),
        ("\"a\\d\"", "a\\d", true),
        ("naïve", "a naïve one", true),
        ("_id", "x_id", true),
        ("\"multi\nline\"", "multi\nline", true),
        ("\"x\" \"y\"", "y x", true),
    ] {
        check(pattern, message, expected);
    }
}

#[test]
fn regular_expressions_are_awss_subset() {
    for (pattern, message, expected) in [
        ("%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST", true),
        ("%AUTHORIZED%", "no", false),
        ("%^[hc]at%", "cat", true),
        ("%^[hc]at%", "a cat", false),
        ("%[hc]at$%", "a hat", true),
        ("%colou?r%", "color", true),
        ("%a{3,5}%", "xaaax", true),
        ("%a{3,5}%", "xaax", false),
        ("%gray|grey%", "grey", true),
        ("%10\\.10\\.0\\.1%", "10.10.0.1", true),
        ("%10\\.10\\.0\\.1%", "10x10x0x1", false),
        ("%\\d\\D\\s\\S\\w\\W%", "1a bc!", true),
        ("%\\x3B%", "a;b", true),
        ("%\\x28a\\x29%", "f(a)", true),
        ("%[a-c-]%", "-", true),
        ("%[-a]%", "-", true),
        ("%[a[]%", "[", true),
        ("%[^a]%", "aab", true),
        ("%[^a]%", "aaa", false),
        ("%[.]%", "x", false),
        ("%[a-d--b]%", "c", true),
        ("%ab+c*%", "abbb", true),
        ("-%4\\d\\d%", "code 404", false),
        ("ERROR %4\\d\\d%", "ERROR 404", true),
        ("?%5\\d\\d% ?%4\\d\\d%", "404", true),
        ("%.%", "é", true),
    ] {
        check(pattern, message, expected);
    }
    for (pattern, message) in [
        ("%something!%", "Invalid character(s) in term '!'"),
        ("%(a)%", "Invalid character(s) in term '('"),
        ("%\\(a%", "Invalid character(s) in term '('"),
        ("%a b%", "Invalid character(s) in term ' '"),
        ("%é%", "Invalid character(s) in term 'é'"),
        ("%%", "Invalid filter pattern"),
        ("%a", "Invalid filter pattern"),
        ("%[a%", "Invalid filter pattern"),
        ("%a]%", "Invalid filter pattern"),
        ("%*%", "Invalid filter pattern"),
        ("%\\%", "Invalid filter pattern"),
        ("%\\xZZ%", "Invalid filter pattern"),
        ("%\\xff%", "Invalid filter pattern"),
        ("%a{1000}{1000}%", "Invalid filter pattern"),
        ("%a% %b% %c%", "Invalid filter pattern"),
    ] {
        check_invalid(pattern, message);
    }
}

const APACHE: &str = r#"127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534"#;

#[test]
fn fields_of_a_line_are_matched_by_place() {
    for (pattern, message, expected) in [
        ("[ip, user, username, timestamp, request, status_code, bytes]", APACHE, true),
        ("[ip, user, username, timestamp, request, status_code]", APACHE, false),
        ("[ip, user, username, timestamp, request, status_code, bytes, more]", APACHE, false),
        ("[..., status_code, bytes]", APACHE, true),
        ("[ip, user, ..., status_code, bytes]", APACHE, true),
        ("[ip, user, ...]", APACHE, true),
        ("[...]", "", true),
        ("[a, ...]", "", false),
        ("[a, ..., b]", "one", false),
        ("[a, ..., b]", "one two", true),
        ("[ip, user, username, timestamp, request, status_code, bytes > 1000]", APACHE, true),
        ("[ip, user, username, timestamp, request, status_code, bytes > 2000]", APACHE, false),
        ("[ip, user, username, timestamp, request, status_code = 4*, bytes]", APACHE, true),
        ("[ip, user, username, timestamp, request = *html*, status_code = 4*, bytes]", APACHE, true),
        ("[ip, user, username, timestamp, request, status_code = 4* && status_code != 404, bytes]", APACHE, false),
        ("[ip, u, n, t, r, status_code = 403 || status_code = 404, bytes]", APACHE, true),
        ("[..., (s = 403 || s = 404) && s != 4040, bytes<=1534]", APACHE, true),
        ("[..., request=*.html*, status_code=4*,]", APACHE, true),
        ("[ip=%127\\.0\\.0\\.[1-9]%, ...]", APACHE, true),
        ("[ip, user, username = \"fra*\", ...]", APACHE, true),
        ("[ip, user != \"-\", ...]", APACHE, false),
        ("[t=*Z, id=\"*-*\", level=ERROR, ...]", "2026-11-23T12:00:00.000Z 7b3a-64 ERROR it broke", true),
        ("[w1=ERROR, w2]", "ERROR WARN message", false),
        ("[w1=ERROR, w2]", "ERROR message", true),
        ("[w1=ERROR || w1=WARN, w2]", "WARN message", true),
        ("[w1!=ERROR&&w1!=WARN, w2]", "INFO message", true),
        ("[w1=ERROR, ...]", "[ERROR] it broke", true),
        ("[a, b]", "one [two", true),
        ("[a, b]", "one \"two three\"\n", true),
        ("[a=1.50]", "1.5", true),
        ("[a<5]", "text", false),
        ("[,]", "a b", true),
        ("[]", "one", true),
        ("[a=Ev*ent]", "Event", false),
        ("[a=Ev*ent]", "Ev*ent", true),
    ] {
        check(pattern, message, expected);
    }
    for (pattern, message) in [
        ("[a, b", "If a filter pattern starts with '[' it must end with ']'"),
        ("[..., a, ...]", "Invalid filter pattern"),
        ("[a=1 && b=2]", "Invalid filter pattern"),
        ("[a b]", "Invalid filter pattern"),
        ("[a=]", "Invalid filter pattern"),
        ("[a>x]", "Invalid filter pattern"),
        ("[a=%x% || a=%y% || a=%z%]", "Invalid filter pattern"),
        ("[a=\"x]", "Invalid filter pattern"),
        ("[a=@x]", "Invalid character(s) in term '@'"),
    ] {
        check_invalid(pattern, message);
    }
}

const EVENT: &str = r#"{
  "eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111", "arrayKey": ["value", "another value"],
  "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}], "SomeObject": null, "ThisFlag": true, "Off": false,
  "user": {"id": 1, "email": "John.Stiles@example.com"}, "users": [{"id": 2, "email": "John.Doe@example.com"},
  {"id": 3, "email": "Jane.Doe@example.com"}], "actions": ["GET", "PUT", "DELETE"],
  "coordinates": [[0, 1, 2], [4, 5, 6], [7, 8, 9]], "latency": 1000.5, "account": "123456789012",
  "big": 9007199254740993, "detail-type": "x y", "a.b": {"c": 7}, "negative": -3, "empty": ""
}"#;

#[test]
fn json_properties_are_selected_and_compared() {
    for (pattern, expected) in [
        ("{ $.eventType = \"UpdateTrail\" }", true),
        ("{$.eventType=UpdateTrail}", true),
        ("{ $.eventType = Update* }", true),
        ("{ $.eventType = *Trail }", true),
        ("{ $.eventType = \"*dateTr*\" }", true),
        ("{ $.eventType = Up*ail }", false),
        ("{ $.eventType = * }", true),
        ("{ $.absent = * }", false),
        ("{ $.sourceIPAddress != 123.123.* }", true),
        ("{ $.sourceIPAddress != 111.111.* }", false),
        ("{ $.arrayKey[0] = \"value\" }", true),
        ("{ $.arrayKey[2] = \"value\" }", false),
        ("{ $.arrayKey[*] = \"another*\" }", true),
        ("{ $.objectList[1].id = 2 }", true),
        ("{ $.objectList[*].id = 2 }", true),
        ("{ $.objectList[*].id = 3 }", false),
        ("{ $.objectList[*].absent NOT EXISTS }", true),
        ("{ $.SomeObject IS NULL }", true),
        ("{ $.eventType IS NULL }", false),
        ("{ $.absent IS NULL }", false),
        ("{ $.SomeOtherObject NOT EXISTS }", true),
        ("{ $.SomeObject NOT EXISTS }", false),
        ("{ $.ThisFlag IS TRUE }", true),
        ("{ $.ThisFlag IS FALSE }", false),
        ("{ $.Off is false }", true),
        ("{ $.ThisFlag = true }", true),
        ("{ ($.user.id = 1) && ($.users[0].email = \"John.Doe@example.com\") }", true),
        ("{ ($.user.id = 2 && $.users[0].email = \"nonmatch\") || $.actions[2] = \"GET\" }", false),
        (
            "{ $.user.email = \"John.Stiles@example.com\" || $.coordinates[0][1] = nonmatch && $.actions[2] = nomatch }",
            true,
        ),
        (
            "{ ($.user.email = \"John.Stiles@example.com\" || $.coordinates[0][1] = nonmatch) && $.actions[2] = nomatch }",
            false,
        ),
        ("{ $.users = 1 }", false),
        ("{ $.users != 1 }", false),
        ("{ $.absent != 1 }", false),
        ("{ $.latency > 1000 }", true),
        ("{ $.latency > +1000.5 }", false),
        ("{ $.latency >= 1.0005e3 }", true),
        ("{ $.latency < 10e3 }", true),
        ("{ $.latency < 10e-3 }", false),
        ("{ $.negative <= -3 }", true),
        ("{ $.account = 123456789012 }", true),
        ("{ $.account > 5 }", false),
        ("{ $.big = 9007199254740993 }", true),
        ("{ $.big = 9007199254740992 }", false),
        ("{ $.user.id = \"1\" }", true),
        ("{ $.user.id = 1.0 }", true),
        ("{ $.detail-type = \"x y\" }", true),
        ("{ $['a.b'].c = 7 }", true),
        ("{ $.['a.b']['c'] = 7 }", true),
        ("{ $[\"a.b\"].c = 7 }", true),
        ("{ $.empty = \"\" }", true),
        ("{ $.eventType = %^Update[TU]rail$% }", true),
        ("{ $.eventType != %Create% && $.account = %\\d{12}% }", true),
    ] {
        check(pattern, EVENT, expected);
    }
    check("{ $.a = 1 }", "not json", false);
    check("{ $.a = 1 }", "{\"a\": 1", false);
    check("{ $.a = 1 }", " {\"a\": 1}\n", true);
    check("{ $[0].a = 1 }", "[{\"a\": 1}]", true);
    check("{ $.a NOT EXISTS }", "plain text", false);
    check("{ $.a NOT EXISTS }", &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), false);
}

#[test]
fn what_is_no_pattern_gets_awss_message() {
    let syntax = "Invalid filter pattern";
    for (pattern, message) in [
        ("?Status: timeout", "Invalid character(s) in term ':'"),
        ("email@example", "Invalid character(s) in term '@'"),
        ("*", "Invalid character(s) in term '*'"),
        ("level\\\"", "Invalid character(s) in term '\\\"'"),
        ("-", syntax),
        ("\"open", syntax),
        ("{$.a = 1", "If a filter pattern starts with '{' it must end with '}'"),
        ("{ $.\"sc-status\" = 5* }", "Invalid character(s) in term '$.\"'"),
        ("{}", syntax),
        ("{ a = 1 }", syntax),
        ("{ $.a }", syntax),
        ("{ $.a = }", syntax),
        ("{ $.a == 1 }", "Invalid character(s) in term '='"),
        ("{ $.a > x }", syntax),
        ("{ $.a > %1% }", syntax),
        ("{ $.a = 1 && }", syntax),
        ("{ ($.a = 1 }", syntax),
        ("{ $.a = 1 ) }", "Invalid character(s) in term ')'"),
        ("{ $.a IS MAYBE }", syntax),
        ("{ $.a NOT NULL }", syntax),
        ("{ $.a[*].b[*] = 1 }", syntax),
        ("{ $.a[*]=1 || $.b[*]=1 || $.c[*]=1 || $.d[*]=1 }", syntax),
        ("{ $.a[99999999999999999999] = 1 }", syntax),
        ("{ $.a = %x% && $.b = %y% && $.c = %z% }", syntax),
    ] {
        check_invalid(pattern, message);
    }
    check_invalid(&"a".repeat(PATTERN_LENGTH_MAX + 1), syntax);
    check(&"é".repeat(PATTERN_LENGTH_MAX), "é", false);
    let nested = |depth: usize| format!("{{ {}$.a = 1{} }}", "(".repeat(depth), ")".repeat(depth));
    check(&nested(NESTING_MAX), "{\"a\":1}", true);
    check_invalid(&nested(NESTING_MAX + 1), syntax);
    check_invalid(&format!("{{{}", "(".repeat(1000)), "If a filter pattern starts with '{' it must end with '}'");
}

#[test]
fn a_regular_expression_is_linear_on_a_hostile_line() {
    let pattern = Pattern::compile("%a*a*a*a*a*a*a*a*b%").unwrap();
    assert!(!pattern.matches(&"a".repeat(1 << 18)));
}

proptest! {
    #[test]
    fn any_text_is_compiled_or_refused(text in "\\PC{0,80}", message in "\\PC{0,80}") {
        if let Ok(pattern) = Pattern::compile(&text) {
            let _ = pattern.matches(&message);
        }
    }

    #[test]
    fn texts_near_the_grammar_never_panic(
        parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", "(", ")", "$", ".", "a", "é", "=", "!=", "<", ">=", "&&", "||", "*", "\"", "%", "\\", "\\d",
            "...", ",", " ", "IS", "NULL", "NOT", "EXISTS", "1", "-", "?", "'", "5e3", "^",
        ]), 0..40),
        wrap in 0..3_usize,
        message in "[\\[\\]\"{}a1 é:,]{0,40}",
    ) {
        let inner = parts.concat();
        let text = match wrap {
            0 => inner,
            1 => format!("{{{inner}}}"),
            _ => format!("[{inner}]"),
        };
        if let Ok(pattern) = Pattern::compile(&text) {
            let _ = pattern.matches(&message);
            let _ = pattern.matches(r#"{"a": {"a": [1, null, "é"]}, "1": true}"#);
        }
    }

    #[test]
    fn a_quoted_text_matches_exactly_where_it_occurs(text in "[a-c\"\\\\ ]{1,6}", message in "[a-c\"\\\\ ]{0,30}") {
        let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        prop_assert_eq!(Pattern::compile(&quoted).unwrap().matches(&message), message.contains(&text));
    }
}
