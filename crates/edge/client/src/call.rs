//! One signed request and its answer.
//!
//! Guarantee: the time limit covers connecting, sending and the answer up to its headers, and for an answer held in memory
//! also its body; a body that is handed on piece by piece has the limit anew for each piece.

use std::time::Duration;

use base_env::Env;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wire_sigv4::{Credentials, Rules, Signer};

use crate::Settings;

/// The longest answer that [`Client::send`] holds: AWS's largest are the 6 MiB of an invocation.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A request before it is signed.
#[derive(Clone, Debug)]
pub struct Call {
    /// The service's signing name, such as `lambda`.
    pub service: &'static str,
    /// The HTTP method.
    pub method: Method,
    /// Path and query, already percent-encoded, beginning with `/`.
    pub target: String,
    /// Headers apart from `host` and those of the signature.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The whole body.
    pub body: Bytes,
    /// See the module's guarantee.
    pub limit: Duration,
}

/// What came back, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body; empty when it was handed on.
    pub body: Bytes,
}

/// No answer could be had.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens at the endpoint.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// The endpoint dialled.
        endpoint: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The request cannot be expressed in HTTP.
    #[error("the request cannot be sent: {0}")]
    Request(String),
    /// The connection broke.
    #[error("the connection to {endpoint} broke")]
    Broken {
        /// The endpoint dialled.
        endpoint: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// The time limit was reached.
    #[error("{endpoint} did not answer within {seconds} s")]
    Late {
        /// The endpoint dialled.
        endpoint: String,
        /// The limit.
        seconds: u64,
    },
    /// The answer is longer than [`ANSWER_BYTES_MAX`].
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    /// The receiver of the pieces failed.
    #[error("the answer could not be kept")]
    Sink(#[source] std::io::Error),
}

/// A client of one server.
#[derive(Clone, Debug)]
pub struct Client {
    settings: Settings,
    env: Env,
}

impl Client {
    /// A client that asks as `settings` say.
    #[must_use]
    pub fn new(settings: Settings, env: Env) -> Self {
        Self { settings, env }
    }

    /// What the client was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends the call and holds the whole answer.
    ///
    /// # Errors
    /// [`ClientError`] when there is no answer.
    pub async fn send(&self, call: Call) -> Result<Answer, ClientError> {
        let limit = call.limit;
        let whole = async {
            let (mut answer, mut body) = self.open(call).await?;
            let mut bytes = BytesMut::new();
            while let Some(piece) = self.piece(&mut body).await? {
                if bytes.len() + piece.len() > ANSWER_BYTES_MAX {
                    return Err(ClientError::TooLong);
                }
                bytes.extend_from_slice(&piece);
            }
            answer.body = bytes.freeze();
            Ok(answer)
        };
        self.within(limit, whole).await
    }

    /// Sends the call and hands a successful answer's body to `keep`, piece by piece; any other answer is held whole.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Sink`] when `keep` failed.
    pub async fn fetch(
        &self,
        call: Call,
        mut keep: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<Answer, ClientError> {
        let limit = call.limit;
        let (mut answer, mut body) = self.within(limit, self.open(call)).await?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = self.within(limit, self.piece(&mut body)).await? {
            if answer.status.is_success() {
                keep(&piece).map_err(ClientError::Sink)?;
            } else if bytes.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(ClientError::TooLong);
            } else {
                bytes.extend_from_slice(&piece);
            }
        }
        answer.body = bytes.freeze();
        Ok(answer)
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        self.env.timeout(limit, work).await.unwrap_or_else(|_| {
            Err(ClientError::Late { endpoint: self.settings.endpoint.to_string(), seconds: limit.as_secs() })
        })
    }

    async fn open(&self, call: Call) -> Result<(Answer, Incoming), ClientError> {
        let endpoint = &self.settings.endpoint;
        let request = self.request(call)?;
        let connect = |source| ClientError::Connect { endpoint: endpoint.to_string(), source };
        let stream = TcpStream::connect((endpoint.address(), endpoint.port)).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|source| self.broken(source))?;
        // The connection task ends with the sender or the body, whichever lives longer; its error also reaches them.
        drop(tokio::spawn(connection));
        let response = sender.send_request(request).await.map_err(|source| self.broken(source))?;
        let (head, body) = response.into_parts();
        Ok((Answer { status: head.status, headers: head.headers, body: Bytes::new() }, body))
    }

    async fn piece(&self, body: &mut Incoming) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(|source| self.broken(source))?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    fn broken(&self, source: hyper::Error) -> ClientError {
        ClientError::Broken { endpoint: self.settings.endpoint.to_string(), source }
    }
}

