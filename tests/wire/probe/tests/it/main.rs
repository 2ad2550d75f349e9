//! The codecs with the generated models: botocore's judgement, AWS's recorded words, hostile requests.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod hostile;
mod recorded;
mod roundtrip;

use base_stream::Body;
use bytes::Bytes;
use http::{Response, request::Parts};
use wire_http::Call;
use wire_schema::Model;

/// The head of a request.
fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut builder = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

/// A request that was refused.
struct Refused<M: Model> {
    error: M::Error,
    response: Response<Body>,
}

/// Reads a request as a gateway does; the response, where it is refused.
fn read<M: Model>(parts: &Parts, body: impl Into<Bytes>) -> Result<Call<M>, Box<Refused<M>>> {
    let route = wire_http::route(M::service(), parts);
    wire_http::read::<M>(&route, parts, body.into()).map_err(|error| {
        let response = wire_http::refuse::<M>(&route, &error, "request-1");
        Box::new(Refused { error, response })
    })
}

/// Status, the header that names the error, and the body of a refusal.
fn refusal<M: Model>(parts: &Parts, body: impl Into<Bytes>) -> (u16, String, String) {
    let Err(refused) = read::<M>(parts, body) else { panic!("the request was read") };
    let response = refused.response;
    let name = response.headers().get("x-amzn-errortype").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(response.headers().get("x-amzn-requestid").unwrap(), "request-1");
    let body = String::from_utf8(response.body().whole().unwrap().to_vec()).unwrap();
    (response.status().as_u16(), name.unwrap_or_default(), body)
}
