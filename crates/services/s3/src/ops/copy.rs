//! Copies of objects and of parts of them. No byte is written twice: the copy refers to what is there. Bytes are read where
//! a sum has to be made that the source does not have.

use model_s3::*;
use services_kernel::Cx;
use store_api::Tx;

use super::{
    multipart,
    objects::{self, Held, PUT_BYTES_MAX, Said, caller_account, quoted, sum_type, tell_sum},
};
use crate::{
    S3,
    access::{self, Ask},
    acl::{Headers as Grants, Permission},
    body,
    checksum::{Algorithm, Checksum, Summed, hex},
    conditions::{Read, Write},
    customer::{self, Given},
    error::{argument, method_not_allowed, text},
    history::{self, Place},
    names::Source,
    notify,
    seal::Vault,
    tables::{self, Body, Encryption, Headers, Piece, Version},
};

/// A source that was found.
struct From {
    version: Version,
    /// How it is called, where its bucket has versions.
    id: Option<String>,
    pieces: Vec<Held>,
}

struct Wanted {
    source: Source,
    owner: Option<String>,
    matches: Option<String>,
    differs: Option<String>,
    modified: Option<base_types::Timestamp>,
    unmodified: Option<base_types::Timestamp>,
    digest: Option<String>,
    /// `bytes=first-last`.
    range: Option<String>,
}

fn source(text: &str) -> Result<Source, Error> {
    Source::read(text)
        .ok_or_else(|| argument("Invalid copy source object key", "x-amz-copy-source", "x-amz-copy-source"))
}

fn find(cx: &Cx, tx: &Tx, wanted: &Wanted) -> Result<From, Error> {
    let Source { bucket, key, version } = &wanted.source;
    let found = access::look(tx, bucket, wanted.owner.as_deref())?;
    let place = Place::new(&found, key);
    let seen = place.version(tx, version.as_deref());
    let acl = seen.as_ref().ok().and_then(|version| version.acl.clone());
    let action = if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
    let mut ask = Ask::of_object(action, key).granted_by(Permission::Read);
    ask.acl = acl.as_ref();
    access::permit(cx, &found, &ask)?;
    let seen = seen?;
    if seen.marker {
        return Err(if version.is_some() {
            Error::invalid_request(
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            )
        } else {
            method_not_allowed("GET", "DeleteMarker")
        });
    }
    if matches!(seen.class.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE")) {
        return Err(InvalidObjectState {
            message: text("Operation is not valid for the source object's storage class"),
            storage_class: seen.class.clone(),
            ..InvalidObjectState::default()
        }
        .into());
    }
    customer::check(&seen.encryption, wanted.digest.as_deref())?;
    let conditions = Read {
        matches: wanted.matches.as_deref(),
        differs: wanted.differs.as_deref(),
        modified: wanted.modified,
        unmodified: wanted.unmodified,
    };
    conditions.check_source(&seen.etag, seen.modified, tx.now())?;
    let (first, last) = match &wanted.range {
        None => (0, seen.size.saturating_sub(1)),
        Some(range) => part_of(range, seen.size)?,
    };
    let pieces = if seen.size == 0 { Vec::new() } else { objects::pieces_between(tx, &seen.body, first, last)? };
    let id = place.name_of(&seen);
    Ok(From { version: seen, id, pieces })
}

/// First and last byte of a source's part.
fn part_of(range: &str, size: u64) -> Result<(u64, u64), Error> {
    let numbers = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let numbers = numbers.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    let Some((first, last)) = numbers.filter(|(first, last)| first <= last) else {
        return Err(argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based \
             offsets of the first and last bytes to copy",
            "x-amz-copy-source-range",
            range,
        ));
    };
    if first >= size {
        return Err(Error::invalid_request("The specified copy range is invalid for the source object size"));
    }
    if last >= size {
        return Err(argument(
            &format!("Range specified is not valid for source object of size: {size}"),
            "x-amz-copy-source-range",
            range,
        ));
    }
    Ok((first, last))
}

