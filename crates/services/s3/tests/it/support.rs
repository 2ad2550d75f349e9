//! A whole service on simulated time, and requests as the edge makes them: validated, then dispatched.

use std::{sync::Arc, time::Duration};

use base_env::Env;
use base_stream::Body;
use base_types::{AccountId, Region, Timestamp};
use bytes::Bytes;
use model_s3::*;
use services_kernel::{Cx, Dispatcher, PageTokens, Reconciler as _};
use services_ports::Destinations;
use services_s3::S3Reconciler;
use store_api::Store;
use wire_schema::{Model, ServiceError, Streaming, Survey, validate};

/// 2026-11-23T12:00:00Z.
const NOW: u64 = 1_795_435_200_000;
pub(crate) const BUCKET: &str = "bucket";

pub(crate) struct World {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) s3: Arc<services_s3::S3>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) cx: Cx,
    reconciler: S3Reconciler,
}

/// An error's code.
pub(crate) type Refusal = String;

macro_rules! operations {
    ($($method:ident: $operation:ident($request:ty) -> $response:ty;)*) => {
        impl World {
            $(pub(crate) async fn $method(&self, request: $request) -> Result<$response, Refusal> {
                match self.call(Request::$operation(Box::new(request))).await? {
                    Response::$operation(response) => Ok(*response),
                    other => panic!("{other:?}"),
                }
            })*
        }
    };
}

operations! {
    complete: CompleteMultipartUpload(CompleteMultipartUploadRequest) -> CompleteMultipartUploadOutput;
    copy: CopyObject(CopyObjectRequest) -> CopyObjectOutput;
    create_bucket: CreateBucket(CreateBucketRequest) -> CreateBucketOutput;
    create_upload: CreateMultipartUpload(CreateMultipartUploadRequest) -> CreateMultipartUploadOutput;
    delete: DeleteObject(DeleteObjectRequest) -> DeleteObjectOutput;
    get: GetObject(GetObjectRequest) -> GetObjectOutput;
    list: ListObjectsV2(ListObjectsV2Request) -> ListObjectsV2Output;
    list_versions: ListObjectVersions(ListObjectVersionsRequest) -> ListObjectVersionsOutput;
    put: PutObject(PutObjectRequest) -> PutObjectOutput;
    upload_part: UploadPart(UploadPartRequest) -> UploadPartOutput;
}

impl World {
    pub(crate) async fn new() -> Self {
        let env = Env::simulated(Timestamp::from_millis(NOW), 7);
        let store = Store::memory(&env);
        let s3 = services_s3::S3::new(services_s3::Parts {
            store: store.clone(),
            page_tokens: PageTokens::new(&[7; 32], env.clone()),
            destinations: Destinations::new(),
            sealing_key: [3; 32],
        });
        let reconciler = s3.reconciler();
        let cx = Cx::internal(AccountId::DEFAULT, Region::default(), "test");
        let dispatcher = Dispatcher::new(store.clone());
        let world = Self { env, store, s3: Arc::new(s3), dispatcher, cx, reconciler };
        world.create_bucket(CreateBucketRequest { bucket: BUCKET.into(), ..Default::default() }).await.unwrap();
        world
    }

    pub(crate) async fn call(&self, request: Request) -> Result<Response, Refusal> {
        self.call_as(self.cx.clone(), request).await
    }

    pub(crate) async fn call_as(&self, cx: Cx, request: Request) -> Result<Response, Refusal> {
        let violations = validate(Api::input(&request), &Survey::default());
        let refusal = |error: Error| error.schema().code.to_owned();
        if !violations.is_empty() {
            return Err(refusal(Error::violated(&violations, None)));
        }
        self.dispatcher.dispatch::<Api, _>(&self.s3, cx, request).await.map_err(refusal)
    }

    pub(crate) async fn version(&self, status: BucketVersioningStatus) {
        let versioning_configuration = VersioningConfiguration { status: Some(status), ..Default::default() };
        let request =
            PutBucketVersioningRequest { bucket: BUCKET.into(), versioning_configuration, ..Default::default() };
        self.call(Request::PutBucketVersioning(Box::new(request))).await.unwrap();
    }

    pub(crate) async fn put_bytes(&self, key: &str, bytes: impl Into<Bytes>) -> PutObjectOutput {
        let body = Some(stream(bytes));
        self.put(PutObjectRequest { bucket: BUCKET.into(), key: key.into(), body, ..Default::default() }).await.unwrap()
    }

    pub(crate) async fn read(&self, key: &str, version: Option<String>) -> Result<Vec<u8>, Refusal> {
        let request =
            GetObjectRequest { bucket: BUCKET.into(), key: key.into(), version_id: version, ..Default::default() };
        Ok(bytes(self.get(request).await?).await)
    }

    pub(crate) async fn reconcile(&self) {
        self.reconciler.round().await.unwrap();
    }

    pub(crate) async fn pass(&self, seconds: u64) {
        self.env.advance(Duration::from_secs(seconds));
    }
}

pub(crate) fn stream(bytes: impl Into<Bytes>) -> Streaming {
    Body::Whole(bytes.into()).into()
}

pub(crate) async fn bytes(output: GetObjectOutput) -> Vec<u8> {
    let mut bytes = Vec::new();
    match output.body.and_then(|body| body.take()).unwrap() {
        Body::Whole(whole) => bytes.extend_from_slice(&whole),
        Body::Stream(mut stream) => {
            while let Some(piece) = stream.next().await {
                bytes.extend_from_slice(&piece.unwrap());
            }
        }
    }
    bytes
}
