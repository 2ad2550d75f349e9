//! Multipart uploads: the object is its parts, and nothing of what was not chosen stays.

use model_s3::*;

use crate::support::{BUCKET, World, bytes, stream};

const PART: usize = 5 << 20;

async fn begin(world: &World, key: &str) -> String {
    let request = CreateMultipartUploadRequest { bucket: BUCKET.into(), key: key.into(), ..Default::default() };
    world.create_upload(request).await.unwrap().upload_id.unwrap()
}

async fn part(world: &World, key: &str, upload: &str, number: i32, body: Vec<u8>) -> CompletedPart {
    let request = UploadPartRequest {
        bucket: BUCKET.into(),
        key: key.into(),
        upload_id: upload.into(),
        part_number: number,
        body: Some(stream(body)),
        ..Default::default()
    };
    let output = world.upload_part(request).await.unwrap();
    CompletedPart { e_tag: output.e_tag, part_number: Some(number), ..Default::default() }
}

async fn complete(world: &World, key: &str, upload: &str, parts: Vec<CompletedPart>) -> Result<(), String> {
    let request = CompleteMultipartUploadRequest {
        bucket: BUCKET.into(),
        key: key.into(),
        upload_id: upload.into(),
        multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts) }),
        ..Default::default()
    };
    world.complete(request).await.map(drop)
}

#[tokio::test]
async fn an_object_is_its_chosen_parts_and_the_others_go() {
    let world = World::new().await;
    let upload = begin(&world, "k").await;
    let first = part(&world, "k", &upload, 1, vec![1; PART]).await;
    let _unused = part(&world, "k", &upload, 2, vec![2; PART]).await;
    let _replaced = part(&world, "k", &upload, 7, vec![3; 100_000]).await;
    let last = part(&world, "k", &upload, 7, vec![4; 9]).await;
    assert_eq!(
        complete(&world, "k", &upload, vec![last.clone(), first.clone()]).await.unwrap_err(),
        "InvalidPartOrder"
    );
    complete(&world, "k", &upload, vec![first, last]).await.unwrap();
    world.reconcile().await;
    world.pass(7200).await;
    assert_eq!(world.store.blobs().sweep().await.unwrap(), 2);
    let read = world.read("k", None).await.unwrap();
    assert!(read.len() == PART + 9 && read[..PART].iter().all(|byte| *byte == 1) && read[PART..] == [4; 9]);
    let request = GetObjectRequest {
        bucket: BUCKET.into(),
        key: "k".into(),
        range: Some(format!("bytes={}-{}", PART - 2, PART + 1)),
        ..Default::default()
    };
    assert_eq!(bytes(world.get(request).await.unwrap()).await, [1, 1, 4, 4]);
}

#[tokio::test]
async fn parts_live_as_long_as_any_object_refers_to_them() {
    let world = World::new().await;
    let upload = begin(&world, "k").await;
    let first = part(&world, "k", &upload, 1, vec![1; 100_000]).await;
    complete(&world, "k", &upload, vec![first]).await.unwrap();
    let copy = CopyObjectRequest {
        bucket: BUCKET.into(),
        key: "copy".into(),
        copy_source: format!("{BUCKET}/k"),
        ..Default::default()
    };
    world.copy(copy).await.unwrap();
    let remove = |key: &str| DeleteObjectRequest { bucket: BUCKET.into(), key: key.into(), ..Default::default() };
    world.delete(remove("k")).await.unwrap();
    world.reconcile().await;
    world.pass(7200).await;
    assert_eq!(world.store.blobs().sweep().await.unwrap(), 0);
    assert_eq!(world.read("copy", None).await.unwrap(), vec![1; 100_000]);
    world.delete(remove("copy")).await.unwrap();
    world.reconcile().await;
    assert_eq!(world.store.blobs().sweep().await.unwrap(), 1);
}
