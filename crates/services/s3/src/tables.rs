//! What is in the store, and the only file that knows keys.
//!
//! | table | key | what |
//! |---|---|---|
//! | `s3.buckets` | (global) name | a bucket: a name is unique over the whole server |
//! | `s3.owned` | (global) account · name | the buckets of an account |
//! | `s3.config` | (global) bucket id · kind · id | a bucket's configurations, as XML documents |
//! | `s3.current` | (global) bucket id · object key | the current version of a key, unless that is a delete marker |
//! | `s3.older` | (global) bucket id · object key · number (newest first) | older versions, and delete markers |
//! | `s3.null` | (global) bucket id · object key | the number of the null version, where that is among the older ones |
//! | `s3.small` | (global) identity | a small body, encrypted |
//! | `s3.uploads` | (global) bucket id · object key · time · identity | multipart uploads under way |
//! | `s3.parts` | (global) identity of the upload · number | their parts; after the completion, those of the object |
//! | `s3.holders` | (global) identity of the upload · identity of a version | who refers to the parts of a completed upload |
//! | `s3.trash` | (global) identity of the upload | parts that nobody refers to any more |
//! | `s3.emptied` | (global) bucket id | deleted buckets whose configurations are still there |
//!
//! All of them are declared exceptions to "keys begin with account and region": a bucket's name belongs to whoever took it
//! first, and what it holds is found by the bucket's own identity, which a bucket that is made again does not share.
//!
//! Who refers to a blob is named by the identity of a version or part (`s3.body`), not by its key: a key may be long.

use base_types::{AccountId, Fault, Region, Timestamp};
use bytes::Bytes;
use minicbor::{Decode, Encode};
use store_api::{BlobId, Family, Key, KeyRange, Part as KeyPart, Table, Tx};

use crate::{acl::Acl, checksum::Checksum, seal::SealedKey};

pub(crate) const BUCKETS: Table<Bucket> = Table::new(Family::Meta, "s3.buckets", 1);
pub(crate) const OWNED: Table<Mark> = Table::new(Family::Meta, "s3.owned", 1);
pub(crate) const CONFIG: Table<Document> = Table::new(Family::Meta, "s3.config", 1);
pub(crate) const CURRENT: Table<Version> = Table::new(Family::Item, "s3.current", 1);
pub(crate) const OLDER: Table<Version> = Table::new(Family::Item, "s3.older", 1);
pub(crate) const NULL: Table<Number> = Table::new(Family::Item, "s3.null", 1);
pub(crate) const SMALL: Table<Small> = Table::new(Family::Item, "s3.small", 1);
pub(crate) const UPLOADS: Table<Upload> = Table::new(Family::Item, "s3.uploads", 1);
pub(crate) const PARTS: Table<Part> = Table::new(Family::Item, "s3.parts", 1);
pub(crate) const HOLDERS: Table<Mark> = Table::new(Family::Item, "s3.holders", 1);
pub(crate) const TRASH: Table<Trash> = Table::new(Family::Queue, "s3.trash", 1);
pub(crate) const EMPTIED: Table<Mark> = Table::new(Family::Queue, "s3.emptied", 1);

/// The identity of a bucket, version, part or upload; never reused.
pub(crate) type Id = [u8; 16];

/// A bucket.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Bucket {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[n(1)]
    pub(crate) owner: AccountId,
    #[n(2)]
    pub(crate) region: Region,
    #[n(3)]
    pub(crate) created: Timestamp,
    #[n(4)]
    pub(crate) versioning: Option<Versioning>,
    /// Whether objects may be locked, and how new ones are.
    #[n(5)]
    pub(crate) lock: Option<Lock>,
    #[n(6)]
    pub(crate) ownership: Option<Ownership>,
    #[n(7)]
    pub(crate) acl: Acl,
    #[n(8)]
    pub(crate) public_access: Option<PublicAccess>,
    /// The policy's text.
    #[n(9)]
    pub(crate) policy: Option<String>,
    /// It has a notification configuration.
    #[n(10)]
    pub(crate) notifies: bool,
    /// It has rules for pages of other origins.
    #[n(11)]
    pub(crate) cors: bool,
    /// It has lifecycle rules.
    #[n(12)]
    pub(crate) lifecycle: bool,
    #[n(13)]
    pub(crate) website: bool,
    #[n(14)]
    pub(crate) tags: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Versioning {
    #[n(0)]
    Enabled,
    #[n(1)]
    Suspended,
}