impl S3 {
    pub(crate) async fn copy(&self, cx: &Cx, input: CopyObjectRequest) -> Result<CopyObjectOutput, Error> {
        let named = algorithm(input.checksum_algorithm.as_deref())?;
        let conditions = Write::read(input.if_match.as_deref(), input.if_none_match.as_deref())?;
        let given = Given::new(
            &input.copy_source_sse_customer_algorithm,
            &input.copy_source_sse_customer_key,
            &input.copy_source_sse_customer_key_md5,
        );
        let source_key = given.read()?;
        let source_vault = match &source_key {
            Some(key) => key.vault(),
            None => self.vault.clone(),
        };
        let wanted = Wanted {
            source: source(&input.copy_source)?,
            owner: input.expected_source_bucket_owner.clone(),
            matches: input.copy_source_if_match.clone(),
            differs: input.copy_source_if_none_match.clone(),
            modified: input.copy_source_if_modified_since,
            unmodified: input.copy_source_if_unmodified_since,
            digest: source_key.map(|key| key.digest),
            range: None,
        };
        let wanted = std::sync::Arc::new(wanted);
        let (asker, asked, looked) = (cx.clone(), input.clone(), std::sync::Arc::clone(&wanted));
        let from = self
            .store
            .view(move |tx| {
                let from = find(&asker, tx, &looked)?;
                prepare(&asker, tx, &asked, &looked.source, &from.version)?;
                Ok::<_, Error>(from)
            })
            .await?;
        if from.version.size > PUT_BYTES_MAX {
            return Err(Error::invalid_request(
                "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
            ));
        }
        // Whose key the copy is sealed with: under the same one it refers to the source's bytes.
        let target_key =
            Given::new(&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5).read()?;
        let resealed = target_key.is_some() || from.version.encryption != Encryption::Own;
        let vault = match &target_key {
            Some(key) => key.vault(),
            None => self.vault.clone(),
        };
        let (sums, rewritten) = self.sums_of_copy(&from, named, &source_vault, resealed.then_some(&vault)).await?;
        let (asker, service, id, etag) =
            (cx.clone(), self.clone(), body::fresh(&self.store), from.version.etag.clone());
        self.store
            .transact(move |tx| {
                let from = find(&asker, tx, &wanted)?;
                if from.version.etag != etag {
                    return Err(Error::operation_aborted(
                        "A conflicting conditional operation is currently in progress against this resource. Please try again.",
                    ));
                }
                let (found, mut version) = prepare(&asker, tx, &input, &wanted.source, &from.version)?;
                let place = Place::new(&found, &input.key);
                let there = place.current(tx)?;
                conditions.check(there.as_ref().map(|version| &*version.etag), &input.key)?;
                (version.id, version.size, version.modified) = (id, from.version.size, tx.now());
                version.etag = match &version.encryption {
                    Encryption::Own => sums.etag.clone(),
                    Encryption::Customer { .. } => objects::etag(&sums.md5, &version),
                };
                version.checksum = sums.checksum.clone();
                let small = match &rewritten {
                    Some((pieces, small)) => {
                        version.body = if pieces.is_empty() { Body::Empty } else { Body::Pieces(pieces.clone()) };
                        small.clone()
                    }
                    None => {
                        version.body = match &from.version.body {
                            Body::Pieces(pieces) => {
                                Body::Pieces(tables::share(tx, id, pieces, || body::fresh(&service.store))?)
                            }
                            other => other.clone(),
                        };
                        None
                    }
                };
                let version = place.put(tx, version, small.as_ref())?;
                notify::created(&service, &asker, tx, &place, &version, "ObjectCreated:Copy")?;
                let mut result = CopyObjectResult {
                    e_tag: Some(quoted(&version.etag)),
                    last_modified: Some(version.modified),
                    checksum_type: sum_type(version.checksum.as_ref()),
                    ..CopyObjectResult::default()
                };
                tell_sum!(result, &version.checksum);
                let own = version.encryption == Encryption::Own;
                Ok(CopyObjectOutput {
                    copy_object_result: Some(result),
                    copy_source_version_id: from.id,
                    version_id: place.name_of(&version),
                    server_side_encryption: own.then(|| "AES256".to_owned()),
                    sse_customer_algorithm: input.sse_customer_algorithm.clone(),
                    sse_customer_key_md5: input.sse_customer_key_md5.clone(),
                    ..CopyObjectOutput::default()
                })
            })
            .await
    }

