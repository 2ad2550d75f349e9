//! Bodies: taken in piece by piece, given out from anywhere.
//!
//! Guarantees: at most a quarter MiB and one chunk of a body are held at a time, whatever its size; what is returned from
//! [`receive`] is durable (a small body will be with the commit that refers to it) and has the sums that it says; nothing
//! that a client sent wrong leaves anything behind but garbage that the sweep of blobs finds.

use base_stream::{Body as Stream, ByteStream, Sender};
use base_types::{Fault, FaultKind};
use bytes::{Buf as _, Bytes, BytesMut};
use model_s3::Error;
use store_api::{BlobWriter, Store};

use crate::{
    checksum::{Algorithm, Summed, Sums},
    error::of_body,
    seal::{CHUNK, DataKey, SEALED_CHUNK, SealedKey, Vault, sealed_length},
    tables::{Id, Piece, Place, SmallBytes},
};

/// Bodies up to this size are kept in the store itself.
pub(crate) const SMALL_MAX: usize = 16 << 10;
/// Bytes of a refused body that are taken from the wire.
const DISCARDED_MAX: usize = 1 << 20;
/// Pieces that wait for a client.
const PIECES_WAITING: usize = 2;

/// A body that was taken in.
pub(crate) struct Received {
    pub(crate) size: u64,
    pub(crate) sums: Summed,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) small: Option<SmallBytes>,
    /// What followed the last chunk.
    pub(crate) trailers: Vec<(String, String)>,
}

/// Takes a body of at most `length_max` bytes in, sealed under a key of its own, which `vault` seals.
///
/// # Errors
/// What the client did wrong (see [`of_body`]), [`EntityTooLarge`](Error::EntityTooLarge), a fault of the store.
pub(crate) async fn receive(
    store: &Store,
    vault: &Vault,
    body: Stream,
    algorithm: Algorithm,
    length_max: u64,
) -> Result<Received, Error> {
    let mut intake = Intake { sums: Sums::new(algorithm), size: 0, held: Vec::new(), file: None };
    let mut trailers = Vec::new();
    match body {
        Stream::Whole(bytes) => intake.take(store, vault, bytes, length_max).await?,
        Stream::Stream(mut stream) => {
            while let Some(piece) = stream.next().await {
                intake.take(store, vault, piece.map_err(of_body)?, length_max).await?;
            }
            trailers = stream.trailers();
        }
    }
    let (pieces, small) = intake.end(store, vault).await?;
    Ok(Received { size: intake.size, sums: intake.sums.finish(), pieces, small, trailers })
}

struct Intake {
    sums: Sums,
    size: u64,
    held: Vec<u8>,
    file: Option<File>,
}

struct File {
    writer: Option<BlobWriter>,
    key: DataKey,
    sealed_key: SealedKey,
    chunks: u64,
}

impl Intake {
    async fn take(&mut self, store: &Store, vault: &Vault, mut bytes: Bytes, length_max: u64) -> Result<(), Error> {
        self.size += bytes.len() as u64;
        if self.size > length_max {
            return Err(crate::ops::objects::too_large(self.size, length_max));
        }
        self.sums.update(&bytes);
        while !bytes.is_empty() {
            let room = CHUNK - self.held.len();
            let part = bytes.split_to(room.min(bytes.len()));
            if self.held.capacity() == 0 && part.len() > SMALL_MAX {
                self.held.reserve_exact(SEALED_CHUNK);
            }
            self.held.extend_from_slice(&part);
            if self.held.len() == CHUNK {
                self.write_chunk(store, vault, length_max).await?;
            }
        }
        Ok(())
    }

    async fn write_chunk(&mut self, store: &Store, vault: &Vault, length_max: u64) -> Result<(), Error> {
        if self.file.is_none() {
            let (key, sealed_key) = vault.make(store.env())?;
            let writer = store.blobs().writer(sealed_length(length_max)).await.map_err(of_body)?;
            self.file = Some(File { writer: Some(writer), key, sealed_key, chunks: 0 });
        }
        let chunk = std::mem::replace(&mut self.held, Vec::with_capacity(SEALED_CHUNK));
        let Some(file) = &mut self.file else { return Ok(()) };
        let sealed = file.key.seal(file.chunks, chunk)?;
        file.chunks += 1;
        match &mut file.writer {
            Some(writer) => writer.write(sealed).await.map_err(of_body),
            None => Ok(()),
        }
    }

