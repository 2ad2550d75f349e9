//! STS through its trait and its port, on simulated time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use base_env::Env;
use base_types::{AccountId, Arn, Region, Timestamp};
use model_sts::{
    AssumeRoleRequest, Error, GetAccessKeyInfoRequest, GetCallerIdentityRequest, GetSessionTokenRequest, Sts as _,
};
use proptest::prelude::*;
use services_kernel::{Cx, Principal};
use services_ports::RoleCredentials;
use services_sts::{SessionLookup, Sts};
use store_api::{Store, Tx};
use wire_schema::ServiceError;

const ROLE: &str = "arn:aws:iam::111111111111:role/path/worker";

fn account() -> AccountId {
    "111111111111".parse().unwrap()
}

fn setup() -> (Sts, Env, Store) {
    let env = Env::simulated(Timestamp::from_millis(1_795_435_200_500), 7);
    (Sts::new(&[7; 32], env.clone()), env.clone(), Store::memory(&env))
}

fn root() -> Cx {
    Cx::internal(account(), Region::default(), "r-1")
}

fn as_role(account: &str) -> Cx {
    let principal =
        Principal::AssumedRole { account: account.parse().unwrap(), role: "worker".into(), session: "s".into() };
    Cx { principal: Arc::new(principal), ..root() }
}

async fn run<R: Send + 'static>(
    store: &Store,
    sts: &Sts,
    operation: impl Fn(&Sts, &Tx) -> Result<R, Error> + Send + Sync + 'static,
) -> Result<R, Error> {
    let sts = sts.clone();
    store.transact(move |tx: &Tx| operation(&sts, tx)).await
}

fn assume(role_arn: &str) -> AssumeRoleRequest {
    AssumeRoleRequest { role_arn: role_arn.into(), role_session_name: "build-1".into(), ..AssumeRoleRequest::default() }
}

#[tokio::test]
async fn an_assumed_role_says_who_it_is_until_it_expires() {
    let (sts, env, store) = setup();
    let answer = run(&store, &sts, |sts, tx| sts.assume_role(&root(), tx, &assume(ROLE))).await.unwrap();
    let user = answer.assumed_role_user.unwrap();
    assert_eq!(user.arn, "arn:aws:sts::111111111111:assumed-role/worker/build-1");
    assert!(user.assumed_role_id.starts_with("AROA") && user.assumed_role_id.ends_with(":build-1"));
    let issued = answer.credentials.unwrap();
    assert!(issued.access_key_id.starts_with("ASIA") && issued.access_key_id.len() == 20);
    assert_eq!(issued.secret_access_key.len(), 40);
    assert_eq!(issued.expiration.to_iso8601(), "2026-11-23T13:00:00Z");

    let open = |sts: &Sts| sts.session(&issued.access_key_id, Some(&issued.session_token));
    let SessionLookup::Found(session) = open(&sts) else { panic!("not found") };
    assert_eq!((session.secret.as_str(), session.account), (issued.secret_access_key.as_str(), account()));
    let cx = Cx { principal: session.principal, ..root() };
    let identity =
        run(&store, &sts, move |sts, tx| sts.get_caller_identity(&cx, tx, &GetCallerIdentityRequest {})).await.unwrap();
    assert_eq!(identity.arn, Some(user.arn));
    assert_eq!(identity.user_id, Some(user.assumed_role_id));
    assert_eq!(identity.account.as_deref(), Some("111111111111"));

    // Another process with the same key knows the session; one with another key does not.
    assert!(matches!(open(&Sts::new(&[7; 32], env.clone())), SessionLookup::Found(_)));
    assert!(matches!(open(&Sts::new(&[8; 32], env.clone())), SessionLookup::Invalid));
    env.advance(Duration::from_millis(3_599_499));
    assert!(matches!(open(&sts), SessionLookup::Found(_)));
    env.advance(Duration::from_millis(1));
    assert!(matches!(open(&sts), SessionLookup::Expired));
}