    /// The sums of a copy: the source's own where it has them, else computed by reading. Where the copy is sealed with
    /// another key its bytes are written anew.
    async fn sums_of_copy(
        &self,
        from: &From,
        named: Option<Algorithm>,
        source_vault: &Vault,
        target_vault: Option<&Vault>,
    ) -> Result<(Sums, Option<Rewritten>), Error> {
        let source = &from.version;
        let kept = source.checksum.as_ref();
        let same = kept.is_some_and(|sum| !sum.composite && named.is_none_or(|named| named == sum.algorithm));
        let plain = !matches!(source.body, Body::Parts { .. }) && source.encryption == Encryption::Own;
        if target_vault.is_none() && plain && same {
            let sums = Sums { etag: source.etag.clone(), md5: [0; 16], checksum: source.checksum.clone() };
            return Ok((sums, None));
        }
        let algorithm = named.or(kept.map(|sum| sum.algorithm)).unwrap_or(Algorithm::Crc64Nvme);
        let stream = objects::stream_of(self, source_vault, from.pieces.clone())?;
        match target_vault {
            None => Ok((body::sums(stream, algorithm).await?.into(), None)),
            Some(vault) => {
                let received = body::receive(&self.store, vault, stream, algorithm, PUT_BYTES_MAX).await?;
                Ok((received.sums.into(), Some((received.pieces, received.small))))
            }
        }
    }

    pub(crate) async fn copy_part(&self, cx: &Cx, input: UploadPartCopyRequest) -> Result<UploadPartCopyOutput, Error> {
        let number = multipart::part_number(input.part_number)?;
        let given = Given::new(
            &input.copy_source_sse_customer_algorithm,
            &input.copy_source_sse_customer_key,
            &input.copy_source_sse_customer_key_md5,
        );
        let source_key = given.read()?;
        let source_vault = match &source_key {
            Some(key) => key.vault(),
            None => self.vault.clone(),
        };
        let wanted = std::sync::Arc::new(Wanted {
            source: source(&input.copy_source)?,
            owner: input.expected_source_bucket_owner.clone(),
            matches: input.copy_source_if_match.clone(),
            differs: input.copy_source_if_none_match.clone(),
            modified: input.copy_source_if_modified_since,
            unmodified: input.copy_source_if_unmodified_since,
            digest: source_key.map(|key| key.digest),
            range: input.copy_source_range.clone(),
        });
        let (asker, asked, looked) = (cx.clone(), input.clone(), std::sync::Arc::clone(&wanted));
        let (upload, from) = self
            .store
            .view(move |tx| {
                let owner = asked.expected_bucket_owner.as_deref();
                let key = &asked.key;
                let under = multipart::find(&asker, tx, &asked.bucket, owner, key, &asked.upload_id, "s3:PutObject")?;
                Ok::<_, Error>((under.upload, find(&asker, tx, &looked)?))
            })
            .await?;
        let target_key =
            Given::new(&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5).read()?;
        customer::check(&upload.object.encryption, target_key.as_ref().map(|key| &*key.digest))?;
        let algorithm = upload.algorithm.unwrap_or(Algorithm::Crc64Nvme);
        let resealed = target_key.is_some() || from.version.encryption != Encryption::Own;
        let stream = objects::stream_of(self, &source_vault, from.pieces.clone())?;
        let (sums, rewritten) = if resealed {
            let vault = match &target_key {
                Some(key) => key.vault(),
                None => self.vault.clone(),
            };
            let received = body::receive(&self.store, &vault, stream, algorithm, PUT_BYTES_MAX).await?;
            (received.sums, Some((received.pieces, received.small)))
        } else {
            (body::sums(stream, algorithm).await?, None)
        };
        let (asker, service, id, etag) = (cx.clone(), self.clone(), body::fresh(&self.store), from.version.etag);
        self.store
            .transact(move |tx| {
                let owner = input.expected_bucket_owner.as_deref();
                let under = multipart::find(&asker, tx, &input.bucket, owner, &input.key, &input.upload_id, "s3:PutObject")?;
                let from = find(&asker, tx, &wanted)?;
                if from.version.etag != etag {
                    return Err(Error::operation_aborted(
                        "A conflicting conditional operation is currently in progress against this resource. Please try again.",
                    ));
                }
                let size = from.pieces.iter().map(|(piece, _)| piece.length).sum();
                let (pieces, small) = match &rewritten {
                    Some((pieces, small)) => (pieces.clone(), small.clone()),
                    None => {
                        let pieces: Vec<Piece> = from.pieces.iter().map(|(piece, _)| piece.clone()).collect();
                        (tables::share(tx, id, &pieces, || body::fresh(&service.store))?, None)
                    }
                };
                let part = tables::Part {
                    id,
                    size,
                    etag: hex(&sums.md5),
                    checksum: under.upload.named.then(|| sums.chosen.clone()),
                    modified: tx.now(),
                    pieces,
                    usual: sums.usual.value.clone(),
                };
                multipart::put_part(tx, &under.upload, number, &part, small.as_ref())?;
                let mut result =
                    CopyPartResult { e_tag: Some(quoted(&part.etag)), last_modified: Some(part.modified), ..CopyPartResult::default() };
                tell_sum!(result, &part.checksum);
                let own = under.upload.object.encryption == Encryption::Own;
                Ok(UploadPartCopyOutput {
                    copy_source_version_id: from.id,
                    copy_part_result: Some(result),
                    server_side_encryption: own.then(|| "AES256".to_owned()),
                    sse_customer_algorithm: input.sse_customer_algorithm.clone(),
                    sse_customer_key_md5: input.sse_customer_key_md5.clone(),
                    ..UploadPartCopyOutput::default()
                })
            })
            .await
    }
}

