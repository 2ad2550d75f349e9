//! The bare opponents: a constant answer, and the shortest loop between a client and polling runtimes.
//!
//! Guarantee: each prints the port it listens on as its first line; nothing is stored, checked, signed or isolated.

use std::{cell::RefCell, collections::HashMap, collections::VecDeque, convert::Infallible, io::Write, rc::Rc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::oneshot, task::LocalSet};

use crate::Failure;

type Answer = Result<Response<Full<Bytes>>, Infallible>;

async fn listen() -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    Ok(listener)
}

/// Every request is answered with two bytes.
pub(crate) async fn hello() -> Result<(), Failure> {
    let listener = listen().await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        drop(tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| async {
                // The body is read, as every server that does something with it must.
                drop(request.into_body().collect().await);
                Answer::Ok(Response::new(Full::new(Bytes::from_static(b"{}"))))
            });
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        }));
    }
}

/// Events that wait for a runtime, runtimes that wait for an event, and clients that wait for an answer.
#[derive(Default)]
struct Desk {
    numbers: u64,
    events: VecDeque<(u64, Bytes)>,
    pollers: VecDeque<oneshot::Sender<(u64, Bytes)>>,
    clients: HashMap<u64, oneshot::Sender<Bytes>>,
}

/// `POST /invoke` beside the two calls of the Runtime API that a runtime makes.
pub(crate) async fn runtime_loop() -> Result<(), Failure> {
    let listener = listen().await?;
    let desk = Rc::new(RefCell::new(Desk::default()));
    LocalSet::new()
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                let desk = Rc::clone(&desk);
                drop(tokio::task::spawn_local(async move {
                    let service = service_fn(move |request| serve(Rc::clone(&desk), request));
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
                }));
            }
        })
        .await
}

async fn serve(desk: Rc<RefCell<Desk>>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(status(400)),
    };
    let path = head.uri.path();
    if path.ends_with("/next") {
        let waiting = {
            let mut desk = desk.borrow_mut();
            match desk.events.pop_front() {
                Some(event) => Ok(event),
                None => {
                    let (sender, receiver) = oneshot::channel();
                    desk.pollers.push_back(sender);
                    Err(receiver)
                }
            }
        };
        let event = match waiting {
            Ok(event) => Some(event),
            Err(receiver) => receiver.await.ok(),
        };
        return Ok(event.map_or_else(|| status(500), |(number, event)| handed(number, event)));
    }
    if let Some(number) = path.rsplit('/').nth(1).and_then(|text| text.parse::<u64>().ok()) {
        if let Some(client) = desk.borrow_mut().clients.remove(&number) {
            // A client that went away does not matter here.
            drop(client.send(body));
        }
        return Ok(status(202));
    }
    let receiver = {
        let mut desk = desk.borrow_mut();
        desk.numbers += 1;
        let number = desk.numbers;
        let (sender, receiver) = oneshot::channel();
        desk.clients.insert(number, sender);
        let mut event = Some((number, body));
        while let Some(poller) = desk.pollers.pop_front() {
            let Some(waiting) = event.take() else { break };
            match poller.send(waiting) {
                Ok(()) => break,
                Err(returned) => event = Some(returned),
            }
        }
        desk.events.extend(event);
        receiver
    };
    Ok(receiver.await.map_or_else(|_| status(500), |answer| Response::new(Full::new(answer))))
}

fn handed(number: u64, event: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(event));
    let headers = response.headers_mut();
    headers.insert("lambda-runtime-aws-request-id", http::HeaderValue::from(number));
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn status(code: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response
}
