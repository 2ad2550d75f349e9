//! Blobs: bodies too large for the key space, kept as files (or objects) beside it.
//!
//! The life of a blob: an *intent* is committed, the bytes are written and made durable, then a transaction references
//! it by [`Tx::attach_blob`]. References are keys (blob, referrer), not counters, so nothing can be miscounted.
//! [`Blobs::sweep`] removes what has neither a reference nor a fresh intent. So a crash at any point leaves either a
//! whole, referenced blob or garbage that the sweep finds.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use base_env::Moment;
use base_types::{Fault, FaultKind, Timestamp};
use bytes::Bytes;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::{Direction, Family, Key, Store, Table, Tx};

/// How long bytes may be written and stay unreferenced before the sweep takes them.
pub const INTENT_TTL: Duration = Duration::from_secs(3600);

/// Bytes handed over at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// Records looked at in one transaction of a sweep.
const SWEEP_PAGE: usize = 500;

const INTENTS: Table<Intent> = Table::new(Family::Meta, "store.blobs", 1);

#[derive(Clone, Encode, Decode)]
struct Intent {
    #[n(0)]
    made: Timestamp,
    /// Set by a sweep before it removes the file: from then on the blob cannot be attached any more.
    #[n(1)]
    doomed: bool,
    #[n(2)]
    sealed: Option<Sealed>,
}

/// What is known of a blob whose bytes are complete and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sealed {
    /// Its length in bytes.
    #[n(0)]
    pub length: u64,
    /// The SHA-256 of its bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
}

/// A blob's name: 128 random bits. As text: 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct BlobId(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a blob's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob is named by 32 lower-case hexadecimal digits")]
pub struct InvalidBlobId;

impl FromStr for BlobId {
    type Err = InvalidBlobId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).map_err(|_| InvalidBlobId)?;
        if valid { Ok(Self(number.to_be_bytes())) } else { Err(InvalidBlobId) }
    }
}

/// Where the bytes of blobs are kept. Its calls block; [`Blobs`] makes them on threads that may.
pub trait BlobFiles: Send + Sync + 'static {
    /// Begins a blob that does not exist yet.
    ///
    /// # Errors
    /// When the medium fails.
    fn create(&self, id: BlobId) -> Result<Box<dyn BlobSink>, Fault>;

    /// Opens a complete blob; `None` when there is none.
    ///
    /// # Errors
    /// When the medium fails.
    fn open(&self, id: BlobId) -> Result<Option<Box<dyn BlobSource>>, Fault>;

    /// Removes a blob, complete or not, if it exists.
    ///
    /// # Errors
    /// When the medium fails.
    fn remove(&self, id: BlobId) -> Result<(), Fault>;

    /// All blobs, complete or not.
    ///
    /// # Errors
    /// When the medium fails.
    fn list(&self) -> Result<Vec<BlobId>, Fault>;
}

/// A blob being written. Dropped unfinished it leaves nothing that [`BlobFiles::open`] finds.
pub trait BlobSink: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// When the medium fails, for example because it is full.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault>;

    /// Makes the bytes and their name durable.
    ///
    /// # Errors
    /// When the medium fails; then the blob does not exist.
    fn finish(self: Box<Self>) -> Result<(), Fault>;
}

/// A complete blob being read.
pub trait BlobSource: Send {
    /// Its length in bytes.
    fn length(&self) -> u64;

    /// At most `max` bytes from `offset`; fewer only at the end.
    ///
    /// # Errors
    /// When the medium fails.
    fn read(&mut self, offset: u64, max: usize) -> Result<Bytes, Fault>;
}

/// The blobs of a store.
#[derive(Clone)]
pub struct Blobs {
    store: Store,
    files: Arc<dyn BlobFiles>,
}

impl Blobs {
    pub(crate) fn new(store: Store, files: Arc<dyn BlobFiles>) -> Self {
        Self { store, files }
    }

    /// Begins a blob of at most `length_max` bytes.
    ///
    /// # Errors
    /// A fault of the store or of the medium.
    pub async fn writer(&self, length_max: u64) -> Result<BlobWriter, Fault> {
        let mut id = [0; 16];
        self.store.env().fill(&mut id);
        let id = BlobId(id);
        self.store
            .transact(move |tx| {
                INTENTS.put(tx, &intent_key(id), &Intent { made: tx.now(), doomed: false, sealed: None })
            })
            .await?;
        let files = Arc::clone(&self.files);
        let sink = blocking(move || files.create(id)).await?;
        let pending = Vec::new();
        Ok(BlobWriter {
            blobs: self.clone(),
            id,
            sink: Some(sink),
            pending,
            length: 0,
            length_max,
            hash: Sha256::new(),
            renewed: self.store.env().monotonic(),
        })
    }

    /// Writes `bytes` as one blob, durable but not yet referenced: attach it within [`INTENT_TTL`].
    ///
    /// # Errors
    /// A fault of the store or of the medium.
    pub async fn put(&self, bytes: Bytes) -> Result<BlobId, Fault> {
        let mut writer = self.writer(bytes.len() as u64).await?;
        writer.write(bytes).await?;
        Ok(writer.finish().await?.0)
    }

