//! The shared rooms, through the memory store on simulated time.

use std::time::Duration;

use base_env::Env;
use base_types::{AccountId, Fault, Region, Timestamp};
use services_kernel::{
    Audit, Cx, Idempotency, IdempotencySweep, Quota, Quotas, Reconciler, Replay, TAGS_MAX, TagLimitExceeded, Tags,
};
use store_api::{Position, Store};

fn world() -> (Env, Store, Cx) {
    let env = Env::simulated(Timestamp::from_millis(1_795_435_200_000), 1);
    let store = Store::memory(&env);
    (env, store, Cx::internal(AccountId::DEFAULT, Region::default(), "r-1"))
}

fn tags(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn tags_are_merged_removed_and_bounded() {
    let (_, store, cx) = world();
    store
        .transact(move |tx| {
            let arn = "arn:aws:lambda:us-east-1:000000000000:function:hello";
            Tags::put(tx, &cx, arn, tags(&[("a", "1"), ("b", "2")]))?.unwrap();
            Tags::put(tx, &cx, arn, tags(&[("b", "3")]))?.unwrap();
            Tags::remove(tx, &cx, arn, ["a", "absent"])?;
            assert_eq!(Tags::get(tx, &cx, arn)?.into_iter().collect::<Vec<_>>(), tags(&[("b", "3")]));
            let many = (0..TAGS_MAX).map(|n| (n.to_string(), String::new()));
            assert_eq!(Tags::put(tx, &cx, arn, many)?, Err(TagLimitExceeded));
            Tags::clear(tx, &cx, arn)?;
            assert!(Tags::get(tx, &cx, arn)?.is_empty());
            Ok::<_, Fault>(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_token_is_answered_as_before_until_it_expires() {
    let (env, store, cx) = world();
    let look = |request: &'static [u8]| {
        let (store, cx) = (store.clone(), cx.clone());
        async move { store.view(move |tx| Idempotency::look(tx, &cx, "Op", "token", request)).await.unwrap() }
    };
    assert_eq!(look(b"request").await, Replay::New);
    let remember = cx.clone();
    store
        .transact(move |tx| {
            Idempotency::remember(tx, &remember, "Op", "token", b"request", b"answer", Duration::from_secs(60))
        })
        .await
        .unwrap();
    assert_eq!(look(b"request").await, Replay::Same("answer".into()));
    assert_eq!(look(b"another").await, Replay::Other);
    env.advance(Duration::from_secs(61));
    assert_eq!(look(b"request").await, Replay::New);
    IdempotencySweep::new(store.clone()).round().await.unwrap();
    // Swept: even a clock set back would not bring it back.
    assert_eq!(look(b"another").await, Replay::New);
}

#[tokio::test]
async fn a_quota_is_its_default_until_it_is_set() {
    const QUOTA: Quota = Quota { name: "test.things", default: 7 };
    let (_, store, cx) = world();
    store
        .transact(move |tx| {
            assert_eq!(Quotas::get(tx, &cx, QUOTA)?, 7);
            Quotas::set(tx, cx.account, &cx.region, QUOTA, 9)?;
            assert_eq!(Quotas::get(tx, &cx, QUOTA)?, 9);
            let elsewhere = Cx { region: "eu-west-1".parse().unwrap(), ..cx.clone() };
            assert_eq!(Quotas::get(tx, &elsewhere, QUOTA)?, 7);
            Ok::<_, Fault>(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn the_audit_trail_holds_what_was_committed_and_nothing_else() {
    let (_, store, cx) = world();
    let done = cx.clone();
    store.transact(move |tx| Audit::record(tx, &done, "lambda:CreateFunction")).await.unwrap();
    let failed: Result<(), Fault> = store
        .transact(move |tx| {
            Audit::record(tx, &cx, "lambda:DeleteFunction")?;
            Err(Fault::new(base_types::FaultKind::Internal, "be sure of it"))
        })
        .await;
    assert!(failed.is_err());
    let records = store.view(|tx| Audit::read(tx, Position::START, 10)).await.unwrap();
    let actions: Vec<_> = records.iter().map(|(_, record)| record.action.as_str()).collect();
    assert_eq!(actions, ["lambda:CreateFunction"]);
    assert_eq!(records[0].1.principal, "arn:aws:iam::000000000000:root");
}

mod authorize {
    use std::sync::Arc;

    use base_types::Arn;
    use lang_policy::{Kind, Policy};
    use services_kernel::{Principal, Source};
    use wire_schema::{ErrorSchema, Role, ServiceError, Shape};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Denied(String);

    impl From<Fault> for Denied {
        fn from(fault: Fault) -> Self {
            Self(fault.to_string())
        }
    }

    impl ServiceError for Denied {
        fn by_role(role: Role, message: String) -> Self {
            assert_eq!(role, Role::AccessDenied);
            Self(message)
        }
        fn by_name(_: &str, _: String) -> Option<Self> {
            None
        }
        fn schema(&self) -> &'static ErrorSchema {
            unreachable!("never sent")
        }
        fn shape(&self) -> Option<&dyn Shape> {
            None
        }
        fn modelled_message(&self) -> Option<&str> {
            Some(&self.0)
        }
        fn fault(&self) -> Option<&Fault> {
            None
        }
    }

    #[test]
    fn other_accounts_and_services_live_by_the_resources_policy() {
        let (_, _, cx) = world();
        let function: Arn = cx.arn("lambda", "function:hello");
        let policy = Policy::parse(
            r#"{"Version":"2012-10-17","Statement":[
                {"Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"*",
                 "Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::mine"}}},
                {"Effect":"Deny","Principal":"*","Action":"lambda:DeleteFunction","Resource":"*"}]}"#,
            Kind::Resource,
        )
        .unwrap();
        let may = |cx: &Cx, action: &str, policy: Option<&Policy>| {
            cx.authorize_by::<Denied>(action, &function, policy, &cx.conditions()).map_err(|denied| denied.0)
        };
        let bucket = |name: &str| {
            cx.consequence(Source {
                service: "s3.amazonaws.com".to_owned(),
                arn: format!("arn:aws:s3:::{name}").parse().unwrap(),
            })
        };
        let stranger =
            Cx { principal: Arc::new(Principal::Root { account: "111111111111".parse().unwrap() }), ..cx.clone() };
        assert_eq!(may(&cx, "lambda:InvokeFunction", None), Ok(()));
        assert_eq!(may(&bucket("mine"), "lambda:InvokeFunction", Some(&policy)), Ok(()));
        assert!(may(&bucket("other"), "lambda:InvokeFunction", Some(&policy)).is_err());
        assert!(may(&cx, "lambda:DeleteFunction", Some(&policy)).unwrap_err().contains("explicit deny"));
        assert_eq!(
            may(&stranger, "lambda:InvokeFunction", Some(&policy)).unwrap_err(),
            "User: arn:aws:iam::111111111111:root is not authorized to perform: lambda:InvokeFunction on resource: \
             arn:aws:lambda:us-east-1:000000000000:function:hello because no resource-based policy allows the \
             lambda:InvokeFunction action"
        );
    }
}