#[tokio::test]
async fn who_may_not_assume_is_told_so_in_awss_words() {
    let (sts, _, store) = setup();
    let with = |change: fn(&mut AssumeRoleRequest)| {
        let mut request = assume(ROLE);
        change(&mut request);
        request
    };
    let far = "111111111111";
    for (cx, request, expected) in [
        (root(), assume("worker"), "400 ValidationError: worker is invalid"),
        (
            root(),
            assume("arn:aws:iam::111111111111:user/ada"),
            "400 ValidationError: arn:aws:iam::111111111111:user/ada is",
        ),
        (root(), assume("arn:aws:iam::1:role/x"), "400 ValidationError: arn:aws:iam::1:role/x is invalid"),
        (
            root(),
            assume("arn:aws:iam::111111111111:role/a b"),
            "400 ValidationError: arn:aws:iam::111111111111:role/a b is",
        ),
        (root(), assume("arn:aws:iam::111111111111:role/"), "400 ValidationError: arn:aws:iam::111111111111:role/ is"),
        (
            as_role("222222222222"),
            assume(ROLE),
            "403 AccessDenied: User: arn:aws:sts::222222222222:assumed-role/worker/s is not authorized to perform: \
             sts:AssumeRole on resource: arn:aws:iam::111111111111:role/path/worker",
        ),
        (
            as_role(far),
            with(|request| request.duration_seconds = Some(3601)),
            "400 ValidationError: The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by \
             role chaining",
        ),
    ] {
        let error = run(&store, &sts, move |sts, tx| sts.assume_role(&cx, tx, &request)).await.unwrap_err();
        let got = format!("{} {}: {}", error.status(), error.code(), error.message());
        assert!(got.starts_with(expected), "{got}\n{expected}");
    }
    assert!(run(&store, &sts, move |sts, tx| sts.assume_role(&as_role(far), tx, &assume(ROLE))).await.is_ok());
}

#[tokio::test]
async fn a_session_of_root_is_root_for_an_hour() {
    let (sts, _, store) = setup();
    let request = GetSessionTokenRequest { duration_seconds: Some(129_600), ..GetSessionTokenRequest::default() };
    let answer = run(&store, &sts, {
        let request = request.clone();
        move |sts, tx| sts.get_session_token(&root(), tx, &request)
    })
    .await
    .unwrap();
    let issued = answer.credentials.unwrap();
    assert_eq!(issued.expiration.to_iso8601(), "2026-11-23T13:00:00Z");
    let SessionLookup::Found(session) = sts.session(&issued.access_key_id, Some(&issued.session_token)) else {
        panic!("not found")
    };
    assert_eq!(*session.principal, Principal::Root { account: account() });
    let error = run(&store, &sts, move |sts, tx| sts.get_session_token(&as_role("111111111111"), tx, &request)).await;
    assert_eq!(error.unwrap_err().message(), "Cannot call GetSessionToken with session credentials");
}

#[tokio::test]
async fn a_key_id_tells_its_account() {
    let (sts, _, store) = setup();
    let issued = sts.issue(account(), &ROLE.parse::<Arn>().unwrap(), "s", Duration::from_secs(60));
    for (access_key_id, expected) in [(issued.access_key_id, Some("111111111111")), ("x".repeat(20), None)] {
        let request = GetAccessKeyInfoRequest { access_key_id };
        let answer = run(&store, &sts, move |sts, tx| sts.get_access_key_info(&root(), tx, &request)).await;
        assert_eq!(answer.ok().and_then(|answer| answer.account).as_deref(), expected);
    }
}

#[test]
fn a_functions_credentials_are_its_roles_and_no_two_are_equal() {
    let (sts, _, _) = setup();
    let role: Arn = ROLE.parse().unwrap();
    let first = sts.issue(account(), &role, "hello", Duration::from_secs(900));
    let second = sts.issue(account(), &role, "hello", Duration::from_secs(900));
    assert_ne!(first.access_key_id, second.access_key_id);
    assert_ne!(first.secret_access_key, second.secret_access_key);
    let SessionLookup::Found(session) = sts.session(&first.access_key_id, Some(&first.session_token)) else {
        panic!("not found")
    };
    assert_eq!(session.principal.arn(), "arn:aws:sts::111111111111:assumed-role/worker/hello");
    assert!(!format!("{first:?} {session:?}").contains(&first.secret_access_key));
    for (key_id, token, expected) in [
        (&first.access_key_id, None, "Unknown"),
        (&first.access_key_id, Some("FwoGZXIvYXdzEBYaD"), "Unknown"),
        (&first.access_key_id, Some(second.session_token.as_str()), "Invalid"),
        (&second.access_key_id, Some(first.session_token.as_str()), "Invalid"),
        (&first.access_key_id, Some("PILEUS1."), "Invalid"),
    ] {
        assert_eq!(format!("{:?}", sts.session(key_id, token)), expected, "{token:?}");
    }
}

proptest! {
    #[test]
    fn no_altered_token_is_a_session(at in 0usize..400, with in 0u8..64, junk in "[A-Za-z0-9_-]{0,300}") {
        let (sts, _, _) = setup();
        let issued = sts.issue(account(), &ROLE.parse().unwrap(), "s", Duration::from_secs(60));
        let mut bytes = issued.session_token.clone().into_bytes();
        let at = 8 + at % (bytes.len() - 8);
        let with = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[usize::from(with)];
        prop_assume!(bytes[at] != with);
        bytes[at] = with;
        let altered = String::from_utf8(bytes).unwrap();
        prop_assert!(matches!(sts.session(&issued.access_key_id, Some(&altered)), SessionLookup::Invalid));
        let junk = format!("PILEUS1.{junk}");
        prop_assert!(matches!(sts.session(&issued.access_key_id, Some(&junk)), SessionLookup::Invalid));
    }
}