type Rewritten = (Vec<Piece>, Option<tables::SmallBytes>);

/// What a copy is called by.
struct Sums {
    etag: String,
    md5: [u8; 16],
    checksum: Option<Checksum>,
}

impl std::convert::From<Summed> for Sums {
    fn from(sums: Summed) -> Self {
        Self { etag: hex(&sums.md5), md5: sums.md5, checksum: Some(sums.chosen) }
    }
}

fn algorithm(name: Option<&str>) -> Result<Option<Algorithm>, Error> {
    match name {
        None => Ok(None),
        Some(name) => Algorithm::read(name).map(Some).ok_or_else(|| {
            Error::invalid_request(
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, \
                 CRC64NVME, SHA1, SHA256]",
            )
        }),
    }
}

/// The bucket that the copy is put into, and the copy as its headers and its source make it.
fn prepare(
    cx: &Cx,
    tx: &Tx,
    input: &CopyObjectRequest,
    source: &Source,
    from: &Version,
) -> Result<(access::Found, Version), Error> {
    let ask = Ask::of_object("s3:PutObject", &input.key).granted_by(Permission::Write);
    let found = access::find(cx, tx, &input.bucket, input.expected_bucket_owner.as_deref(), &ask)?;
    let directive = |said: &Option<String>, name: &str| match said.as_deref() {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => Err(argument(&format!("Unknown {name} directive."), &format!("x-amz-{name}-directive"), other)),
    };
    let replaced = directive(&input.metadata_directive, "metadata")?;
    let retagged = directive(&input.tagging_directive, "tagging")?;
    let onto_itself = input.bucket == source.bucket && input.key == source.key && source.version.is_none();
    let changes = replaced
        || input.storage_class.is_some()
        || input.website_redirect_location.is_some()
        || input.server_side_encryption.is_some()
        || input.sse_customer_algorithm.is_some()
        || from.encryption != Encryption::Own
        || input.checksum_algorithm.is_some();
    if onto_itself && !changes {
        return Err(Error::invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's \
             metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let grants = Grants {
        canned: input.acl.as_deref(),
        full: input.grant_full_control.as_deref(),
        read: input.grant_read.as_deref(),
        write: None,
        read_acl: input.grant_read_acp.as_deref(),
        write_acl: input.grant_write_acp.as_deref(),
    };
    let said = Said {
        key: &input.key,
        headers: Headers {
            content_type: input.content_type.clone(),
            encoding: input.content_encoding.clone(),
            disposition: input.content_disposition.clone(),
            language: input.content_language.clone(),
            cache: input.cache_control.clone(),
            expires: input.expires.clone(),
        },
        metadata: input.metadata.as_ref(),
        class: input.storage_class.as_deref(),
        encryption: input.server_side_encryption.as_deref(),
        kms_key: input.ssekms_key_id.as_deref(),
        customer: Given::new(&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5),
        tags: input.tagging.as_deref().filter(|_| retagged),
        lock_mode: input.object_lock_mode.as_deref(),
        lock_until: input.object_lock_retain_until_date,
        legal_hold: input.object_lock_legal_hold_status.map(|status| status == ObjectLockLegalHoldStatus::On),
        redirect: input.website_redirect_location.as_deref(),
        acl: objects::object_acl(&grants, cx, &found)?,
    };
    let mut version = history::blank([0; 16], caller_account(cx), tx.now());
    said.apply(&mut version, &found.bucket, tx.now())?;
    if !replaced {
        version.headers.clone_from(&from.headers);
        version.metadata.clone_from(&from.metadata);
    }
    if !retagged {
        version.tags.clone_from(&from.tags);
    }
    Ok((found, version))
}