    async fn end(&mut self, store: &Store, vault: &Vault) -> Result<(Vec<Piece>, Option<SmallBytes>), Error> {
        if self.size == 0 {
            return Ok((Vec::new(), None));
        }
        let size = self.size;
        if self.file.is_none() && self.held.len() <= SMALL_MAX {
            let (key, sealed_key) = vault.make(store.env())?;
            let sealed = key.seal(0, std::mem::take(&mut self.held))?;
            let id = fresh(store);
            let piece = Piece { place: Place::Small(id), start: 0, length: size, whole: size, key: sealed_key };
            return Ok((vec![piece], Some((id, sealed))));
        }
        if !self.held.is_empty() {
            // Nothing longer can follow: what is held is all.
            self.write_chunk(store, vault, size).await?;
        }
        let Some(File { writer: Some(writer), sealed_key, .. }) = self.file.take() else {
            return Err(Fault::new(FaultKind::Internal, "finish a body that was not begun").into());
        };
        let (blob, _) = writer.finish().await.map_err(of_body)?;
        let piece = Piece { place: Place::Blob(blob), start: 0, length: size, whole: size, key: sealed_key };
        Ok((vec![piece], None))
    }
}

/// A new identity.
pub(crate) fn fresh(store: &Store) -> Id {
    let mut id = [0; 16];
    store.env().fill(&mut id);
    id
}

/// The part of `pieces` from byte `first` to byte `last` (included).
pub(crate) fn cut(pieces: &[Piece], first: u64, last: u64) -> Vec<Piece> {
    let (mut at, mut out) = (0, Vec::new());
    for piece in pieces {
        let (begin, end) = (at, at + piece.length);
        at = end;
        if piece.length == 0 || end <= first || begin > last {
            continue;
        }
        let skipped = first.saturating_sub(begin);
        let behind = end.saturating_sub(last.saturating_add(1));
        let (start, length) = (piece.start + skipped, piece.length - skipped - behind);
        out.push(Piece { start, length, ..piece.clone() });
    }
    out
}

/// A piece whose key is open, and whose bytes are at hand when they are small.
pub(crate) struct Open {
    pub(crate) piece: Piece,
    pub(crate) key: DataKey,
    pub(crate) small: Option<Vec<u8>>,
}

/// The bytes of `pieces`: at once when they are in the store itself, else as they are read.
pub(crate) fn give(store: &Store, pieces: Vec<Open>) -> Result<Stream, Fault> {
    if pieces.iter().all(|open| open.small.is_some()) {
        let mut whole = BytesMut::new();
        for mut open in pieces {
            whole.extend_from_slice(open_small(&mut open)?);
        }
        return Ok(Stream::Whole(whole.freeze()));
    }
    let (sender, stream) = ByteStream::channel(PIECES_WAITING);
    let store = store.clone();
    tokio::spawn(async move {
        for open in pieces {
            match send(&store, open, &sender).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(fault) => {
                    tracing::error!(?fault, "a body could not be read to its end");
                    return sender.fail(fault).await;
                }
            }
        }
    });
    Ok(Stream::Stream(stream))
}

fn open_small(open: &mut Open) -> Result<&[u8], Fault> {
    let Open { piece, key, small } = open;
    let plain = key.open(0, small.as_mut().ok_or_else(crate::tables::lost)?)?;
    let start = usize::try_from(piece.start).unwrap_or(usize::MAX);
    let end = start.saturating_add(usize::try_from(piece.length).unwrap_or(usize::MAX));
    plain.get(start..end).ok_or_else(torn)
}