/// Object lock of a bucket: how new objects are retained, if they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Lock {
    #[n(0)]
    pub(crate) mode: Option<LockMode>,
    #[n(1)]
    pub(crate) days: Option<u32>,
    #[n(2)]
    pub(crate) years: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum LockMode {
    #[n(0)]
    Governance,
    #[n(1)]
    Compliance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Ownership {
    #[n(0)]
    Enforced,
    #[n(1)]
    Preferred,
    #[n(2)]
    Writer,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct PublicAccess {
    #[n(0)]
    pub(crate) block_acls: bool,
    #[n(1)]
    pub(crate) ignore_acls: bool,
    #[n(2)]
    pub(crate) block_policy: bool,
    #[n(3)]
    pub(crate) restrict: bool,
}

/// A configuration: its XML document.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Document {
    #[n(0)]
    pub(crate) text: String,
}

/// Nothing but the key.
#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Mark {}

#[derive(Clone, Copy, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Number {
    #[n(0)]
    pub(crate) number: u64,
}

/// A version of an object, or a delete marker.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Version {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    /// Rises with each version of a key.
    #[n(1)]
    pub(crate) number: u64,
    /// It is the null version: made while versioning was off.
    #[n(2)]
    pub(crate) null: bool,
    #[n(3)]
    pub(crate) marker: bool,
    #[n(4)]
    pub(crate) modified: Timestamp,
    #[n(5)]
    pub(crate) owner: AccountId,
    #[n(6)]
    pub(crate) size: u64,
    /// Without its quotes.
    #[n(7)]
    pub(crate) etag: String,
    #[n(8)]
    pub(crate) headers: Headers,
    #[n(9)]
    pub(crate) metadata: Vec<(String, String)>,
    #[n(10)]
    pub(crate) class: Option<String>,
    #[n(11)]
    pub(crate) checksum: Option<Checksum>,
    #[n(12)]
    pub(crate) encryption: Encryption,
    #[n(13)]
    pub(crate) body: Body,
    #[n(14)]
    pub(crate) tags: Vec<(String, String)>,
    #[n(15)]
    pub(crate) acl: Option<Acl>,
    #[n(16)]
    pub(crate) retention: Option<Retention>,
    #[n(17)]
    pub(crate) legal_hold: Option<bool>,
    #[n(18)]
    pub(crate) redirect: Option<String>,
}

/// What a client said of the content, given back as it was said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Headers {
    #[n(0)]
    pub(crate) content_type: Option<String>,
    #[n(1)]
    pub(crate) encoding: Option<String>,
    #[n(2)]
    pub(crate) disposition: Option<String>,
    #[n(3)]
    pub(crate) language: Option<String>,
    #[n(4)]
    pub(crate) cache: Option<String>,
    #[n(5)]
    pub(crate) expires: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Retention {
    #[n(0)]
    pub(crate) mode: LockMode,
    #[n(1)]
    pub(crate) until: Timestamp,
}

/// Whose key a body is encrypted with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Encryption {
    /// The server's.
    #[default]
    #[n(0)]
    Own,
    /// The customer's, of which only the digest is known.
    #[n(1)]
    Customer {
        /// Base64 of its MD5.
        #[n(0)]
        digest: String,
    },
}

/// Where the bytes are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Body {
    #[default]
    #[n(0)]
    Empty,
    /// These pieces, one after the other.
    #[n(1)]
    Pieces(#[n(0)] Vec<Piece>),
    /// The parts of a completed upload.
    #[n(2)]
    Parts {
        /// The upload's identity.
        #[cbor(n(0), with = "minicbor::bytes")]
        upload: Id,
        /// Numbers and sizes, in order.
        #[n(1)]
        parts: Vec<(u32, u64)>,
    },
}