impl Client {
    /// The signed HTTP request.
    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, ClientError> {
        let refuse = |error: &dyn std::fmt::Display| ClientError::Request(error.to_string());
        let mut request =
            Request::builder().method(call.method).uri(call.target).body(call.body).map_err(|error| refuse(&error))?;
        let host = HeaderValue::from_str(&self.settings.endpoint.authority()).map_err(|error| refuse(&error))?;
        request.headers_mut().insert(http::header::HOST, host);
        request.headers_mut().extend(call.headers);
        let (mut head, body) = request.into_parts();
        let settings = &self.settings;
        let signer = Signer {
            credentials: Credentials {
                key_id: settings.access_key_id.clone(),
                secret: settings.secret_access_key.clone(),
                token: settings.session_token.clone(),
            },
            region: settings.region.to_string(),
            service: call.service.to_owned(),
            rules: Rules::Common,
        };
        let added =
            signer.sign(&wire_sigv4::Request::from(&head), &body, self.env.now()).map_err(|error| refuse(&error))?;
        head.headers.extend(added);
        Ok(Request::from_parts(head, Full::new(body)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn call(limit: Duration) -> Call {
        Call {
            service: "lambda",
            method: Method::POST,
            target: "/2015-03-31/functions?Marker=a%20b".to_owned(),
            headers: Vec::new(),
            body: Bytes::from_static(b"{}"),
            limit,
        }
    }

    fn client(port: u16) -> Client {
        let endpoint = format!("http://127.0.0.1:{port}");
        let settings = Settings::read(|name| (name == "AWS_ENDPOINT_URL").then(|| endpoint.clone())).unwrap();
        Client::new(settings, Env::real())
    }

    /// A server that reads one request up to its body `{}`, writes `answer` and hands back what it read.
    async fn one_shot(answer: Vec<u8>) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n{}") {
                assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
            }
            // The client may have heard enough and gone.
            drop(stream.write_all(&answer).await);
            String::from_utf8(read).unwrap()
        });
        (port, served)
    }

    #[tokio::test]
    async fn a_request_is_signed_and_its_answer_read() {
        let (port, served) =
            one_shot(b"HTTP/1.1 404 Not Found\r\nx-a: b\r\ncontent-length: 2\r\n\r\nno".to_vec()).await;
        let answer = client(port).send(call(Duration::from_secs(9))).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["x-a"], &answer.body[..]),
            (404, &"b".parse().unwrap(), &b"no"[..])
        );
        let request = served.await.unwrap();
        assert!(request.starts_with("POST /2015-03-31/functions?Marker=a%20b HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{request}");
        assert!(request.contains("authorization: AWS4-HMAC-SHA256 Credential=test/"), "{request}");
    }

    #[tokio::test]
    async fn a_long_answer_is_refused_but_can_be_handed_on() {
        let long = ANSWER_BYTES_MAX + 1;
        let mut bytes = format!("HTTP/1.1 200 OK\r\ncontent-length: {long}\r\n\r\n").into_bytes();
        bytes.resize(bytes.len() + long, b'x');
        let (port, _) = one_shot(bytes.clone()).await;
        let refused = client(port).send(call(Duration::from_secs(30))).await;
        assert!(matches!(refused, Err(ClientError::TooLong)), "{refused:?}");
        let (port, _) = one_shot(bytes).await;
        let mut kept = 0;
        let keep = |piece: &[u8]| {
            kept += piece.len();
            Ok(())
        };
        client(port).fetch(call(Duration::from_secs(30)), keep).await.unwrap();
        assert_eq!(kept, long);
    }

    #[tokio::test]
    async fn silence_ends_with_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused = client(listener.local_addr().unwrap().port()).send(call(Duration::from_millis(50))).await;
        assert!(matches!(refused, Err(ClientError::Late { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn nobody_there_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let refused = client(port).send(call(Duration::from_secs(9))).await;
        assert!(matches!(refused, Err(ClientError::Connect { .. })), "{refused:?}");
    }
}