/// Sends a piece; false when nobody reads any more.
async fn send(store: &Store, mut open: Open, sender: &Sender<Bytes>) -> Result<bool, Fault> {
    if open.small.is_some() {
        let bytes = Bytes::copy_from_slice(open_small(&mut open)?);
        return Ok(sender.send(bytes).await);
    }
    let Open { piece, key, .. } = open;
    let Place::Blob(blob) = piece.place else { return Err(torn()) };
    let mut reader = store.blobs().reader(blob).await?.ok_or_else(crate::tables::lost)?;
    if reader.length() != sealed_length(piece.whole) {
        return Err(torn());
    }
    let (mut number, mut skip) = (piece.start / CHUNK as u64, (piece.start % CHUNK as u64) as usize);
    reader.seek(number * SEALED_CHUNK as u64);
    let (mut left, mut sealed) = (piece.length, BytesMut::new());
    while left > 0 {
        let plain = (piece.whole - number * CHUNK as u64).min(CHUNK as u64);
        let wanted = usize::try_from(sealed_length(plain)).unwrap_or(SEALED_CHUNK);
        while sealed.len() < wanted {
            match reader.next().await? {
                Some(bytes) if sealed.is_empty() => sealed = BytesMut::from(bytes),
                Some(bytes) => sealed.extend_from_slice(&bytes),
                None => return Err(torn()),
            }
        }
        let mut chunk = sealed.split_to(wanted);
        let length = key.open(number, &mut chunk)?.len();
        let mut chunk = chunk.freeze();
        chunk.truncate(length);
        chunk.advance(skip.min(length));
        skip = 0;
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= chunk.len() as u64;
        number += 1;
        if !sender.send(chunk).await {
            return Ok(false);
        }
    }
    Ok(true)
}

fn torn() -> Fault {
    Fault::new(FaultKind::Internal, "read a body: it is not as long as its record says")
}

/// Takes a little of a body that is refused from the wire, so that a client that is still sending it reads the answer.
pub(crate) async fn discard(body: Option<&wire_schema::Streaming>) {
    let Some(Stream::Stream(mut stream)) = body.and_then(wire_schema::Streaming::take) else { return };
    let mut taken = 0;
    while taken < DISCARDED_MAX {
        match stream.next().await {
            Some(Ok(piece)) => taken += piece.len(),
            Some(Err(_)) | None => return,
        }
    }
}

/// The sums of a body that is there.
pub(crate) async fn sums(body: Stream, algorithm: Algorithm) -> Result<Summed, Fault> {
    let mut sums = Sums::new(algorithm);
    match body {
        Stream::Whole(bytes) => sums.update(&bytes),
        Stream::Stream(mut stream) => {
            while let Some(piece) = stream.next().await {
                sums.update(&piece?);
            }
        }
    }
    Ok(sums.finish())
}

#[cfg(test)]
mod tests {
    use base_env::Env;
    use base_types::Timestamp;

    use super::*;

    async fn read(store: &Store, vault: &Vault, received: &Received, first: u64, last: u64) -> Vec<u8> {
        let pieces = cut(&received.pieces, first, last);
        let open = pieces.into_iter().map(|piece| {
            let small = match (&piece.place, &received.small) {
                (Place::Small(_), Some((_, sealed))) => Some(sealed.to_vec()),
                _ => None,
            };
            Open { key: vault.open(&piece.key).unwrap(), piece, small }
        });
        let mut bytes = Vec::new();
        match give(store, open.collect()).unwrap() {
            Stream::Whole(whole) => bytes.extend_from_slice(&whole),
            Stream::Stream(mut stream) => {
                while let Some(piece) = stream.next().await {
                    bytes.extend_from_slice(&piece.unwrap());
                }
            }
        }
        bytes
    }

    #[tokio::test]
    async fn every_range_of_every_size_reads_back() {
        let env = Env::simulated(Timestamp::from_millis(1), 7);
        let (store, vault) = (Store::memory(&env), Vault::new(&[5; 32]));
        for size in [1, SMALL_MAX, SMALL_MAX + 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 7 * CHUNK + 12_345] {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 31 % 253) as u8).collect();
            let whole = Stream::Whole(Bytes::from(bytes.clone()));
            let received = receive(&store, &vault, whole, Algorithm::Crc32, 1 << 30).await.unwrap();
            assert_eq!((received.size, received.small.is_some()), (size as u64, size <= SMALL_MAX));
            let last = size as u64 - 1;
            for (first, last) in [(0, last), (last, last), (last / 2, last), (0, last / 3), (last / 3, last / 2)] {
                let read = read(&store, &vault, &received, first, last).await;
                assert!(read == bytes[first as usize..=last as usize], "{size}: {first}-{last}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_beyond_its_bound_is_refused() {
        let env = Env::simulated(Timestamp::from_millis(1), 7);
        let (store, vault) = (Store::memory(&env), Vault::new(&[5; 32]));
        let whole = Stream::Whole(Bytes::from(vec![0; 11]));
        assert!(matches!(receive(&store, &vault, whole, Algorithm::Crc32, 10).await, Err(Error::EntityTooLarge(_))));
    }
}
