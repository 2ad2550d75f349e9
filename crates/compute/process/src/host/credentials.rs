//! The role's credentials over HTTP on the function's own loopback, in the form that every AWS SDK asks for them
//! (`AWS_CONTAINER_CREDENTIALS_FULL_URI`). Functions with SnapStart find them here instead of in their variables, as on AWS:
//! what a session has fetched before it was copied, it fetches again, and gets those of its own environment.

use std::time::Duration;

use bytes::Bytes;
use compute_api::EnvironmentSpec;
use http::{HeaderValue, Response, header};
use http_body_util::Full;

use base_types::Timestamp;

/// Where they are served.
pub(crate) const PATH: &str = "/2021-04-23/credentials";
/// When a session asks again. They hold for longer: what was fetched before a copy is good until then.
const FETCHED_AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// The answer for an environment.
pub(super) fn answer(spec: &EnvironmentSpec, now: Timestamp) -> Response<Full<Bytes>> {
    let credentials = &spec.credentials;
    let document = serde_json::json!({
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.session_token,
        "Expiration": (now + FETCHED_AGAIN_AFTER).to_iso8601(),
    });
    let mut response = Response::new(Full::new(Bytes::from(document.to_string())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
