//! The way of events to one subscriber: a bounded buffer, batches, and a connection into the sandbox's own network.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    sync::Notify,
};

use super::{Entry, Shared, Subscription, What, subscription::Destination};
use crate::host::link::Link;

/// How long one batch may take.
const SEND_WAIT: Duration = Duration::from_secs(2);
/// How often a batch is tried, and how long between: an extension may subscribe before it listens.
const ATTEMPTS: u32 = 4;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(50);
/// What a subscriber's answer may hold before its connection is given up.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const TOO_SLOW: &str = "Some logs were dropped because the downstream consumer is slower than the logs production rate";

/// Connects into a sandbox.
pub(super) struct Connector {
    pub(super) link: Arc<Link>,
    pub(super) id: u64,
    pub(super) port: u16,
}

impl Connector {
    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = self.link.socket(self.id).await.map_err(|fault| io::Error::other(format!("{fault:?}")))?;
        let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
        let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// One subscriber and what waits for it.
pub(super) struct Subscriber {
    name: String,
    subscription: Subscription,
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    items: Vec<Bytes>,
    bytes: usize,
    dropped_items: u64,
    dropped_bytes: u64,
    flush: bool,
}

impl Subscriber {
    pub(super) fn new(name: &str, subscription: Subscription) -> Self {
        Self { name: name.to_owned(), subscription, queue: Mutex::default(), changed: Notify::new() }
    }

    pub(super) fn port(&self) -> u16 {
        self.subscription.destination.port()
    }

    /// An extension has one subscription of each interface.
    pub(super) fn is_replaced_by(&self, other: &Self) -> bool {
        let kind = |subscriber: &Self| std::mem::discriminant(&subscriber.subscription.dialect);
        self.name == other.name && kind(self) == kind(other)
    }

    /// Takes the event if it was subscribed to; drops it when the buffer is full.
    pub(super) fn take(&self, entry: &Entry) {
        if !self.subscription.sources.contains(&entry.what.source()) {
            return;
        }
        let Some(bytes) = entry.write(self.subscription.dialect) else { return };
        let mut queue = self.queue.lock();
        let full = queue.items.len() >= self.subscription.items_max
            || (!queue.items.is_empty() && queue.bytes + bytes.len() > self.subscription.bytes_max);
        if full {
            queue.dropped_items += 1;
            queue.dropped_bytes += bytes.len() as u64;
            return;
        }
        queue.bytes += bytes.len();
        queue.items.push(bytes);
        if queue.items.len() == 1 || self.is_due(&queue) {
            drop(queue);
            self.changed.notify_one();
        }
    }

    /// A batch is sent before its time when the buffer is nearly full.
    fn is_due(&self, queue: &Queue) -> bool {
        queue.flush
            || queue.items.len() >= self.subscription.items_max
            || queue.bytes >= self.subscription.bytes_max / 4 * 3
    }

    pub(super) fn flush(&self) {
        self.queue.lock().flush = true;
        self.changed.notify_one();
    }

    async fn until(&self, done: impl Fn(&Queue) -> bool) {
        while !done(&self.queue.lock()) {
            self.changed.notified().await;
        }
    }
}

/// Sends batches until the environment is gone.
pub(super) async fn deliver(shared: Arc<Shared>, subscriber: Arc<Subscriber>, connector: Connector) {
    let mut sender = Sender { connector, destination: subscriber.subscription.destination.clone(), open: Open::No };
    // What could not be sent is told once something can be.
    let (mut lost_items, mut lost_bytes, mut reason) = (0, 0, String::new());
    loop {
        subscriber.until(|queue| !queue.items.is_empty()).await;
        // An elapsed time is one of the two ways to a batch.
        let due = subscriber.until(|queue| subscriber.is_due(queue));
        let _ = shared.env.timeout(subscriber.subscription.timeout, due).await;
        shared.begin_delivery().await;
        let batch = std::mem::take(&mut *subscriber.queue.lock());
        let sent = send(&shared, &mut sender, &batch.items).await;
        shared.end_delivery();
        if batch.dropped_items > 0 {
            lost_items += batch.dropped_items;
            lost_bytes += batch.dropped_bytes;
            TOO_SLOW.clone_into(&mut reason);
        }
        match sent {
            Ok(()) if lost_items > 0 => {
                let what = What::dropped(&reason, std::mem::take(&mut lost_items), std::mem::take(&mut lost_bytes));
                shared.tell(Entry { at: shared.env.now(), what });
            }
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(%error, subscriber = subscriber.name, "telemetry was not taken");
                lost_items += batch.items.len() as u64;
                lost_bytes += batch.bytes as u64;
                reason = format!("could not send events: {error}");
            }
        }
    }
}

