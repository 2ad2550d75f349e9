//! Random histories against an oracle that keeps every version in a plain list: what is current, what is listed, in whatever
//! state of versioning, with whatever delimiter and page.

use std::collections::BTreeMap;

use model_s3::*;
use proptest::prelude::*;

use crate::support::{BUCKET, World};

const KEYS: [&str; 7] = ["a", "a/1", "a/2", "a/b/3", "b", "b/", "ü/x"];

#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Delete(usize),
    DeleteVersion(usize, prop::sample::Index),
    Enable,
    Suspend,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    prop_oneof![
        6 => key.clone().prop_map(Step::Put),
        3 => key.clone().prop_map(Step::Delete),
        3 => (key, any::<prop::sample::Index>()).prop_map(|(key, which)| Step::DeleteVersion(key, which)),
        1 => Just(Step::Enable),
        1 => Just(Step::Suspend),
    ]
}

/// A version as the oracle knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    id: String,
    marker: bool,
    body: String,
}

#[derive(Default)]
struct Oracle {
    /// Newest first.
    versions: BTreeMap<&'static str, Vec<Known>>,
    versioning: Option<bool>,
}

impl Oracle {
    fn add(&mut self, key: &'static str, known: Known) {
        let list = self.versions.entry(key).or_default();
        if self.versioning != Some(true) {
            list.retain(|known| known.id != "null");
        }
        list.insert(0, known);
    }

    fn current(&self, key: &str) -> Option<&Known> {
        self.versions.get(key).and_then(|list| list.first()).filter(|known| !known.marker)
    }

    /// What a listing of objects gives: keys, groups.
    fn listing(&self, prefix: &str, delimiter: Option<&str>) -> (Vec<String>, Vec<String>) {
        let (mut keys, mut groups) = (Vec::new(), Vec::new());
        for key in self.versions.keys().filter(|key| self.current(key).is_some() && key.starts_with(prefix)) {
            let rest = &key[prefix.len()..];
            match delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len())) {
                Some(end) => groups.push(format!("{prefix}{}", &rest[..end])),
                None => keys.push((*key).to_owned()),
            }
        }
        groups.dedup();
        (keys, groups)
    }
}

async fn listed(world: &World, prefix: &str, delimiter: Option<&str>, max: i32) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut groups, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let request = ListObjectsV2Request {
            bucket: BUCKET.into(),
            prefix: Some(prefix.into()),
            delimiter: delimiter.map(Into::into),
            max_keys: Some(max),
            continuation_token: token,
            ..Default::default()
        };
        let output = world.list(request).await.unwrap();
        assert!(output.key_count.unwrap() <= max);
        keys.extend(output.contents.into_iter().flatten().map(|object| object.key.unwrap()));
        groups.extend(output.common_prefixes.into_iter().flatten().map(|group| group.prefix.unwrap()));
        token = output.next_continuation_token;
        assert_eq!(token.is_some(), output.is_truncated.unwrap());
        if token.is_none() {
            return (keys, groups);
        }
    }
}

/// All versions by pages: key, identifier, whether it is a marker, whether it is the latest.
async fn all_versions(world: &World, max: i32) -> Vec<(String, String, bool, bool)> {
    let (mut all, mut key, mut version) = (Vec::new(), None, None);
    loop {
        let request = ListObjectVersionsRequest {
            bucket: BUCKET.into(),
            max_keys: Some(max),
            key_marker: key,
            version_id_marker: version,
            ..Default::default()
        };
        let output = world.list_versions(request).await.unwrap();
        let objects = output.versions.into_iter().flatten();
        all.extend(objects.map(|it| (it.key.unwrap(), it.version_id.unwrap(), false, it.is_latest.unwrap())));
        let markers = output.delete_markers.into_iter().flatten();
        all.extend(markers.map(|it| (it.key.unwrap(), it.version_id.unwrap(), true, it.is_latest.unwrap())));
        (key, version) = (output.next_key_marker, output.next_version_id_marker);
        if !output.is_truncated.unwrap() {
            all.sort();
            return all;
        }
    }
}

async fn run(steps: Vec<Step>) {
    let world = World::new().await;
    let mut oracle = Oracle::default();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Put(key) => {
                let (key, body) = (KEYS[key], format!("body {number}"));
                let output = world.put_bytes(key, body.clone()).await;
                let id = output.version_id.unwrap_or_else(|| "null".into());
                assert_eq!(id == "null", oracle.versioning != Some(true));
                oracle.add(key, Known { id, marker: false, body });
            }
            Step::Delete(key) => {
                let key = KEYS[key];
                let request = DeleteObjectRequest { bucket: BUCKET.into(), key: key.into(), ..Default::default() };
                let output = world.delete(request).await.unwrap();
                assert_eq!(output.delete_marker == Some(true), oracle.versioning.is_some());
                match output.version_id {
                    Some(id) => oracle.add(key, Known { id, marker: true, body: String::new() }),
                    None => drop(oracle.versions.remove(key)),
                }
            }
            Step::DeleteVersion(key, which) => {
                let key = KEYS[key];
                let list = oracle.versions.entry(key).or_default();
                if list.is_empty() {
                    continue;
                }
                let known = list.remove(which.index(list.len()));
                let request = DeleteObjectRequest {
                    bucket: BUCKET.into(),
                    key: key.into(),
                    version_id: Some(known.id),
                    ..Default::default()
                };
                let output = world.delete(request).await.unwrap();
                assert_eq!(output.delete_marker == Some(true), known.marker);
            }
            Step::Enable => {
                world.version(BucketVersioningStatus::Enabled).await;
                oracle.versioning = Some(true);
            }
            Step::Suspend => {
                world.version(BucketVersioningStatus::Suspended).await;
                oracle.versioning = Some(false);
            }
        }
        oracle.versions.retain(|_, list| !list.is_empty());
    }
    for key in KEYS {
        let expected = oracle.current(key).map(|known| known.body.clone().into_bytes());
        assert_eq!(world.read(key, None).await.ok(), expected, "{key}");
        for known in oracle.versions.get(key).into_iter().flatten().filter(|known| !known.marker) {
            let read = world.read(key, Some(known.id.clone())).await;
            assert_eq!(read.as_deref(), Ok(known.body.as_bytes()), "{key} {known:?}");
        }
    }
    for (prefix, delimiter) in
        [("", None), ("", Some("/")), ("a", Some("/")), ("a/", Some("/")), ("", Some("b")), ("b/", None)]
    {
        for max in [1, 2, 1000] {
            let found = listed(&world, prefix, delimiter, max).await;
            assert_eq!(found, oracle.listing(prefix, delimiter), "{prefix:?} {delimiter:?} {max}");
        }
    }
    let mut expected = Vec::new();
    for (key, list) in &oracle.versions {
        let entries = list.iter().enumerate();
        expected.extend(entries.map(|(at, known)| ((*key).to_owned(), known.id.clone(), known.marker, at == 0)));
    }
    expected.sort();
    for max in [1, 3, 1000] {
        assert_eq!(all_versions(&world, max).await, expected, "{max}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn histories_are_as_the_oracle_tells_them(steps in prop::collection::vec(step(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
