//! AWS's messages, as recorded.

use std::collections::BTreeMap;

use super::*;
use crate::{Member, Pattern};

static NAME_PATTERN: Pattern = Pattern::new("[a-z]+", "[a-z]+", None);
static NAME: Schema = Schema::string("Name").min(2).max(5).pattern(&NAME_PATTERN);
static SECRET: Schema = Schema::string("Secret").max(3).sensitive();
static LIMIT: Schema = Schema::integer("Limit").min(1).max(50);
static MODE: Schema = Schema::enumeration("Mode", &["A", "B"]);
static MODES: Schema = Schema::list("Modes", &MODE).max(1);
static NAMES: Schema = Schema::map("Names", &NAME, &LIMIT);
static ITEM: Schema = Schema::structure("Item", &[Member::new("Id", &NAME).required()]);
static ITEMS: Schema = Schema::list("Items", &ITEM);
static INPUT: Schema = Schema::structure(
    "Input",
    &[
        Member::new("Name", &NAME).required(),
        Member::new("Limit", &LIMIT),
        Member::new("Modes", &MODES),
        Member::new("Names", &NAMES),
        Member::new("Items", &ITEMS),
        Member::new("Secret", &SECRET),
    ],
);

crate::enumeration!(
    /// A mode.
    Mode { A = "A", B = "B" }
);

#[derive(Default)]
struct Item {
    id: String,
}
crate::structure!(Item, ITEM, { 0 => id });

#[derive(Default)]
struct Input {
    name: String,
    limit: Option<i32>,
    modes: Option<Vec<Mode>>,
    names: Option<BTreeMap<String, i32>>,
    items: Option<Vec<Item>>,
    secret: Option<String>,
}
crate::structure!(Input, INPUT, { 0 => name, 1 => limit, 2 => modes, 3 => names, 4 => items, 5 => secret });

fn good() -> Input {
    Input { name: "abc".into(), ..Input::default() }
}

#[track_caller]
fn check(input: &Input, survey: &Survey, expected: &str) {
    let violations = validate(input, survey);
    let message = if violations.is_empty() { String::new() } else { summary(&violations) };
    assert_eq!(message, expected);
}

#[test]
fn messages_are_those_of_aws() {
    let none = Survey::default();
    check(&good(), &none, "");
    check(
        &Input { limit: Some(10001), ..good() },
        &none,
        "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less \
         than or equal to 50",
    );
    check(
        &Input { name: "A".into(), ..good() },
        &none,
        "2 validation errors detected: Value 'A' at 'name' failed to satisfy constraint: Member must satisfy regular \
         expression pattern: [a-z]+; Value 'A' at 'name' failed to satisfy constraint: Member must have length greater \
         than or equal to 2",
    );
    check(
        &Input { items: Some(vec![Item { id: "ab".into() }, Item { id: "abcdef".into() }]), ..good() },
        &none,
        "1 validation error detected: Value 'abcdef' at 'items.2.member.id' failed to satisfy constraint: Member must \
         have length less than or equal to 5",
    );
    check(
        &Input { modes: Some(vec![Mode::A, Mode::B]), ..good() },
        &none,
        "1 validation error detected: Value '[A, B]' at 'modes' failed to satisfy constraint: Member must have length \
         less than or equal to 1",
    );
    check(
        &Input { names: Some(BTreeMap::from([("abc".into(), 51)])), ..good() },
        &none,
        "1 validation error detected: Value '{abc=51}' at 'names' failed to satisfy constraint: Map value must satisfy \
         constraint: [Member must have value less than or equal to 50, Member must have value greater than or equal to 1]",
    );
}

#[test]
fn what_a_struct_cannot_hold_comes_from_the_survey() {
    let mut survey = Survey::default();
    survey.missing("Name");
    survey.enter(Step::Member("Modes"));
    survey.enter(Step::Item(0));
    survey.unknown("X86_64");
    survey.leave();
    survey.leave();
    check(
        &Input { modes: Some(vec![Mode::A]), ..Input::default() },
        &survey,
        "2 validation errors detected: Value null at 'name' failed to satisfy constraint: Member must not be null; Value \
         '[X86_64]' at 'modes' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum \
         value set: [A, B], Member must not be null]",
    );
}

#[test]
fn a_sensitive_value_is_never_printed() {
    let input = Input { secret: Some("hunter2".into()), ..good() };
    let message = summary(&validate(&input, &Survey::default()));
    assert!(message.contains("detected: Value at 'secret' failed") && !message.contains("hunter2"), "{message}");
}