/// A run of bytes of one encrypted file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Piece {
    #[n(0)]
    pub(crate) place: Place,
    /// Where the run begins, in bytes of plain text.
    #[n(1)]
    pub(crate) start: u64,
    #[n(2)]
    pub(crate) length: u64,
    /// The whole file's length, in bytes of plain text.
    #[n(3)]
    pub(crate) whole: u64,
    #[n(4)]
    pub(crate) key: SealedKey,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Place {
    #[n(0)]
    Blob(#[n(0)] BlobId),
    /// In `s3.small`, under this identity.
    #[n(1)]
    Small(#[cbor(n(0), with = "minicbor::bytes")] Id),
}

#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Small {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) sealed: Vec<u8>,
}

/// A multipart upload under way.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Upload {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[n(1)]
    pub(crate) initiated: Timestamp,
    #[n(2)]
    pub(crate) owner: AccountId,
    /// The object as it will be, as far as that is known.
    #[n(3)]
    pub(crate) object: Version,
    /// What its parts have to be summed with.
    #[n(4)]
    pub(crate) algorithm: Option<crate::checksum::Algorithm>,
    /// Whether the object's checksum will be that of its parts' checksums.
    #[n(5)]
    pub(crate) composite: bool,
    /// Whether the client named the algorithm (or the type).
    #[n(6)]
    pub(crate) named: bool,
}

/// A part of an upload, and of the object when it is completed.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Part {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[n(1)]
    pub(crate) size: u64,
    /// MD5, in hexadecimal.
    #[n(2)]
    pub(crate) etag: String,
    #[n(3)]
    pub(crate) checksum: Option<Checksum>,
    #[n(4)]
    pub(crate) modified: Timestamp,
    #[n(5)]
    pub(crate) pieces: Vec<Piece>,
    /// CRC64NVME, of which the whole object's follows.
    #[n(6)]
    pub(crate) usual: String,
}

/// Parts to be removed in the background.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Trash {
    /// The numbers of those that stay.
    #[n(0)]
    pub(crate) kept: Vec<u32>,
}

// --- keys -----------------------------------------------------------------------------------------------------------

pub(crate) fn bucket(name: &str) -> Key {
    BUCKETS.global_key(None).str(name)
}

pub(crate) fn owned(account: AccountId) -> Key {
    OWNED.global_key(None).str(account.as_str())
}

pub(crate) fn config(bucket: Id, kind: &str, id: &str) -> Key {
    configs(bucket).str(kind).str(id)
}

pub(crate) fn configs(bucket: Id) -> Key {
    CONFIG.global_key(None).bytes(&bucket)
}

pub(crate) fn current(bucket: Id) -> Key {
    CURRENT.global_key(None).bytes(&bucket)
}

pub(crate) fn older(bucket: Id) -> Key {
    OLDER.global_key(None).bytes(&bucket)
}

pub(crate) fn null(bucket: Id, key: &str) -> Key {
    NULL.global_key(None).bytes(&bucket).str(key)
}

pub(crate) fn small(id: Id) -> Key {
    SMALL.global_key(None).bytes(&id)
}

pub(crate) fn uploads(bucket: Id) -> Key {
    UPLOADS.global_key(None).bytes(&bucket)
}

pub(crate) fn upload(bucket: Id, key: &str, initiated: Timestamp, id: Id) -> Key {
    uploads(bucket).str(key).time(initiated).bytes(&id)
}

pub(crate) fn parts(upload: Id) -> Key {
    PARTS.global_key(None).bytes(&upload)
}

pub(crate) fn part(upload: Id, number: u32) -> Key {
    parts(upload).u64(number.into())
}

pub(crate) fn holders(upload: Id) -> Key {
    HOLDERS.global_key(None).bytes(&upload)
}

pub(crate) fn trash(upload: Id) -> Key {
    TRASH.global_key(None).bytes(&upload)
}

pub(crate) fn all_trash() -> Key {
    TRASH.global_key(None)
}

pub(crate) fn emptied(bucket: Id) -> Key {
    all_emptied().bytes(&bucket)
}

pub(crate) fn all_emptied() -> Key {
    EMPTIED.global_key(None)
}

/// Who refers to a blob: a version or a part.
fn referrer(id: Id) -> Key {
    Key::global(Family::Meta, None).str("s3.body").bytes(&id)
}

/// The keys below `base` (followed by a text) whose text begins with `prefix`.
pub(crate) fn beginning(base: &Key, prefix: &str) -> KeyRange {
    let start = text_from(base, prefix);
    let mut end = start.clone();
    // No byte of a text is FF, so this lies behind every text with this beginning.
    end.push(0xFF);
    KeyRange::encoded(start, end)
}

