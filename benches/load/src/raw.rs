//! Bare HTTP: a request is bytes, an answer is read no further than it must be. For loads where the client would otherwise
//! be half of what is measured; every server gets the very same bytes.
//!
//! A request is signed once, over an empty body, and sent with changing ones: a server that does not know the key (an open
//! one, an emulator) believes the credential scope and checks no more.

use base_env::Env;
use http::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wire_sigv4::{Credentials, Rules, Signer};

use crate::Failure;

/// What an answer may be at most.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// The head of a request, without its length.
#[derive(Clone)]
pub(crate) struct Head(Vec<u8>);

impl Head {
    /// `target` is the protocol's (`AmazonSQS.SendMessage`), `service` the name in the credential scope.
    pub(crate) fn new(env: &Env, port: u16, service: &str, target: &str) -> Result<Self, Failure> {
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target)];
        Self::signed(env, port, service, "/", &headers)
    }

    /// A form, for services that speak the query protocol.
    pub(crate) fn form(env: &Env, port: u16, service: &str) -> Result<Self, Failure> {
        Self::signed(env, port, service, "/", &[("content-type", "application/x-www-form-urlencoded")])
    }

    /// A document that is posted to a path.
    pub(crate) fn rest(env: &Env, port: u16, service: &str, path: &str) -> Result<Self, Failure> {
        Self::signed(env, port, service, path, &[("content-type", "application/json")])
    }

    fn signed(
        env: &Env,
        port: u16,
        service: &str,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Failure> {
        let request = http::Request::builder().method(Method::POST).uri(path).body(())?;
        let (mut head, ()) = request.into_parts();
        head.headers.insert("host", format!("127.0.0.1:{port}").parse()?);
        for (name, value) in headers {
            head.headers.insert(*name, value.parse()?);
        }
        let credentials = Credentials { key_id: "test".to_owned(), secret: "test".to_owned(), token: None };
        let region = "us-east-1".to_owned();
        let signer = Signer { credentials, region, service: service.to_owned(), rules: Rules::Common };
        let added = signer.sign(&wire_sigv4::Request::from(&head), b"", env.now())?;
        head.headers.extend(added);
        let mut text = format!("POST {path} HTTP/1.1\r\n").into_bytes();
        for (name, value) in &head.headers {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        Ok(Self(text))
    }

    /// The whole request.
    pub(crate) fn with(&self, body: &str) -> Vec<u8> {
        let mut whole = self.0.clone();
        whole.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        whole.extend_from_slice(body.as_bytes());
        whole
    }
}

/// A kept connection.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(port: u16) -> Result<Self, Failure> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    /// Sends a request and answers the body of a success; anything else is an error that says what the server said.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Result<&[u8], Failure> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (head, status, length) = loop {
            self.fill().await?;
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let (status, length) = read_head(self.buffer.get(..end).unwrap_or_default())?;
                break (end + 4, status, length);
            }
        };
        while self.buffer.len() < head + length {
            self.fill().await?;
        }
        let body = self.buffer.get(head..head + length).unwrap_or_default();
        if (200..300).contains(&status) {
            Ok(body)
        } else {
            Err(format!("status {status}: {}", String::from_utf8_lossy(body)).into())
        }
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        let read = self.stream.read_buf(&mut self.buffer).await?;
        if read == 0 || self.buffer.len() > ANSWER_BYTES_MAX {
            return Err("the connection ended within an answer, or the answer does not end".into());
        }
        Ok(())
    }
}

/// The status and the body's length.
fn read_head(head: &[u8]) -> Result<(u16, usize), Failure> {
    let text = std::str::from_utf8(head)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or("an answer without a status")?.parse()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse())
    });
    Ok((status, length.ok_or("an answer without a length")??))
}

/// Every value of a member in a JSON text, as it stands there: for texts that need no unescaping.
pub(crate) fn values<'a>(json: &'a str, member: &str) -> Vec<&'a str> {
    let name = format!("\"{member}\"");
    json.split(&name)
        .skip(1)
        .filter_map(|rest| rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split('"').next())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_far_as_needed() {
        assert_eq!(read_head(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nx: y").unwrap(), (200, 12));
        assert!(read_head(b"HTTP/1.1 200 OK\r\nx: y").is_err());
        assert_eq!(values(r#"[{"Id": "a"},{"Id":"b"}]"#, "Id"), ["a", "b"]);
    }
}
