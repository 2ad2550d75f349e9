//! Multipart uploads: create, upload and copy parts, complete, abort, list.

use base_types::Fault;
use model_s3::*;
use services_kernel::Cx;
use store_api::{Direction, Part as KeyPart, Tx};

use super::{
    list,
    objects::{self, Expected, PUT_BYTES_MAX, Said, caller_account, quoted, sum_type, sums_of, tell_sum},
};
use crate::{
    S3,
    access::{self, Ask, Found},
    acl::{self, Headers as Grants, Permission},
    body,
    checksum::{self, Algorithm, Checksum, hex},
    conditions::Write,
    customer::Given,
    error::{argument, argument_named, malformed_xml, no_upload, text},
    history::{self, Place},
    ids, names, notify,
    tables::{self, Body, Encryption, Headers, Id, PARTS, Part as PartRecord, UPLOADS, Upload},
};

/// A part's number is at most this.
const PARTS_MAX: i32 = 10_000;
/// All parts but the last have at least this size (AWS: 5 MiB).
const PART_BYTES_MIN: u64 = 5 << 20;
/// The greatest object (AWS: 5 TiB).
const OBJECT_BYTES_MAX: u64 = 5 << 40;

/// An upload that was found.
pub(crate) struct Under {
    pub(crate) found: Found,
    pub(crate) upload: Upload,
}

/// The upload under this identifier, if the caller may.
pub(crate) fn find(
    cx: &Cx,
    tx: &Tx,
    bucket: &str,
    owner: Option<&str>,
    key: &str,
    id: &str,
    action: &str,
) -> Result<Under, Error> {
    let ask = Ask::of_object(action, key).granted_by(Permission::Write);
    let found = access::find(cx, tx, bucket, owner, &ask)?;
    let missing = || no_upload(id);
    let (initiated, identity) = ids::read_upload(id).ok_or_else(missing)?;
    let upload = UPLOADS.get(tx, &tables::upload(found.bucket.id, key, initiated, identity))?.ok_or_else(missing)?;
    Ok(Under { found, upload })
}

/// Every upload of a bucket that is deleted is given up.
pub(crate) fn abandon_all(tx: &Tx, bucket: Id) -> Result<(), Fault> {
    let range = tables::uploads(bucket).prefix();
    for (key, upload) in UPLOADS.scan(tx, &range, 1000, Direction::Forward)? {
        UPLOADS.remove(tx, &key)?;
        tables::discard_parts(tx, upload.id, Vec::new())?;
    }
    Ok(())
}

pub(crate) fn part_number(number: i32) -> Result<u32, Error> {
    match u32::try_from(number) {
        Ok(number @ 1..=10_000) => Ok(number),
        _ => Err(argument(
            "Part number must be an integer between 1 and 10000, inclusive",
            "partNumber",
            &number.to_string(),
        )),
    }
}