/// Where texts begin that are `from` or extend it; in the order of keys.
pub(crate) fn text_from(base: &Key, from: &str) -> Vec<u8> {
    let mut bytes = base.clone().str(from).as_bytes().to_vec();
    bytes.pop();
    bytes
}

/// The first text of a key below `base`.
pub(crate) fn text_of(key: &Key, parts_before: usize) -> Result<String, Fault> {
    match key.parts()?.into_iter().nth(parts_before) {
        Some(KeyPart::Str(text)) => Ok(text),
        _ => Err(damaged()),
    }
}

pub(crate) fn damaged() -> Fault {
    Fault::internal("read a stored key", "it is not of the expected layout")
}

// --- what belongs to a body -----------------------------------------------------------------------------------------

/// A small body that was just written: its identity and its encrypted bytes.
pub(crate) type SmallBytes = (Id, Bytes);

/// The record `id` refers to these pieces from now on. `small` is what of them is kept in the store itself and new.
pub(crate) fn hold(tx: &Tx, id: Id, pieces: &[Piece], small: Option<&SmallBytes>) -> Result<(), Fault> {
    for piece in pieces {
        if let Place::Blob(blob) = &piece.place {
            tx.attach_blob(*blob, &referrer(id))?;
        }
    }
    match small {
        Some((place, sealed)) => SMALL.put(tx, &self::small(*place), &Small { sealed: sealed.to_vec() }),
        None => Ok(()),
    }
}

/// The same for pieces that another record has and keeps: what is in the store itself is written once more, under
/// identities that `fresh` makes.
pub(crate) fn share(tx: &Tx, id: Id, pieces: &[Piece], fresh: impl Fn() -> Id) -> Result<Vec<Piece>, Fault> {
    let mut shared = pieces.to_vec();
    for piece in &mut shared {
        if let Place::Small(place) = piece.place {
            let bytes = SMALL.require(tx, &small(place), lost)?;
            let own = fresh();
            SMALL.put(tx, &small(own), &bytes)?;
            piece.place = Place::Small(own);
        }
    }
    hold(tx, id, &shared, None)?;
    Ok(shared)
}

pub(crate) fn lost() -> Fault {
    Fault::new(base_types::FaultKind::Conflict, "read a body: it was removed meanwhile")
}

/// The record `id` refers to them no more.
pub(crate) fn release(tx: &Tx, id: Id, pieces: &[Piece]) -> Result<(), Fault> {
    for piece in pieces {
        match &piece.place {
            Place::Blob(blob) => tx.detach_blob(*blob, &referrer(id))?,
            Place::Small(place) => SMALL.remove(tx, &small(*place))?,
        }
    }
    Ok(())
}

/// A version's body is its own from now on.
pub(crate) fn hold_body(tx: &Tx, version: &Version, small: Option<&SmallBytes>) -> Result<(), Fault> {
    match &version.body {
        Body::Empty => Ok(()),
        Body::Pieces(pieces) => hold(tx, version.id, pieces, small),
        Body::Parts { upload, .. } => HOLDERS.put(tx, &holders(*upload).bytes(&version.id), &Mark {}),
    }
}

/// A version's body is nobody's any more, unless another version has it too.
pub(crate) fn release_body(tx: &Tx, version: &Version) -> Result<(), Fault> {
    match &version.body {
        Body::Empty => Ok(()),
        Body::Pieces(pieces) => release(tx, version.id, pieces),
        Body::Parts { upload, .. } => {
            HOLDERS.remove(tx, &holders(*upload).bytes(&version.id))?;
            let others = tx.scan(&holders(*upload).prefix(), 1, store_api::Direction::Forward)?;
            if others.is_empty() { discard_parts(tx, *upload, Vec::new()) } else { Ok(()) }
        }
    }
}

/// All parts of an upload but `kept` are removed in the background.
pub(crate) fn discard_parts(tx: &Tx, upload: Id, kept: Vec<u32>) -> Result<(), Fault> {
    TRASH.put(tx, &trash(upload), &Trash { kept })?;
    tx.wake(&crate::tasks::topic(), 1)
}