    /// A whole blob of at most `length_max` bytes; `None` when there is none.
    ///
    /// # Errors
    /// A fault of the medium, or when it is longer than `length_max`, or its bytes are damaged.
    pub async fn get(&self, id: BlobId, length_max: u64) -> Result<Option<Bytes>, Fault> {
        let Some(mut reader) = self.reader(id).await? else { return Ok(None) };
        if reader.length() > length_max {
            return Err(Fault::new(
                FaultKind::Overloaded,
                format!("read blob {id}: it is longer than {length_max} bytes"),
            ));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(reader.length()).unwrap_or_default());
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        let intact = self.sealed(id).await?.is_none_or(|sealed| sealed.sha256[..] == Sha256::digest(&bytes)[..]);
        if !intact {
            return Err(Fault::new(FaultKind::Internal, format!("read blob {id}: its bytes are damaged")));
        }
        Ok(Some(Bytes::from(bytes)))
    }

    /// Reads a blob piece by piece; `None` when there is none. Its bytes are not checked against their sum.
    ///
    /// # Errors
    /// A fault of the medium.
    pub async fn reader(&self, id: BlobId) -> Result<Option<BlobReader>, Fault> {
        let files = Arc::clone(&self.files);
        let source = blocking(move || files.open(id)).await?;
        Ok(source.map(|source| BlobReader { length: source.length(), offset: 0, source: Some(source) }))
    }