impl S3 {
    pub(crate) fn create_upload(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CreateMultipartUploadRequest,
    ) -> Result<CreateMultipartUploadOutput, Error> {
        let ask = Ask::of_object("s3:PutObject", &input.key).granted_by(Permission::Write);
        let found = access::find(cx, tx, &input.bucket, input.expected_bucket_owner.as_deref(), &ask)?;
        let algorithm = match input.checksum_algorithm.as_deref() {
            None => None,
            Some(name) => Some(Algorithm::read(name).ok_or_else(|| {
                Error::invalid_request(
                    "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, \
                     CRC32C, CRC64NVME, SHA1, SHA256]",
                )
            })?),
        };
        let composite = composite(algorithm, input.checksum_type)?;
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
            tags: input.tagging.as_deref(),
            lock_mode: input.object_lock_mode.as_deref(),
            lock_until: input.object_lock_retain_until_date,
            legal_hold: input.object_lock_legal_hold_status.map(|status| status == ObjectLockLegalHoldStatus::On),
            redirect: input.website_redirect_location.as_deref(),
            acl: objects::object_acl(&grants, cx, &found)?,
        };
        let (id, owner) = (body::fresh(&self.store), caller_account(cx));
        let mut object = history::blank(id, owner, tx.now());
        said.apply(&mut object, &found.bucket, tx.now())?;
        let named = algorithm.is_some();
        let upload = Upload { id, initiated: tx.now(), owner, object, algorithm, composite, named };
        UPLOADS.put(tx, &tables::upload(found.bucket.id, &input.key, upload.initiated, id), &upload)?;
        let own = upload.object.encryption == Encryption::Own;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(ids::upload(upload.initiated, id)),
            server_side_encryption: own.then(|| "AES256".to_owned()),
            sse_customer_algorithm: input.sse_customer_algorithm.clone(),
            sse_customer_key_md5: input.sse_customer_key_md5.clone(),
            checksum_algorithm: algorithm.map(|algorithm| algorithm.name().to_owned()),
            checksum_type: algorithm.map(|_| type_of(composite)),
            ..CreateMultipartUploadOutput::default()
        })
    }

    pub(crate) async fn upload(&self, cx: &Cx, input: UploadPartRequest) -> Result<UploadPartOutput, Error> {
        let number = part_number(input.part_number)?;
        let expected =
            Expected::read(input.content_md5.as_deref(), input.checksum_algorithm.as_deref(), sums_of!(input))?;
        if let Some(length) = input.content_length.map(i64::unsigned_abs).filter(|length| *length > PUT_BYTES_MAX) {
            return Err(objects::too_large(length, PUT_BYTES_MAX));
        }
        let (asker, asked) = (cx.clone(), input.clone());
        let under = self
            .store
            .view(move |tx| {
                let owner = asked.expected_bucket_owner.as_deref();
                find(&asker, tx, &asked.bucket, owner, &asked.key, &asked.upload_id, "s3:PutObject")
            })
            .await?;
        let algorithm = part_algorithm(&under.upload, expected.algorithm())?;
        let given = Given::new(&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5);
        let key = given.read()?;
        crate::customer::check(&under.upload.object.encryption, key.as_ref().map(|key| &*key.digest))?;
        let vault = match &key {
            Some(key) => key.vault(),
            None => self.vault.clone(),
        };
        let body = input.body.as_ref().and_then(wire_schema::Streaming::take).unwrap_or_default();
        let received = body::receive(&self.store, &vault, body, algorithm, PUT_BYTES_MAX).await?;
        expected.check(&received.sums, &received.trailers, false)?;
        // What the client did not ask for it is not told.
        let told = under.upload.named || expected.algorithm().is_some() || !received.trailers.is_empty();
        let (asker, id) = (cx.clone(), body::fresh(&self.store));
        let body::Received { size, sums, pieces, small, .. } = received;
        let part = PartRecord {
            id,
            size,
            etag: hex(&sums.md5),
            checksum: told.then_some(sums.chosen),
            modified: self.store.env().now(),
            pieces,
            usual: sums.usual.value,
        };
        self.store
            .transact(move |tx| {
                let owner = input.expected_bucket_owner.as_deref();
                let under = find(&asker, tx, &input.bucket, owner, &input.key, &input.upload_id, "s3:PutObject")?;
                put_part(tx, &under.upload, number, &part, small.as_ref())?;
                let own = under.upload.object.encryption == Encryption::Own;
                let mut output = UploadPartOutput {
                    e_tag: Some(quoted(&part.etag)),
                    server_side_encryption: own.then(|| "AES256".to_owned()),
                    sse_customer_algorithm: input.sse_customer_algorithm.clone(),
                    sse_customer_key_md5: input.sse_customer_key_md5.clone(),
                    ..UploadPartOutput::default()
                };
                tell_sum!(output, &part.checksum);
                Ok(output)
            })
            .await
    }

    pub(crate) fn complete(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &CompleteMultipartUploadRequest,
    ) -> Result<CompleteMultipartUploadOutput, Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let Under { found, upload } = find(cx, tx, &input.bucket, owner, &input.key, &input.upload_id, "s3:PutObject")?;
        let place = Place::new(&found, &input.key);
        let conditions = Write::read(input.if_match.as_deref(), input.if_none_match.as_deref())?;
        let there = place.current(tx)?;
        if conditions.absent
            && let Some(there) = &there
            && there.modified > upload.initiated
        {
            return Err(ConditionalRequestConflict {
                message: text(
                    "The conditional request cannot succeed due to a conflicting operation against this resource.",
                ),
                condition: text("If-None-Match"),
                key: text(&input.key),
            }
            .into());
        }
        conditions.check(there.as_ref().map(|version| &*version.etag), &input.key)?;
        check_mode(&upload, input.checksum_type)?;
        let wanted = input.multipart_upload.as_ref().and_then(|it| it.parts.as_deref()).unwrap_or_default();
        if wanted.is_empty() {
            return Err(malformed_xml());
        }
        let parts = chosen_parts(tx, &upload, wanted, &input.upload_id)?;
        let size: u64 = parts.iter().map(|(_, part)| part.size).sum();
        if size > OBJECT_BYTES_MAX {
            return Err(objects::too_large(size, OBJECT_BYTES_MAX));
        }
        if input.mpu_object_size.is_some_and(|said| u64::try_from(said) != Ok(size)) {
            return Err(Error::invalid_request(format!(
                "The provided 'x-amz-mp-object-size' header value {} does not match what was computed: {size}",
                input.mpu_object_size.unwrap_or_default()
            )));
        }
        let sum = sum_of(&upload, &parts);
        let said = sums_of!(input).into_iter().find_map(|(algorithm, value)| value.map(|value| (algorithm, value)));
        if let (Some((_, value)), Some(sum)) = (said, &sum) {
            // A composite sum may come without the number of parts behind it.
            let bare = sum.value.split_once('-').map_or(&*sum.value, |(value, _)| value);
            if value != sum.value && value != bare {
                let name = sum.algorithm.name().to_ascii_lowercase();
                return Err(Error::bad_digest(format!(
                    "The {name} you specified did not match the calculated checksum."
                )));
            }
        }
        let etags: Vec<&str> = parts.iter().map(|(_, part)| &*part.etag).collect();
        let mut version = upload.object.clone();
        version.size = size;
        version.etag = checksum::etag_of_parts(&etags);
        version.checksum = sum;
        // An object is as old as its upload.
        version.modified = tx.now();
        let list: Vec<(u32, u64)> = parts.iter().map(|(number, part)| (*number, part.size)).collect();
        let kept: Vec<u32> = list.iter().map(|(number, _)| *number).collect();
        version.body = Body::Parts { upload: upload.id, parts: list };
        let version = place.put(tx, version, None)?;
        UPLOADS.remove(tx, &tables::upload(found.bucket.id, &input.key, upload.initiated, upload.id))?;
        tables::discard_parts(tx, upload.id, kept)?;
        notify::created(self, cx, tx, &place, &version, "ObjectCreated:CompleteMultipartUpload")?;
        let own = version.encryption == Encryption::Own;
        let mut output = CompleteMultipartUploadOutput {
            location: Some(format!("{}/{}/{}", cx.endpoint, input.bucket, names::path_of(&input.key))),
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            e_tag: Some(quoted(&version.etag)),
            checksum_type: sum_type(version.checksum.as_ref()),
            server_side_encryption: own.then(|| "AES256".to_owned()),
            version_id: place.name_of(&version),
            ..CompleteMultipartUploadOutput::default()
        };
        tell_sum!(output, &version.checksum);
        Ok(output)
    }

    pub(crate) fn abort(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &AbortMultipartUploadRequest,
    ) -> Result<AbortMultipartUploadOutput, Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let action = "s3:AbortMultipartUpload";
        let Under { found, upload } = find(cx, tx, &input.bucket, owner, &input.key, &input.upload_id, action)?;
        UPLOADS.remove(tx, &tables::upload(found.bucket.id, &input.key, upload.initiated, upload.id))?;
        tables::discard_parts(tx, upload.id, Vec::new())?;
        Ok(AbortMultipartUploadOutput::default())
    }

    pub(crate) fn list_parts_(&self, cx: &Cx, tx: &Tx, input: &ListPartsRequest) -> Result<ListPartsOutput, Error> {
        let owner = input.expected_bucket_owner.as_deref();
        let action = "s3:ListMultipartUploadParts";
        let Under { upload, .. } = find(cx, tx, &input.bucket, owner, &input.key, &input.upload_id, action)?;
        let max = input.max_parts.unwrap_or(1000);
        let marker = input.part_number_marker.unwrap_or_default();
        if max < 0 || marker < 0 {
            return Err(argument_named("Argument max-parts must be an integer between 0 and 2147483647", "max-parts"));
        }
        let max = max.min(1000);
        let after = tables::part(upload.id, marker.unsigned_abs());
        let range = tables::parts(upload.id).prefix().after(&after);
        let mut records = PARTS.scan(tx, &range, max as usize + 1, Direction::Forward)?;
        let truncated = records.len() > max as usize;
        records.truncate(max as usize);
        let mut parts = Vec::new();
        for (key, record) in records {
            let mut part = Part {
                part_number: Some(number_of(&key)?),
                last_modified: Some(record.modified),
                e_tag: Some(quoted(&record.etag)),
                size: i64::try_from(record.size).ok(),
                ..Part::default()
            };
            if upload.named {
                tell_sum!(part, &record.checksum);
            }
            parts.push(part);
        }
        let last = parts.last().and_then(|part| part.part_number).unwrap_or_default();
        Ok(ListPartsOutput {
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            upload_id: Some(input.upload_id.clone()),
            part_number_marker: Some(marker),
            next_part_number_marker: Some(last),
            max_parts: Some(max),
            is_truncated: Some(truncated),
            parts: (!parts.is_empty()).then_some(parts),
            initiator: Some(initiator(&upload)),
            owner: Some(acl::owner(upload.owner)),
            storage_class: Some(upload.object.class.clone().unwrap_or_else(|| "STANDARD".to_owned())),
            checksum_algorithm: upload.algorithm.map(|algorithm| algorithm.name().to_owned()),
            checksum_type: upload.algorithm.map(|_| type_of(upload.composite)),
            ..ListPartsOutput::default()
        })
    }

    pub(crate) fn list_uploads(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &ListMultipartUploadsRequest,
    ) -> Result<ListMultipartUploadsOutput, Error> {
        if let Some(encoding) = input.encoding_type.as_deref().filter(|encoding| *encoding != "url") {
            return Err(argument("Invalid Encoding Method specified in Request", "encoding-type", encoding));
        }
        let owner = input.expected_bucket_owner.as_deref();
        let found = access::find(cx, tx, &input.bucket, owner, &Ask::of_bucket("s3:ListBucketMultipartUploads"))?;
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (key_marker, id_marker) = (some(&input.key_marker), some(&input.upload_id_marker));
        let (prefix, delimiter) = (input.prefix.clone().unwrap_or_default(), some(&input.delimiter));
        let max = input.max_uploads.unwrap_or(1000).clamp(0, 1000);
        let base = tables::uploads(found.bucket.id);
        let mut range = tables::beginning(&base, &prefix);
        if let Some(key) = &key_marker {
            range = match &id_marker {
                None => range.after(&base.clone().str(key)),
                Some(id) => {
                    let wrong = || argument("Invalid uploadId marker", "upload-id-marker", id);
                    let (initiated, identity) = ids::read_upload(id).ok_or_else(wrong)?;
                    range.after(&tables::upload(found.bucket.id, key, initiated, identity))
                }
            };
        }
        let write = |text: &str| if input.encoding_type.is_some() { names::encoded(text) } else { text.to_owned() };
        let (mut uploads, mut groups, mut truncated) = (Vec::new(), Vec::<String>::new(), false);
        let (mut next_key, mut next_id) = (String::new(), String::new());
        'pages: loop {
            let page = UPLOADS.scan(tx, &range, 256, Direction::Forward)?;
            let Some((last, _)) = page.last() else { break };
            range = range.clone().after(last);
            for (key, upload) in &page {
                let text = tables::text_of(key, 4)?;
                let group = list::group(&text, &prefix, delimiter.as_deref()).map(str::to_owned);
                if group.as_ref().is_some_and(|group| groups.last() == Some(group)) {
                    continue;
                }
                if uploads.len() + groups.len() >= max as usize {
                    truncated = max > 0;
                    break 'pages;
                }
                if let Some(group) = group {
                    (next_key, next_id) = (group.clone(), String::new());
                    groups.push(group);
                    continue;
                }
                let id = ids::upload(upload.initiated, upload.id);
                (next_key, next_id) = (text.clone(), id.clone());
                uploads.push(MultipartUpload {
                    upload_id: Some(id),
                    key: Some(write(&text)),
                    initiated: Some(upload.initiated),
                    storage_class: Some(upload.object.class.clone().unwrap_or_else(|| "STANDARD".to_owned())),
                    owner: Some(acl::owner(upload.owner)),
                    initiator: Some(initiator(upload)),
                    checksum_algorithm: upload.algorithm.map(|algorithm| algorithm.name().to_owned()),
                    checksum_type: upload.algorithm.map(|_| type_of(upload.composite)),
                    ..MultipartUpload::default()
                });
            }
        }
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket.clone()),
            key_marker: Some(write(key_marker.as_deref().unwrap_or_default())),
            upload_id_marker: Some(id_marker.unwrap_or_default()),
            next_key_marker: Some(write(&next_key)),
            next_upload_id_marker: Some(next_id),
            prefix: (!prefix.is_empty()).then(|| write(&prefix)),
            delimiter: delimiter.as_deref().map(write),
            max_uploads: Some(max),
            is_truncated: Some(truncated),
            uploads: (!uploads.is_empty()).then_some(uploads),
            common_prefixes: (!groups.is_empty())
                .then(|| groups.iter().map(|group| CommonPrefix { prefix: Some(write(group)) }).collect()),
            encoding_type: input.encoding_type.clone(),
            ..ListMultipartUploadsOutput::default()
        })
    }
}