async fn send(shared: &Shared, sender: &mut Sender, items: &[Bytes]) -> io::Result<()> {
    let mut last = Err(io::ErrorKind::TimedOut.into());
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            shared.env.sleep(ATTEMPT_PAUSE).await;
        }
        last = match shared.env.timeout(SEND_WAIT, sender.send(items)).await {
            Ok(sent) => sent,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match &last {
            Ok(()) => return last,
            // Who does not listen yet may listen soon; who is slow or refuses is not asked again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => sender.open = Open::No,
            Err(error) if matches!(sender.open, Open::Used) && error.kind() != io::ErrorKind::TimedOut => {
                sender.open = Open::No;
            }
            Err(_) => break,
        }
    }
    sender.open = Open::No;
    last
}

struct Sender {
    connector: Connector,
    destination: Destination,
    open: Open,
}

/// The connection as far as there is one.
enum Open {
    No,
    Http(SendRequest<Full<Bytes>>),
    Tcp(TcpStream),
    /// It was used and has failed: the other side may have closed it meanwhile, so one more is tried.
    Used,
}

impl Sender {
    async fn send(&mut self, items: &[Bytes]) -> io::Result<()> {
        let open = std::mem::replace(&mut self.open, Open::No);
        let used = !matches!(open, Open::No | Open::Used);
        let sent = match self.destination.clone() {
            Destination::Http { host, path, .. } => self.post(open, &host, &path, items).await,
            Destination::Tcp { .. } => self.write(open, items).await,
        };
        if sent.is_err() && used {
            self.open = Open::Used;
        }
        sent
    }

    async fn write(&mut self, open: Open, items: &[Bytes]) -> io::Result<()> {
        let mut stream = match open {
            Open::Tcp(stream) => stream,
            _ => self.connector.connect().await?,
        };
        let mut lines = BytesMut::with_capacity(items.iter().map(|item| item.len() + 1).sum());
        for item in items {
            lines.put_slice(item);
            lines.put_u8(b'\n');
        }
        stream.write_all(&lines).await?;
        self.open = Open::Tcp(stream);
        Ok(())
    }

    async fn post(&mut self, open: Open, host: &str, path: &str, items: &[Bytes]) -> io::Result<()> {
        let mut connection = match open {
            Open::Http(connection) => connection,
            _ => {
                let stream = self.connector.connect().await?;
                let (sender, connection) = http1::Builder::new()
                    .max_buf_size(ANSWER_BYTES_MAX)
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(io::Error::other)?;
                // It ends when the sender goes, or the sandbox does.
                tokio::spawn(async move { drop(connection.await) });
                sender
            }
        };
        connection.ready().await.map_err(io::Error::other)?;
        let mut array = BytesMut::with_capacity(2 + items.iter().map(|item| item.len() + 1).sum::<usize>());
        array.put_u8(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                array.put_u8(b',');
            }
            array.put_slice(item);
        }
        array.put_u8(b']');
        let mut request = Request::new(Full::new(array.freeze()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().map_err(io::Error::other)?;
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(host).map_err(io::Error::other)?);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = connection.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let mut body = response.into_body();
        let mut seen = 0;
        while let Some(frame) = body.frame().await {
            seen += frame.map_err(io::Error::other)?.data_ref().map_or(0, Bytes::len);
            if seen > ANSWER_BYTES_MAX {
                return Err(io::Error::other("the answer is too long"));
            }
        }
        self.open = Open::Http(connection);
        if status.is_success() { Ok(()) } else { Err(io::Error::other(format!("answered {status}"))) }
    }
}
