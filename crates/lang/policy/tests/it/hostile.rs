//! Whatever the document, there is an answer; and what reads is written and read again unchanged.

use base_types::AccountId;
use lang_policy::{Access, Caller, Context, Kind, Policy, Request};
use proptest::prelude::*;

/// Texts of a policy's parts, right and wrong, in all combinations.
fn statement() -> impl Strategy<Value = String> {
    let effect = prop::sample::select(vec!["Allow", "Deny", "Maybe"]);
    let pattern = "[a-z*?:${}]{0,12}";
    let operator = prop::sample::select(vec![
        "StringLike",
        "ForAllValues:StringNotLikeIfExists",
        "ArnLike",
        "NumericLessThan",
        "Null",
        "IpAddress",
        "Nope",
    ]);
    (effect, pattern, pattern, operator, "[a-z:]{0,6}", "[a-z0-9*?./${}]{0,10}").prop_map(
        |(effect, action, resource, operator, key, value)| {
            format!(
                r#"{{"Effect":"{effect}","Action":"s3:{action}","Resource":"arn:{resource}","Condition":{{"{operator}":{{"{key}":"{value}"}}}}}}"#
            )
        },
    )
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        for kind in [Kind::Identity, Kind::Resource, Kind::Trust] {
            drop(Policy::parse(&text, kind));
        }
    }

    #[test]
    fn what_reads_is_written_and_judged(
        statements in prop::collection::vec(statement(), 1..4), action in "\\PC{0,12}", value in "\\PC{0,12}",
    ) {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
        if let Ok(policy) = Policy::parse(&text, Kind::Identity) {
            prop_assert_eq!(&Policy::parse(&policy.to_json(), Kind::Identity).unwrap(), &policy);
            let caller = Caller::Anonymous;
            let context = Context::new().with("a", value.clone()).with("a", "x");
            let request = Request { caller: &caller, action: &action, resource: &value, context: &context };
            let access = Access { identity: &[&policy], limits: &[], resource: None, owner: AccountId::DEFAULT };
            prop_assert!(!access.decide(&request).is_allowed(), "the anonymous own no policy");
        }
    }
}