/// Writes a part, in the place of one that was there.
pub(crate) fn put_part(
    tx: &Tx,
    upload: &Upload,
    number: u32,
    part: &PartRecord,
    small: Option<&tables::SmallBytes>,
) -> Result<(), Fault> {
    let key = tables::part(upload.id, number);
    if let Some(before) = PARTS.get(tx, &key)? {
        tables::release(tx, before.id, &before.pieces)?;
    }
    tables::hold(tx, part.id, &part.pieces, small)?;
    PARTS.put(tx, &key, part)
}

/// What a part is summed with.
fn part_algorithm(upload: &Upload, said: Option<Algorithm>) -> Result<Algorithm, Error> {
    match (upload.algorithm, said) {
        (Some(expected), Some(actual)) if expected != actual => Err(Error::invalid_request(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            expected.name().to_ascii_lowercase(),
            actual.name().to_ascii_lowercase()
        ))),
        (Some(algorithm), _) | (None, Some(algorithm)) => Ok(algorithm),
        (None, None) => Ok(Algorithm::Crc64Nvme),
    }
}

fn composite(algorithm: Option<Algorithm>, said: Option<ChecksumType>) -> Result<bool, Error> {
    let Some(algorithm) = algorithm else {
        return match said {
            None => Ok(false),
            Some(_) => Err(Error::invalid_request(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let refuse = |kind: &str| {
        let name = algorithm.name().to_ascii_lowercase();
        Error::invalid_request(format!("The {kind} checksum type cannot be used with the {name} checksum algorithm."))
    };
    match said {
        Some(ChecksumType::Composite) if algorithm == Algorithm::Crc64Nvme => Err(refuse("COMPOSITE")),
        Some(ChecksumType::FullObject) if !algorithm.is_linear() => Err(refuse("FULL_OBJECT")),
        Some(said) => Ok(said == ChecksumType::Composite),
        None => Ok(algorithm != Algorithm::Crc64Nvme),
    }
}

fn type_of(composite: bool) -> ChecksumType {
    if composite { ChecksumType::Composite } else { ChecksumType::FullObject }
}

fn check_mode(upload: &Upload, said: Option<ChecksumType>) -> Result<(), Error> {
    let mode = match (upload.named, upload.composite) {
        (false, _) => "null",
        (true, true) => "COMPOSITE",
        (true, false) => "FULL_OBJECT",
    };
    match said {
        Some(said) if !upload.named || said != type_of(upload.composite) => Err(Error::invalid_request(format!(
            "The upload was created using the {mode} checksum mode. The complete request must use the same checksum mode."
        ))),
        _ => Ok(()),
    }
}

/// The parts that a completion names, in their order, checked.
fn chosen_parts(
    tx: &Tx,
    upload: &Upload,
    wanted: &[CompletedPart],
    upload_id: &str,
) -> Result<Vec<(u32, PartRecord)>, Error> {
    let mut parts: Vec<(u32, PartRecord)> = Vec::with_capacity(wanted.len());
    if wanted.len() > PARTS_MAX as usize {
        return Err(malformed_xml());
    }
    for part in wanted {
        let number = part.part_number.ok_or_else(malformed_xml)?;
        let etag = part.e_tag.as_deref().map(|tag| tag.trim_matches('"')).unwrap_or_default();
        let missing = || {
            Error::from(InvalidPart {
                message: text(
                    "One or more of the specified parts could not be found.  The part may not have been uploaded, or the \
                     specified entity tag may not match the part's entity tag.",
                ),
                upload_id: text(upload_id),
                part_number: Some(number.to_string()),
                e_tag: text(etag),
            })
        };
        let number = u32::try_from(number).ok().filter(|number| (1..=10_000).contains(number)).ok_or_else(missing)?;
        if parts.last().is_some_and(|(before, _)| *before >= number) {
            return Err(InvalidPartOrder {
                message: text("The list of parts was not in ascending order. Parts must be ordered by part number."),
                upload_id: text(upload_id),
            }
            .into());
        }
        let record = PARTS.get(tx, &tables::part(upload.id, number))?.filter(|record| record.etag == etag);
        let record = record.ok_or_else(missing)?;
        let said = sums_of!(part).into_iter().find_map(|(algorithm, value)| value.map(|value| (algorithm, value)));
        match (said, &record.checksum) {
            (None, _) if upload.composite => {
                let name = upload.algorithm.map_or("", Algorithm::name).to_ascii_lowercase();
                return Err(Error::invalid_request(format!(
                    "The upload was created using a {name} checksum. The complete request must include the checksum for each \
                     part. It was missing for part {number} in the request."
                )));
            }
            (Some((algorithm, value)), Some(sum))
                if upload.named && sum.algorithm == algorithm && sum.value == value => {}
            (Some(_), _) => return Err(missing()),
            (None, _) => {}
        }
        parts.push((number, record));
    }
    // Which parts there are is judged before how large they are.
    let small = parts.iter().rev().skip(1).rev().find(|(_, part)| part.size < PART_BYTES_MIN);
    if let Some((number, part)) = small {
        return Err(EntityTooSmall {
            message: text("Your proposed upload is smaller than the minimum allowed size"),
            proposed_size: Some(part.size.to_string()),
            min_size_allowed: Some(PART_BYTES_MIN.to_string()),
            part_number: Some(number.to_string()),
            e_tag: text(&part.etag),
        }
        .into());
    }
    Ok(parts)
}

/// The object's checksum.
fn sum_of(upload: &Upload, parts: &[(u32, PartRecord)]) -> Option<Checksum> {
    match upload.algorithm {
        Some(algorithm) if upload.composite => {
            let sums: Option<Vec<&str>> =
                parts.iter().map(|(_, part)| part.checksum.as_ref().map(|sum| &*sum.value)).collect();
            checksum::composite(algorithm, &sums?)
        }
        Some(algorithm) => {
            let sums: Option<Vec<(&str, u64)>> =
                parts.iter().map(|(_, part)| part.checksum.as_ref().map(|sum| (&*sum.value, part.size))).collect();
            checksum::full(algorithm, &sums?)
        }
        None => {
            let sums: Vec<(&str, u64)> = parts.iter().map(|(_, part)| (&*part.usual, part.size)).collect();
            checksum::full(Algorithm::Crc64Nvme, &sums)
        }
    }
}

pub(crate) fn number_of(key: &store_api::Key) -> Result<i32, Fault> {
    match key.parts()?.pop() {
        Some(KeyPart::U64(number)) => i32::try_from(number).map_err(|_| tables::damaged()),
        _ => Err(tables::damaged()),
    }
}

fn initiator(upload: &Upload) -> Initiator {
    Initiator { id: Some(names::canonical_id(upload.owner)), ..Initiator::default() }
}