    /// Length and sum of a complete blob; `None` when there is none.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn sealed(&self, id: BlobId) -> Result<Option<Sealed>, Fault> {
        self.store.view(move |tx| Ok(INTENTS.get(tx, &intent_key(id))?.and_then(|intent| intent.sealed))).await
    }

    /// Removes the blobs that have neither a reference nor a fresh intent; how many those were. Idempotent.
    ///
    /// # Errors
    /// A fault of the store or of the medium.
    pub async fn sweep(&self) -> Result<usize, Fault> {
        let (mut removed, mut rest) = (0, intents().prefix());
        loop {
            let range = rest.clone();
            let (doomed, last) = self.store.transact(move |tx| doom(tx, &range)).await?;
            for id in doomed {
                self.remove(id).await?;
                removed += 1;
            }
            let Some(last) = last else { break };
            rest = rest.after(&last);
        }
        // Files without any record: the remains of a removal that was cut short after its record went.
        let files = Arc::clone(&self.files);
        for page in blocking(move || files.list()).await?.chunks(SWEEP_PAGE) {
            let ids = page.to_vec();
            let unknown: Vec<BlobId> = self
                .store
                .view(move |tx| {
                    let keys: Vec<_> = ids.iter().map(|id| intent_key(*id)).collect();
                    let found = tx.get_many(&keys)?;
                    Ok::<_, Fault>(ids.iter().zip(found).filter(|(_, r)| r.is_none()).map(|(id, _)| *id).collect())
                })
                .await?;
            for id in unknown {
                let files = Arc::clone(&self.files);
                blocking(move || files.remove(id)).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The file first, its record last: a record without a file is found again, a file without a record too.
    async fn remove(&self, id: BlobId) -> Result<(), Fault> {
        let files = Arc::clone(&self.files);
        blocking(move || files.remove(id)).await?;
        self.store.transact(move |tx| tx.delete(&intent_key(id))).await
    }
}

impl Tx {
    /// References the complete blob `id` from `referrer` (the key of the record that names it).
    ///
    /// # Errors
    /// When the blob is not complete, or has been swept because it stayed unreferenced for too long.
    pub fn attach_blob(&self, id: BlobId, referrer: &Key) -> Result<(), Fault> {
        match INTENTS.get(self, &intent_key(id))? {
            Some(Intent { doomed: false, sealed: Some(_), .. }) => {
                self.put(&references(id).bytes(referrer.as_bytes()), Bytes::new())
            }
            _ => Err(Fault::new(FaultKind::Conflict, format!("reference blob {id}: it is not there or incomplete"))),
        }
    }

    /// Drops the reference of `referrer`. The blob goes when its last reference has gone, by a later sweep.
    ///
    /// # Errors
    /// As [`Tx::delete`].
    pub fn detach_blob(&self, id: BlobId, referrer: &Key) -> Result<(), Fault> {
        self.delete(&references(id).bytes(referrer.as_bytes()))
    }
}

fn intents() -> Key {
    Key::system(Family::Meta).str("blob")
}

fn intent_key(id: BlobId) -> Key {
    intents().bytes(&id.0)
}

fn references(id: BlobId) -> Key {
    Key::system(Family::Meta).str("blob-reference").bytes(&id.0)
}

/// Marks the unreferenced, stale blobs of one page: those to remove, and the last key looked at.
fn doom(tx: &Tx, range: &crate::KeyRange) -> Result<(Vec<BlobId>, Option<Key>), Fault> {
    let page = INTENTS.scan(tx, range, SWEEP_PAGE, Direction::Forward)?;
    let last = page.last().map(|(key, _)| key.clone());
    let mut doomed = Vec::new();
    for (key, intent) in page {
        let Some(crate::Part::Bytes(id)) = key.parts()?.pop() else { return Err(crate::key::DamagedKey.into()) };
        let id = BlobId(id.try_into().map_err(|_| crate::key::DamagedKey)?);
        if tx.now().since(intent.made) < INTENT_TTL
            || !tx.scan(&references(id).prefix(), 1, Direction::Forward)?.is_empty()
        {
            continue;
        }
        INTENTS.put(tx, &key, &Intent { doomed: true, ..intent })?;
        doomed.push(id);
    }
    Ok((doomed, last))
}

/// A blob being written.
pub struct BlobWriter {
    blobs: Blobs,
    id: BlobId,
    sink: Option<Box<dyn BlobSink>>,
    pending: Vec<u8>,
    length: u64,
    length_max: u64,
    hash: Sha256,
    /// When its intent was last renewed.
    renewed: Moment,
}

impl BlobWriter {
    /// Appends bytes; they are handed to the medium in pieces of a quarter MiB.
    ///
    /// # Errors
    /// When the blob grows beyond its bound, or the medium fails. Then the blob is lost.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Fault> {
        self.length += bytes.len() as u64;
        if self.length > self.length_max {
            self.sink = None;
            let bound = self.length_max;
            return Err(Fault::new(FaultKind::Overloaded, format!("write a blob: it is longer than {bound} bytes")));
        }
        self.hash.update(&bytes);
        self.pending.extend_from_slice(&bytes);
        if self.pending.len() >= CHUNK_BYTES { self.hand_over().await } else { Ok(()) }
    }

    /// Makes the blob durable. Attach it within [`INTENT_TTL`] from now.
    ///
    /// # Errors
    /// When the medium or the store fails. Then the blob is lost.
    pub async fn finish(mut self) -> Result<(BlobId, Sealed), Fault> {
        self.hand_over().await?;
        let Self { blobs, id, sink, length, hash, .. } = self;
        let sink = sink.ok_or_else(lost)?;
        blocking(move || sink.finish()).await?;
        let sealed = Sealed { length, sha256: hash.finalize().into() };
        blobs
            .store
            .transact(move |tx| {
                let intent = INTENTS.require(tx, &intent_key(id), lost)?;
                INTENTS.put(tx, &intent_key(id), &Intent { made: tx.now(), sealed: Some(sealed), ..intent })
            })
            .await?;
        Ok((id, sealed))
    }

    /// However slowly it comes: as long as it comes, the sweep leaves it alone.
    async fn renew(&mut self) -> Result<(), Fault> {
        let now = self.blobs.store.env().monotonic();
        if now.since(self.renewed) < INTENT_TTL / 4 {
            return Ok(());
        }
        self.renewed = now;
        let id = self.id;
        self.blobs
            .store
            .transact(move |tx| {
                let intent = INTENTS.require(tx, &intent_key(id), lost)?;
                if intent.doomed {
                    return Err(lost());
                }
                INTENTS.put(tx, &intent_key(id), &Intent { made: tx.now(), ..intent })
            })
            .await
    }

    async fn hand_over(&mut self) -> Result<(), Fault> {
        self.renew().await?;
        let mut sink = self.sink.take().ok_or_else(lost)?;
        let bytes = std::mem::take(&mut self.pending);
        self.sink = Some(blocking(move || sink.write(&bytes).map(|()| sink)).await?);
        Ok(())
    }
}

fn lost() -> Fault {
    Fault::new(FaultKind::Internal, "go on with a blob that failed before")
}

/// A blob being read.
pub struct BlobReader {
    length: u64,
    offset: u64,
    source: Option<Box<dyn BlobSource>>,
}

impl BlobReader {
    /// The blob's length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Goes to `offset` (a range request).
    pub fn seek(&mut self, offset: u64) {
        self.offset = offset.min(self.length);
    }

    /// The next piece, at most a quarter MiB; `None` at the end.
    ///
    /// # Errors
    /// When the medium fails or the blob ends early.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if self.offset == self.length {
            return Ok(None);
        }
        let mut source = self.source.take().ok_or_else(lost)?;
        let offset = self.offset;
        let (bytes, source) = blocking(move || Ok((source.read(offset, CHUNK_BYTES)?, source))).await?;
        if bytes.is_empty() {
            return Err(Fault::new(FaultKind::Internal, "read a blob: it ends before its length"));
        }
        self.source = Some(source);
        self.offset += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

/// Runs a blocking call where it harms nobody.
async fn blocking<R: Send + 'static>(call: impl FnOnce() -> Result<R, Fault> + Send + 'static) -> Result<R, Fault> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) => Err(Fault::internal("reach the blobs", error)),
    }
}
