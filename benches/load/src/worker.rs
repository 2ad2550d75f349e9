//! A native function: the Runtime API by hand over one kept connection. Guarantee: answers each event with itself.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Failure;

/// Polls until the other side closes.
pub(crate) async fn poll() -> Result<(), Failure> {
    let address = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    drop(tokio::spawn(connection));
    loop {
        let next = Request::get("/2018-06-01/runtime/invocation/next")
            .header(http::header::HOST, &address)
            .body(Full::new(Bytes::new()))?;
        let (head, body) = sender.send_request(next).await?.into_parts();
        let request = head.headers.get("lambda-runtime-aws-request-id").ok_or("no request id")?.to_str()?.to_owned();
        let event = body.collect().await?.to_bytes();
        let answer = Request::builder()
            .method(Method::POST)
            .uri(format!("/2018-06-01/runtime/invocation/{request}/response"))
            .header(http::header::HOST, &address)
            .body(Full::new(event))?;
        sender.send_request(answer).await?.into_body().collect().await?;
    }
}
