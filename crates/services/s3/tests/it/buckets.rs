//! Buckets, and what may be done to others'.

use base_types::AccountId;
use model_s3::*;

use crate::support::{BUCKET, World, stream};

#[tokio::test]
async fn a_name_belongs_to_who_took_it_first_until_it_is_deleted() {
    let world = World::new().await;
    let create =
        || Request::CreateBucket(Box::new(CreateBucketRequest { bucket: BUCKET.into(), ..Default::default() }));
    // Whoever has it already, in the oldest region, is told that all is well.
    assert!(world.call(create()).await.is_ok());
    let mut stranger = world.cx.clone();
    let account: AccountId = "111122223333".parse().unwrap();
    stranger.account = account;
    stranger.principal = std::sync::Arc::new(services_kernel::Principal::Root { account });
    assert_eq!(world.call_as(stranger.clone(), create()).await.unwrap_err(), "BucketAlreadyExists");
    world.put_bytes("k", "x").await;
    let get = || {
        Request::GetObject(Box::new(GetObjectRequest { bucket: BUCKET.into(), key: "k".into(), ..Default::default() }))
    };
    assert_eq!(world.call_as(stranger.clone(), get()).await.unwrap_err(), "AccessDenied");
    let remove =
        || Request::DeleteBucket(Box::new(DeleteBucketRequest { bucket: BUCKET.into(), ..Default::default() }));
    assert_eq!(world.call(remove()).await.unwrap_err(), "BucketNotEmpty");
    world.delete(DeleteObjectRequest { bucket: BUCKET.into(), key: "k".into(), ..Default::default() }).await.unwrap();
    world.call(remove()).await.unwrap();
    assert!(world.call_as(stranger.clone(), create()).await.is_ok());
    assert_eq!(world.call(get()).await.unwrap_err(), "AccessDenied");
}

#[tokio::test]
async fn what_is_overwritten_or_deleted_is_swept() {
    let world = World::new().await;
    for _ in 0..3 {
        world.put_bytes("k", vec![7; 200_000]).await;
    }
    let copy = CopyObjectRequest {
        bucket: BUCKET.into(),
        key: "copy".into(),
        copy_source: format!("{BUCKET}/k"),
        ..Default::default()
    };
    world.copy(copy).await.unwrap();
    let remove = |key: &str| DeleteObjectRequest { bucket: BUCKET.into(), key: key.into(), ..Default::default() };
    world.pass(7200).await;
    assert_eq!(world.store.blobs().sweep().await.unwrap(), 2);
    world.delete(remove("k")).await.unwrap();
    assert_eq!(world.store.blobs().sweep().await.unwrap(), 0, "the copy refers to the same bytes");
    assert_eq!(world.read("copy", None).await.unwrap(), vec![7; 200_000]);
    world.delete(remove("copy")).await.unwrap();
    assert_eq!(world.store.blobs().sweep().await.unwrap(), 1);
}

#[tokio::test]
async fn a_wrong_sum_leaves_nothing_behind() {
    let world = World::new().await;
    let request = PutObjectRequest {
        bucket: BUCKET.into(),
        key: "k".into(),
        body: Some(stream(vec![1; 100_000])),
        content_md5: Some("AAAAAAAAAAAAAAAAAAAAAA==".into()),
        ..Default::default()
    };
    assert_eq!(world.put(request).await.unwrap_err(), "BadDigest");
    assert_eq!(world.read("k", None).await.unwrap_err(), "NoSuchKey");
    world.pass(7200).await;
    assert_eq!(world.store.blobs().sweep().await.unwrap(), 1);
}
