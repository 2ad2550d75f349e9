//! What S3 needs around its operations: preflights, the headers for pages of other origins, the status of a part of an object.
//!
//! In the open mode anybody's signature is believed, a page's too: what a page sends and the bucket's own rules do not permit is
//! refused unless it only reads, which a browser does not show to a page anyway.

use std::sync::Arc;

use edge_gateway::{Body, Call};
use http::{HeaderMap, Method, Response, StatusCode, header};
use model_s3::{AccessForbidden, Api, Error};
use services_kernel::Principal;
use services_s3::Preflight;
use wire_schema::Model as _;

use super::Cloud;

impl Cloud {
    /// A request to S3.
    pub(super) async fn objects(&self, call: Call) -> Response<Body> {
        let (path, method) = (call.head.uri.path().to_owned(), call.head.method.clone());
        let request_id = Arc::clone(&call.cx.request_id);
        let refuse = |call: &Call, error: &Error| {
            let route = wire_http::route(Api::service(), &call.head);
            wire_http::refuse::<Api>(&route, error, &request_id)
        };
        if method == Method::OPTIONS {
            return match self.services.s3.preflight(&path, &call.head.headers).await {
                Ok(permitted) => {
                    let mut response = Response::new(Body::default());
                    permitted.apply(response.headers_mut());
                    response
                }
                Err(error) => refuse(&call, &error),
            };
        }
        if call.website {
            return refuse(&call, &Error::not_implemented("Pileus does not support websites of buckets yet."));
        }
        if call.operation.is_none() && call.stream.is_some() {
            return refuse(
                &call,
                &Error::not_implemented("Pileus does not support uploads by forms (POST Object) yet."),
            );
        }
        let permitted = match self.services.s3.cors(&path, &method, &call.head.headers).await {
            Ok(permitted) => permitted,
            Err(error) => return refuse(&call, &error),
        };
        let signed = !matches!(&*call.cx.principal, Principal::Anonymous);
        let reads = matches!(method, Method::GET | Method::HEAD);
        if call.open && signed && !reads && permitted.is_none() && is_of_a_page(&call.head.headers) {
            let error = AccessForbidden {
                message: Some("CORSResponse: This CORS request is not allowed.".to_owned()),
                method: Some(method.to_string()),
                resource_type: Some("OBJECT".to_owned()),
            };
            return refuse(&call, &error.into());
        }
        let mut response = Box::pin(self.serve::<Api, _>(&self.services.s3, call)).await;
        if response.status() == StatusCode::OK && response.headers().contains_key(header::CONTENT_RANGE) {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        if let Some(permitted) = permitted {
            Preflight::apply(&permitted, response.headers_mut());
        }
        response
    }
}

/// Whether a browser says that a page sent it.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or("?"));
    headers.contains_key(header::ORIGIN) || site.is_some_and(|site| site != "none")
}
