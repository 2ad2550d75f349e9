//! What AWS refuses, and where.

use lang_eventpattern::{Dialect, EventPattern};

fn refusal(text: &str, dialect: Dialect) -> (String, Option<usize>) {
    let error = EventPattern::parse(text, dialect).unwrap_err();
    (error.reason.clone(), error.line_and_column().map(|(_, column)| column))
}

#[test]
fn reasons_and_places_are_those_recorded_for_event_rules() {
    for (text, reason, column) in [
        (r#"{"resources": []}"#, "Empty arrays are not allowed", Some(17)),
        (
            r#"{"detail": {"state": [{"anything-but": {"equals-ignore-case": 123}}]}}"#,
            "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.",
            Some(66),
        ),
        (
            r#"{"detail": {"state": [{"anything-but": {"equals-ignore-case": [123, 456]}}]}}"#,
            "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.",
            Some(67),
        ),
        (
            r#"{"detail": {"state": [{"anything-but": ["stopped", null]}]}}"#,
            "Inside anything but list, start|null|boolean is not supported.",
            Some(56),
        ),
        (
            r#"{"detail": {"state": [{"anything-but": null}]}}"#,
            "Value of anything-but must be an array or single string/number value.",
            Some(44),
        ),
        (r#"{"detail": {"FileName": [{"anything-but": {"prefix": ""}}]}}"#, "Null prefix/suffix not allowed", Some(56)),
        (
            r#"{"detail": {"FileName": [{"anything-but": {"prefix": {"equals-ignore-case": "file"}}}]}}"#,
            "Value of anything-but must be an array or single string/number value.",
            Some(55),
        ),
        (
            r#"{"detail": {"state": [{"anything-but": {"prefix": 123}}]}}"#,
            "prefix/suffix match pattern must be a string",
            Some(54),
        ),
        (
            r#"{"detail": {"state": [{"anything-but": {"prefix": [123, "test"]}}]}}"#,
            "prefix/suffix match pattern must be a string",
            Some(55),
        ),
        (
            r#"{"detail": {"FileName": [{"anything-but": {"suffix": [null, ".txt"]}}]}}"#,
            "prefix/suffix match pattern must be a string",
            Some(59),
        ),
        (
            r#"{"detail": {"FilePath": [{"anything-but": {"wildcard": 123}}]}}"#,
            "wildcard match pattern must be a string",
            Some(59),
        ),
        (
            r#"{"detail-type": [{"equals-ignore-case": ["ec2 instance state-change notification"]}]}"#,
            "equals-ignore-case match pattern must be a string",
            Some(42),
        ),
        (
            r#"{"detail": {"sourceIPAddress": [{"cidr": ["bad-type"]}]}}"#,
            "prefix match pattern must be a string",
            Some(43),
        ),
        (r#"{"a": [{"cidr": "10.0.0.1"}]}"#, "Malformed CIDR, one '/' required", None),
        (r#"{"a": [{"cidr": "xx.11.xx/8"}]}"#, "Nonstandard IP address: xx.11.xx", None),
        (r#"{"a": [{"cidr": "xxxx:db8:1234:1a00::/64"}]}"#, "Nonstandard IP address: xxxx:db8:1234:1a00::", None),
        (r#"{"a": [{"cidr": "10.0.0.0/x"}]}"#, "Malformed CIDR, mask bits must be an integer", None),
        (r#"{"detail": {"c-count": [{"numeric": [">", 0, ">", 0]}]}}"#, "Bad numeric range operator: >", Some(49)),
        (r#"{"detail": {"c-count": [{"numeric": 10}]}}"#, "Value of numeric must be an array.", Some(39)),
        (r#"{"detail": {"equal": [{"NUMERIC": ["=", 5]}]}}"#, "Unrecognized match type NUMERIC", Some(36)),
        (r#"{"detail": {"c-count": [{"numeric": [">", 0, "<"]}]}}"#, "Value of < must be numeric", Some(50)),
        (r#"{"time": [{"prefix": 123}]}"#, "prefix match pattern must be a string", Some(25)),
        (r#"{"time": [{"prefix": ["2022-07-13"]}]}"#, "prefix match pattern must be a string", Some(23)),
        (r#"{"FileName": [{"suffix": 123}]}"#, "suffix match pattern must be a string", Some(29)),
        (r#"{"EventBusArn": [{"wildcard": 123}]}"#, "wildcard match pattern must be a string", Some(34)),
        (r#"{"int": 42}"#, r#""int" must be an object or an array"#, Some(11)),
        (r#"{"string": "my-value"}"#, r#""string" must be an object or an array"#, Some(13)),
        (r#"{"my_key": [{"EXISTS": true}]}"#, "Unrecognized match type EXISTS", Some(28)),
    ] {
        assert_eq!(refusal(text, Dialect::Events), (reason.to_owned(), column), "{text}");
    }
}

#[test]
fn reasons_and_places_are_those_recorded_for_filter_policies() {
    for (text, reason, column) in [
        (r#"{"key":[{"numeric":[]}]}"#, "Invalid member in numeric match: ]", 22),
        (r#"{"key":[{"numeric":[">",20,30]}]}"#, "Bad value in numeric range: 30", 30),
        (r#"{"key":[{"numeric":[">",20,"<="]}]}"#, "Value of <= must be numeric", 33),
        (r#"{"key":[{"numeric":[">="]}]}"#, "Value of >= must be numeric", 26),
        (r#"{"key":[{"numeric":[1,"<="]}]}"#, "Invalid member in numeric match: 1", 22),
        (r#"{"key":[{"numeric":[">",20,"<",30,"<",50]}]}"#, "Too many terms in numeric range expression", 36),
        (r#"{"key":[{"numeric":["=","000"]}]}"#, "Value of equals must be numeric", 26),
        (r#"{"key":[{"numeric":["operator"]}]}"#, "Unrecognized numeric range operator: operator", 32),
        (r#"{"key":[{"numeric":[">=",1,">",2]}]}"#, "Bad numeric range operator: >", 31),
        (r#"{"key":[{"numeric":["<",100,">",10]}]}"#, "Too many elements in numeric expression", 30),
        (r#"{"key":[{"numeric":[">","20","<","30"]}]}"#, "Value of > must be numeric", 26),
        (r#"{"key":[{"numeric":[">",20,"<","30"]}]}"#, "Value of < must be numeric", 33),
        (r#"{"key":[{"numeric":[">",20,"test"]}]}"#, "Bad numeric range operator: test", 34),
        (r#"{"key":[{"numeric":[">",3,"<",1]}]}"#, "Bottom must be less than top", 33),
        (r#"{"key":[{"cidr":["bad-filter"]}]}"#, "prefix match pattern must be a string", 18),
        (r#"{"key":[]}"#, "Empty arrays are not allowed", 10),
        (r#"{"key":[{"suffix":[]}]}"#, "suffix match pattern must be a string", 20),
        (r#"{"key":[{"suffix":null}]}"#, "suffix match pattern must be a string", 23),
        (r#"{"key":{"not-an-operator":"value"}}"#, r#""not-an-operator" must be an object or an array"#, 28),
        (r#"{"key":{"suffix":"value","prefix":"value"}}"#, r#""suffix" must be an object or an array"#, 19),
        (r#"{"key":[{"suffix":100}]}"#, "suffix match pattern must be a string", 22),
        (r#"{"key":[{"anything-but":{"exists":false}}]}"#, "Unsupported anything-but pattern: exists", 40),
        (r#"{"key":[{"anything-but":{"prefix":false}}]}"#, "prefix match pattern must be a string", 40),
        (r#"{"key":[{"anything-but":{"suffix":"test"}}]}"#, "Unsupported anything-but pattern: suffix", 36),
        (r#"{"key":[{"exists":null}]}"#, "exists match pattern must be either true or false.", 23),
        (r#"{"key":[{"exists":"no"}]}"#, "exists match pattern must be either true or false.", 20),
    ] {
        assert_eq!(refusal(text, Dialect::Sns), (reason.to_owned(), Some(column)), "{text}");
    }
}

#[test]
fn an_error_shows_as_aws_shows_it() {
    let error = EventPattern::parse(r#"{"resources": []}"#, Dialect::Events).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Empty arrays are not allowed\n at [Source: (String)\"{\"resources\": []}\"; line: 1, column: 17]"
    );
    let text = r#"{"detail": {"state": [{"anything-but": ["stopped", null]}]}}"#;
    let error = EventPattern::parse(text, Dialect::Events).unwrap_err();
    let place = format!("\n at [Source: (String)\"{text}\"; line: 1, column: 56]");
    assert_eq!(
        error.to_string(),
        format!("Inside anything but list, start|null|boolean is not supported.{place}{place}")
    );
    let long = format!("{{\"{}\": 1}}", "x".repeat(600));
    let shown = EventPattern::parse(&long, Dialect::Events).unwrap_err().to_string();
    assert!(shown.contains("[truncated 107 chars]"), "{shown}");
}

#[test]
fn what_is_no_json_or_no_object_is_refused() {
    for text in [
        "",
        "{",
        "[]",
        "\"a\"",
        "not json",
        r#"{"a": [1}"#,
        r#"{"a" [1]}"#,
        r#"{"a": ["x]}"#,
        r#"{"a": [1]} x"#,
        "{}",
        r#"{"a": {}}"#,
        r#"{"a": [[1]]}"#,
        r#"{"a": [{}]}"#,
        r#"{"a": [1], "a": [2]}"#,
        r#"{"a": [1e999]}"#,
        r#"{"a": [{"prefix": "a", "suffix": "b"}]}"#,
        r#"{"$or": [{"a": [1]}]}"#,
        r#"{"$or": [1, 2]}"#,
        r#"{"a": ["\x"]}"#,
        r#"{"a": [1,]}"#,
        r#"{,"a": [1]}"#,
    ] {
        assert!(EventPattern::parse(text, Dialect::Events).is_err(), "{text}");
    }
    let deep = format!("{}[1]{}", r#"{"a":"#.repeat(101), "}".repeat(101));
    assert!(EventPattern::parse(&deep, Dialect::Events).is_err());
    let wild = format!(r#"{{"a": [{{"wildcard": "{}"}}]}}"#, "a*".repeat(17));
    assert!(EventPattern::parse(&wild, Dialect::Events).unwrap_err().reason.starts_with("Rule is too complex"));
    let wide: Vec<String> = (0..4)
        .map(|_| {
            format!(r#"{{"$or": [{}]}}"#, (0..6).map(|i| format!(r#"{{"k{i}": [1]}}"#)).collect::<Vec<_>>().join(","))
        })
        .collect();
    let product = format!(r#"{{"a": {}, "b": {}, "c": {}, "d": {}}}"#, wide[0], wide[1], wide[2], wide[3]);
    assert!(EventPattern::parse(&product, Dialect::Events).unwrap_err().reason.starts_with("Rule is too complex"));
}
