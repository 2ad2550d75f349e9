//! Objects: put, get, head.

use base_stream::Body as Stream;
use base_types::{AccountId, Fault, Timestamp};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderValue;
use model_s3::*;
use services_kernel::Cx;
use store_api::Tx;

use crate::{
    S3,
    access::{self, Ask, Found},
    acl::{Headers as Grants, Permission},
    body::{self, Open},
    checksum::{Algorithm, Checksum, Summed, hex},
    conditions::{Read, Write, range},
    customer::Given,
    error::{argument, denied, method_not_allowed, text},
    history::{self, Place},
    locks, names, notify,
    tables::{self, Body, Encryption, Headers, Lock, Ownership, PARTS, Piece, Place as Where, SMALL, Version},
    tags,
};

/// The greatest object that one request may put, and the greatest part (AWS: 5 GiB).
pub(crate) const PUT_BYTES_MAX: u64 = 5 << 30;
/// User metadata, names and values together (AWS: 2 KB).
const METADATA_BYTES_MAX: usize = 2048;
const CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
];

/// What a client says of a new object, whichever operation makes it.
#[derive(Default)]
pub(crate) struct Said<'a> {
    pub(crate) key: &'a str,
    pub(crate) headers: Headers,
    pub(crate) metadata: Option<&'a std::collections::BTreeMap<String, String>>,
    pub(crate) class: Option<&'a str>,
    pub(crate) encryption: Option<&'a str>,
    pub(crate) kms_key: Option<&'a str>,
    pub(crate) customer: Given<'a>,
    pub(crate) tags: Option<&'a str>,
    pub(crate) lock_mode: Option<&'a str>,
    pub(crate) lock_until: Option<Timestamp>,
    pub(crate) legal_hold: Option<bool>,
    pub(crate) redirect: Option<&'a str>,
    pub(crate) acl: Option<crate::acl::Acl>,
}

impl Said<'_> {
    /// Writes it into a version, checked.
    pub(crate) fn apply(&self, version: &mut Version, bucket: &tables::Bucket, now: Timestamp) -> Result<(), Error> {
        check_key(self.key)?;
        version.headers = self.headers.clone();
        let metadata = self.metadata.into_iter().flatten();
        version.metadata = metadata.map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        let bytes: usize = version.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > METADATA_BYTES_MAX {
            return Err(MetadataTooLarge {
                message: text("Your metadata headers exceed the maximum allowed metadata size"),
                size: Some(bytes.to_string()),
                max_size_allowed: Some(METADATA_BYTES_MAX.to_string()),
            }
            .into());
        }
        version.class = class(self.class)?;
        version.encryption = encryption(self.encryption, self.kms_key, &self.customer)?;
        version.tags = self.tags.map(tags::of_header).transpose()?.unwrap_or_default();
        version.redirect = self.redirect.map(redirect).transpose()?;
        version.retention = locks::retention_of_headers(self.lock_mode, self.lock_until, bucket, now)?;
        if self.legal_hold.is_some() && bucket.lock.is_none() {
            return Err(Error::invalid_request("Bucket is missing Object Lock Configuration"));
        }
        version.legal_hold = self.legal_hold;
        version.acl.clone_from(&self.acl);
        Ok(())
    }
}

fn redirect(target: &str) -> Result<String, Error> {
    let plain = target.starts_with('/') || target.starts_with("http://") || target.starts_with("https://");
    if plain {
        return Ok(target.to_owned());
    }
    Err(Error::invalid_argument("The website redirect location must have a prefix of 'http://' or 'https://' or '/'."))
}

pub(crate) fn check_key(key: &str) -> Result<(), Error> {
    if key.len() <= names::KEY_BYTES_MAX {
        return Ok(());
    }
    Err(KeyTooLongError {
        message: text("Your key is too long"),
        size: Some(key.len().to_string()),
        max_size_allowed: Some(names::KEY_BYTES_MAX.to_string()),
    }
    .into())
}

pub(crate) fn class(said: Option<&str>) -> Result<Option<String>, Error> {
    match said {
        None | Some("STANDARD") => Ok(None),
        Some(class) if CLASSES.contains(&class) => Ok(Some(class.to_owned())),
        Some(class) => Err(InvalidStorageClass {
            message: text("The storage class you specified is not valid"),
            storage_class_requested: text(class),
        }
        .into()),
    }
}

/// Whose key the body will be sealed with.
fn encryption(said: Option<&str>, kms_key: Option<&str>, customer: &Given<'_>) -> Result<Encryption, Error> {
    let name = "x-amz-server-side-encryption";
    let own = match said {
        None | Some("AES256") => true,
        Some("aws:kms" | "aws:kms:dsse") => {
            return Err(Error::kms_not_implemented(
                "Pileus does not support server-side encryption with keys of KMS (`aws:kms`) yet; `AES256` is what it does.",
            ));
        }
        Some(other) => {
            return Err(InvalidEncryptionAlgorithmError {
                message: text("The Encryption request you specified is not valid. Supported value: AES256."),
                argument_name: text(name),
                argument_value: text(other),
            }
            .into());
        }
    };
    if kms_key.is_some() && own {
        return Err(argument(
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
            name,
            said.unwrap_or("null"),
        ));
    }
    match (customer.read()?, said) {
        (Some(_), Some(said)) => Err(argument(
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
            name,
            said,
        )),
        (Some(key), None) => Ok(Encryption::Customer { digest: key.digest }),
        (None, _) => Ok(Encryption::Own),
    }
}

pub(crate) fn too_large(size: u64, max: u64) -> Error {
    EntityTooLarge {
        message: text("Your proposed upload exceeds the maximum allowed size"),
        proposed_size: Some(size.to_string()),
        max_size_allowed: Some(max.to_string()),
    }
    .into()
}

/// The sums that a client sends with a body.
pub(crate) struct Expected<'a> {
    pub(crate) md5: Option<&'a str>,
    /// Of the algorithm that it names, in whatever form.
    pub(crate) sum: Option<(Algorithm, &'a str)>,
    /// The algorithm alone: its sum follows behind the body, or is for us to compute.
    pub(crate) named: Option<Algorithm>,
}

impl<'a> Expected<'a> {
    pub(crate) fn read(
        md5: Option<&'a str>,
        named: Option<&str>,
        sums: [(Algorithm, Option<&'a str>); 5],
    ) -> Result<Self, Error> {
        if let Some(md5) = md5
            && !BASE64_STANDARD.decode(md5).is_ok_and(|bytes| bytes.len() == 16)
        {
            let message = text("The Content-MD5 you specified was invalid.");
            return Err(InvalidDigest { message, content_md5: text(md5) }.into());
        }
        let mut given = sums.into_iter().filter_map(|(algorithm, sum)| sum.map(|sum| (algorithm, sum)));
        let sum = given.next();
        if given.next().is_some() {
            return Err(Error::invalid_request(
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        if let Some((algorithm, sum)) = sum
            && !algorithm.fits(sum)
        {
            return Err(invalid_sum(algorithm));
        }
        let named = match named {
            None => None,
            Some(name) => Some(Algorithm::read(name).ok_or_else(|| unknown_algorithm(name))?),
        };
        Ok(Self { md5, sum, named })
    }

    pub(crate) fn algorithm(&self) -> Option<Algorithm> {
        self.sum.map(|(algorithm, _)| algorithm).or(self.named)
    }

    /// Whether what came is what was said.
    pub(crate) fn check(&self, sums: &Summed, trailers: &[(String, String)], hexadecimal: bool) -> Result<(), Error> {
        let (md5, checksum) = (&sums.md5, &sums.chosen);
        if let Some(expected) = self.md5
            && BASE64_STANDARD.decode(expected).is_ok_and(|expected| expected != md5)
        {
            let bytes = BASE64_STANDARD.decode(expected).unwrap_or_default();
            return Err(BadDigest {
                message: text("The Content-MD5 you specified did not match what we received."),
                expected_digest: if hexadecimal { Some(hex(&bytes)) } else { text(expected) },
                calculated_digest: Some(BASE64_STANDARD.encode(md5)),
            }
            .into());
        }
        let trailer = trailers.iter().find(|(name, _)| name == checksum.algorithm.header());
        let trailer = trailer.map(|(_, value)| value.as_str());
        for value in self.sum.map(|(_, value)| value).into_iter().chain(trailer) {
            if !checksum.algorithm.fits(value) {
                return Err(invalid_sum(checksum.algorithm));
            }
            if value != checksum.value {
                return Err(bad_sum(checksum.algorithm));
            }
        }
        Ok(())
    }
}

fn unknown_algorithm(name: &str) -> Error {
    let known = ["SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"];
    if known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Error::not_implemented(format!("Pileus does not support the checksum algorithm {name} yet."));
    }
    Error::invalid_request(
        "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, \
         CRC64NVME, SHA1, SHA256]",
    )
}

fn invalid_sum(algorithm: Algorithm) -> Error {
    Error::invalid_request(format!("Value for {} header is invalid.", algorithm.header()))
}

pub(crate) fn bad_sum(algorithm: Algorithm) -> Error {
    let name = algorithm.name();
    Error::bad_digest(format!("The {name} you specified did not match the calculated checksum."))
}

/// The five members that carry sums, of whatever structure has them.
macro_rules! sums_of {
    ($from:expr) => {
        [
            ($crate::checksum::Algorithm::Crc32, $from.checksum_crc32.as_deref()),
            ($crate::checksum::Algorithm::Crc32c, $from.checksum_crc32_c.as_deref()),
            ($crate::checksum::Algorithm::Crc64Nvme, $from.checksum_crc64_nvme.as_deref()),
            ($crate::checksum::Algorithm::Sha1, $from.checksum_sha1.as_deref()),
            ($crate::checksum::Algorithm::Sha256, $from.checksum_sha256.as_deref()),
        ]
    };
}
pub(crate) use sums_of;

/// Sets the member of a structure that carries this sum.
macro_rules! tell_sum {
    ($into:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            let value = Some(checksum.value.clone());
            match checksum.algorithm {
                $crate::checksum::Algorithm::Crc32 => $into.checksum_crc32 = value,
                $crate::checksum::Algorithm::Crc32c => $into.checksum_crc32_c = value,
                $crate::checksum::Algorithm::Crc64Nvme => $into.checksum_crc64_nvme = value,
                $crate::checksum::Algorithm::Sha1 => $into.checksum_sha1 = value,
                $crate::checksum::Algorithm::Sha256 => $into.checksum_sha256 = value,
            }
        }
    };
}
pub(crate) use tell_sum;

pub(crate) fn sum_type(checksum: Option<&Checksum>) -> Option<ChecksumType> {
    checksum.map(|sum| if sum.composite { ChecksumType::Composite } else { ChecksumType::FullObject })
}

/// The list that a new object's headers ask for, as far as the bucket takes lists at all.
pub(crate) fn object_acl(grants: &Grants<'_>, cx: &Cx, found: &Found) -> Result<Option<crate::acl::Acl>, Error> {
    let acl = grants.acl(caller_account(cx), found.bucket.owner)?;
    let harmless = acl.as_ref().is_none_or(|acl| acl.is_private(found.bucket.owner));
    match acl {
        Some(_) if found.bucket.ownership == Some(Ownership::Enforced) => {
            if harmless || grants.canned == Some("bucket-owner-full-control") {
                return Ok(None);
            }
            Err(Error::access_control_list_not_supported("The bucket does not allow ACLs"))
        }
        Some(acl) if found.bucket.public_access.is_some_and(|block| block.block_acls) && acl.is_public() => {
            Err(denied())
        }
        acl => Ok(acl),
    }
}

/// Whose the things are that the caller makes.
pub(crate) fn caller_account(cx: &Cx) -> AccountId {
    cx.principal.account().unwrap_or(cx.account)
}

impl S3 {
    pub(crate) async fn put(&self, cx: &Cx, input: PutObjectRequest) -> Result<PutObjectOutput, Error> {
        let expected =
            Expected::read(input.content_md5.as_deref(), input.checksum_algorithm.as_deref(), sums_of!(input))?;
        if input.content_length.is_some_and(|length| length.unsigned_abs() > PUT_BYTES_MAX) {
            return Err(too_large(input.content_length.unwrap_or_default().unsigned_abs(), PUT_BYTES_MAX));
        }
        let conditions = Write::read(input.if_match.as_deref(), input.if_none_match.as_deref())?;
        // Everything that can be wrong before a byte was read is told before a byte is read.
        let (asker, first) = (cx.clone(), input.clone());
        let early = conditions.clone();
        let may = self
            .store
            .view(move |tx| {
                let (found, _) = prepare_put(&asker, tx, &first)?;
                let there = Place::new(&found, &first.key).current(tx)?;
                early.check(there.as_ref().map(|version| &*version.etag), &first.key)
            })
            .await;
        if let Err(error) = may {
            body::discard(input.body.as_ref()).await;
            return Err(error);
        }
        let algorithm = expected.algorithm().unwrap_or(Algorithm::Crc64Nvme);
        let body = input.body.as_ref().and_then(wire_schema::Streaming::take).unwrap_or_default();
        let vault = match customer(&input).read()? {
            Some(key) => key.vault(),
            None => self.vault.clone(),
        };
        let received = body::receive(&self.store, &vault, body, algorithm, PUT_BYTES_MAX).await?;
        expected.check(&received.sums, &received.trailers, true)?;
        let (asker, service, id) = (cx.clone(), self.clone(), body::fresh(&self.store));
        let body::Received { size, sums, pieces, small, .. } = received;
        self.store
            .transact(move |tx| {
                let (found, mut version) = prepare_put(&asker, tx, &input)?;
                let place = Place::new(&found, &input.key);
                let there = place.current(tx)?;
                conditions.check(there.as_ref().map(|version| &*version.etag), &input.key)?;
                (version.id, version.size, version.modified) = (id, size, tx.now());
                version.etag = etag(&sums.md5, &version);
                version.checksum = Some(sums.chosen.clone());
                version.body = if pieces.is_empty() { Body::Empty } else { Body::Pieces(pieces.clone()) };
                let version = place.put(tx, version, small.as_ref())?;
                notify::created(&service, &asker, tx, &place, &version, "ObjectCreated:Put")?;
                let mut output = PutObjectOutput {
                    e_tag: Some(quoted(&version.etag)),
                    version_id: place.name_of(&version),
                    checksum_type: sum_type(version.checksum.as_ref()),
                    ..PutObjectOutput::default()
                };
                tell_sum!(output, &version.checksum);
                match &version.encryption {
                    Encryption::Own => output.server_side_encryption = text("AES256"),
                    Encryption::Customer { digest } => {
                        output.sse_customer_algorithm = text("AES256");
                        output.sse_customer_key_md5 = text(digest);
                    }
                }
                Ok(output)
            })
            .await
    }

    pub(crate) async fn get(&self, cx: &Cx, input: GetObjectRequest) -> Result<GetObjectOutput, Error> {
        let (asker, asked) = (cx.clone(), input.clone());
        let given = Given::new(&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5);
        let key = given.read()?;
        let digest = key.as_ref().map(|key| key.digest.clone());
        let seen = self
            .store
            .view(move |tx| {
                let seen = look(&asker, tx, &asked, digest.as_deref(), "GetObject")?;
                let pieces = pieces_of(tx, &seen)?;
                Ok::<_, Error>((seen, pieces))
            })
            .await?;
        let (seen, pieces) = seen;
        if matches!(seen.version.class.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE")) {
            return Err(InvalidObjectState {
                message: text("The operation is not valid for the object's storage class"),
                storage_class: seen.version.class.clone(),
                ..InvalidObjectState::default()
            }
            .into());
        }
        let vault = match key {
            Some(key) => key.vault(),
            None => self.vault.clone(),
        };
        let open = open_all(&vault, pieces)?;
        let stream = body::give(&self.store, open)?;
        let mut output = seen.describe(&input)?;
        output.body = Some(stream.into());
        Ok(output)
    }

    pub(crate) fn head(&self, cx: &Cx, tx: &Tx, input: &HeadObjectRequest) -> Result<HeadObjectOutput, Error> {
        let asked = GetObjectRequest {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            version_id: input.version_id.clone(),
            expected_bucket_owner: input.expected_bucket_owner.clone(),
            if_match: input.if_match.clone(),
            if_none_match: input.if_none_match.clone(),
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
            range: input.range.clone(),
            part_number: input.part_number,
            checksum_mode: input.checksum_mode.clone(),
            response_cache_control: input.response_cache_control.clone(),
            response_content_disposition: input.response_content_disposition.clone(),
            response_content_encoding: input.response_content_encoding.clone(),
            response_content_language: input.response_content_language.clone(),
            response_content_type: input.response_content_type.clone(),
            response_expires: input.response_expires,
            ..GetObjectRequest::default()
        };
        let given = Given::new(&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5);
        let digest = given.read()?.map(|key| key.digest);
        let seen = look(cx, tx, &asked, digest.as_deref(), "HeadObject")?;
        let output = seen.describe(&asked)?;
        let GetObjectOutput {
            delete_marker,
            accept_ranges,
            last_modified,
            content_length,
            e_tag,
            checksum_crc32,
            checksum_crc32_c,
            checksum_crc64_nvme,
            checksum_sha1,
            checksum_sha256,
            checksum_type,
            version_id,
            cache_control,
            content_disposition,
            content_encoding,
            content_language,
            content_range,
            content_type,
            expires,
            website_redirect_location,
            server_side_encryption,
            metadata,
            sse_customer_algorithm,
            sse_customer_key_md5,
            storage_class,
            parts_count,
            tag_count,
            object_lock_mode,
            object_lock_retain_until_date,
            object_lock_legal_hold_status,
            missing_meta,
            ..
        } = output;
        Ok(HeadObjectOutput {
            delete_marker,
            accept_ranges,
            last_modified,
            content_length,
            e_tag,
            checksum_crc32,
            checksum_crc32_c,
            checksum_crc64_nvme,
            checksum_sha1,
            checksum_sha256,
            checksum_type,
            version_id,
            cache_control,
            content_disposition,
            content_encoding,
            content_language,
            content_range,
            content_type,
            expires,
            website_redirect_location,
            server_side_encryption,
            metadata,
            sse_customer_algorithm,
            sse_customer_key_md5,
            storage_class,
            parts_count,
            tag_count,
            object_lock_mode,
            object_lock_retain_until_date,
            object_lock_legal_hold_status,
            missing_meta,
            ..HeadObjectOutput::default()
        })
    }
}

fn customer(input: &PutObjectRequest) -> Given<'_> {
    Given::new(&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5)
}

/// The bucket, and the version as its headers make it.
fn prepare_put(cx: &Cx, tx: &Tx, input: &PutObjectRequest) -> Result<(Found, Version), Error> {
    let mut ask = Ask::of_object("s3:PutObject", &input.key).granted_by(Permission::Write);
    if let Some(acl) = &input.acl {
        ask.conditions.push(("s3:x-amz-acl", acl.clone()));
    }
    if let Some(encryption) = &input.server_side_encryption {
        ask.conditions.push(("s3:x-amz-server-side-encryption", encryption.clone()));
    }
    let found = access::find(cx, tx, &input.bucket, input.expected_bucket_owner.as_deref(), &ask)?;
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
        customer: customer(input),
        tags: input.tagging.as_deref(),
        lock_mode: input.object_lock_mode.as_deref(),
        lock_until: input.object_lock_retain_until_date,
        legal_hold: input.object_lock_legal_hold_status.map(|status| status == ObjectLockLegalHoldStatus::On),
        redirect: input.website_redirect_location.as_deref(),
        acl: object_acl(&grants, cx, &found)?,
    };
    let mut version = history::blank([0; 16], caller_account(cx), tx.now());
    said.apply(&mut version, &found.bucket, tx.now())?;
    Ok((found, version))
}

/// The entity tag: the MD5 of the content, but of what a customer's key hides something that tells nothing of it.
pub(crate) fn etag(md5: &[u8; 16], version: &Version) -> String {
    match version.encryption {
        Encryption::Own => hex(md5),
        Encryption::Customer { .. } => {
            use md5::Digest as _;
            let mut digest = md5::Md5::new();
            digest.update(md5);
            digest.update(version.id);
            hex(&digest.finalize())
        }
    }
}

pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// What a read found.
pub(crate) struct Seen {
    versioned: bool,
    pub(crate) version: Version,
    /// First and last byte, when a range was asked for.
    range: Option<(u64, u64)>,
    /// A part was asked for.
    part: bool,
    lock: Option<Lock>,
}

/// The version that a read asks for, its conditions met.
pub(crate) fn look(
    cx: &Cx,
    tx: &Tx,
    input: &GetObjectRequest,
    digest: Option<&str>,
    method: &str,
) -> Result<Seen, Error> {
    let found = access::look(tx, &input.bucket, input.expected_bucket_owner.as_deref())?;
    let place = Place::new(&found, &input.key);
    let action = if input.version_id.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
    let version = place.version(tx, input.version_id.as_deref());
    let acl = version.as_ref().ok().and_then(|version| version.acl.clone());
    let mut ask = Ask::of_object(action, &input.key).granted_by(Permission::Read);
    ask.acl = acl.as_ref();
    access::permit(cx, &found, &ask)?;
    // Whether a key exists is told to those only who may list.
    let version = match version {
        Err(Error::NoSuchKey(_))
            if access::permit(cx, &found, &Ask::of_bucket("s3:ListBucket").granted_by(Permission::Read)).is_err() =>
        {
            return Err(denied());
        }
        Err(Error::NoSuchKey(error)) => {
            if let Some(marker) = place.hiding_marker(tx)? {
                cx.headers.add_aws("x-amz-delete-marker", "true");
                cx.headers.add_aws("x-amz-version-id", history::name(&marker));
            }
            return Err(error.into());
        }
        other => other?,
    };
    if version.marker {
        cx.headers.add_aws("x-amz-delete-marker", "true");
        cx.headers.add_aws("x-amz-version-id", history::name(&version));
        cx.headers.add_aws("last-modified", version.modified.to_http_date());
        return Err(method_not_allowed(if method == "HeadObject" { "HEAD" } else { "GET" }, "DeleteMarker"));
    }
    crate::customer::check(&version.encryption, digest)?;
    let conditions = Read {
        matches: input.if_match.as_deref(),
        differs: input.if_none_match.as_deref(),
        modified: input.if_modified_since,
        unmodified: input.if_unmodified_since,
    };
    if let Err(error) = conditions.check(&version.etag, version.modified) {
        cx.headers.add_aws("etag", quoted(&version.etag));
        cx.headers.add_aws("last-modified", version.modified.to_http_date());
        return Err(error);
    }
    let (range, part) = match (input.range.as_deref(), input.part_number) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid_request("Cannot specify both Range header and partNumber query parameter"));
        }
        (header, None) => (range(header, version.size)?, false),
        (None, Some(number)) => (Some(part_range(&version, number)?), true),
    };
    Ok(Seen { versioned: found.bucket.versioning.is_some(), version, range, part, lock: found.bucket.lock })
}

/// First and last byte of a part.
fn part_range(version: &Version, number: i32) -> Result<(u64, u64), Error> {
    let missing = || {
        Error::from(InvalidRange {
            message: text("The requested partnumber is not satisfiable"),
            range_requested: None,
            actual_object_size: Some(version.size.to_string()),
        })
    };
    let number = u32::try_from(number).ok().filter(|number| *number > 0);
    let number = number
        .ok_or_else(|| Error::invalid_argument("Part number must be an integer between 1 and 10000, inclusive"))?;
    let Body::Parts { parts, .. } = &version.body else {
        return if number == 1 { Ok((0, version.size.saturating_sub(1))) } else { Err(missing()) };
    };
    let mut at = 0;
    for (index, (_, size)) in parts.iter().enumerate() {
        if index + 1 == number as usize {
            return Ok((at, (at + size).saturating_sub(1)));
        }
        at += size;
    }
    Err(missing())
}

impl Seen {
    /// The pieces that are asked for begin and end here.
    fn bounds(&self) -> (u64, u64) {
        self.range.unwrap_or((0, self.version.size.saturating_sub(1)))
    }

    fn length(&self) -> u64 {
        match self.range {
            _ if self.version.size == 0 => 0,
            Some((first, last)) => last - first + 1,
            None => self.version.size,
        }
    }

    fn describe(&self, input: &GetObjectRequest) -> Result<GetObjectOutput, Error> {
        let version = &self.version;
        let partial = self.range.filter(|_| version.size > 0);
        let whole = self.range.is_none() || (self.part && !matches!(version.body, Body::Parts { .. }));
        let headers = &version.headers;
        let pick = |said: &Option<String>, kept: &Option<String>| said.clone().or_else(|| kept.clone());
        for (name, said) in [
            ("response-cache-control", &input.response_cache_control),
            ("response-content-disposition", &input.response_content_disposition),
            ("response-content-encoding", &input.response_content_encoding),
            ("response-content-language", &input.response_content_language),
            ("response-content-type", &input.response_content_type),
        ] {
            if let Some(value) = said.as_ref().filter(|value| !is_latin(value)) {
                return Err(argument("Header value cannot be represented using ISO-8859-1.", name, value));
            }
        }
        let mut output = GetObjectOutput {
            accept_ranges: text("bytes"),
            last_modified: Some(version.modified),
            content_length: i64::try_from(self.length()).ok(),
            e_tag: Some(quoted(&version.etag)),
            version_id: self.version_name(),
            cache_control: pick(&input.response_cache_control, &headers.cache),
            content_disposition: pick(&input.response_content_disposition, &headers.disposition),
            content_encoding: pick(&input.response_content_encoding, &headers.encoding),
            content_language: pick(&input.response_content_language, &headers.language),
            content_type: pick(&input.response_content_type, &headers.content_type)
                .or_else(|| text("binary/octet-stream")),
            expires: input.response_expires.map(Timestamp::to_http_date).or_else(|| headers.expires.clone()),
            content_range: partial.map(|(first, last)| format!("bytes {first}-{last}/{}", version.size)),
            website_redirect_location: version.redirect.clone(),
            metadata: Some(version.metadata.iter().filter(|(_, value)| is_sendable(value)).cloned().collect()),
            storage_class: version.class.clone(),
            tag_count: (!version.tags.is_empty()).then(|| i32::try_from(version.tags.len()).unwrap_or(i32::MAX)),
            ..GetObjectOutput::default()
        };
        let unsendable = version.metadata.iter().filter(|(_, value)| !is_sendable(value)).count();
        output.missing_meta = (unsendable > 0).then(|| i32::try_from(unsendable).unwrap_or(i32::MAX));
        if let (Body::Parts { parts, .. }, true) = (&version.body, self.part) {
            output.parts_count = i32::try_from(parts.len()).ok();
        }
        if input.checksum_mode.as_deref().is_some_and(|mode| mode.eq_ignore_ascii_case("ENABLED")) && whole {
            tell_sum!(output, &version.checksum);
            output.checksum_type = sum_type(version.checksum.as_ref());
        }
        match &version.encryption {
            Encryption::Own => output.server_side_encryption = text("AES256"),
            Encryption::Customer { digest } => {
                output.sse_customer_algorithm = text("AES256");
                output.sse_customer_key_md5 = text(digest);
            }
        }
        if self.lock.is_some() {
            output.object_lock_mode = version.retention.map(|retention| locks::mode_text(retention.mode).to_owned());
            output.object_lock_retain_until_date = version.retention.map(|retention| retention.until);
            output.object_lock_legal_hold_status = version.legal_hold.map(locks::hold_status);
        }
        Ok(output)
    }

    /// How the version is called, where the bucket has versions.
    pub(crate) fn version_name(&self) -> Option<String> {
        self.versioned.then(|| history::name(&self.version))
    }
}

fn is_latin(value: &str) -> bool {
    value.chars().all(|char| u32::from(char) < 256)
}

fn is_sendable(value: &str) -> bool {
    HeaderValue::from_str(value).is_ok()
}

/// A piece, with its sealed bytes where they are in the store itself.
pub(crate) type Held = (Piece, Option<Vec<u8>>);

/// The pieces that a read needs, with what of them is in the store itself.
pub(crate) fn pieces_of(tx: &Tx, seen: &Seen) -> Result<Vec<Held>, Fault> {
    let (first, last) = seen.bounds();
    if seen.version.size == 0 {
        return Ok(Vec::new());
    }
    pieces_between(tx, &seen.version.body, first, last)
}

/// The pieces of a body between two bytes.
pub(crate) fn pieces_between(tx: &Tx, body: &Body, first: u64, last: u64) -> Result<Vec<Held>, Fault> {
    let pieces = match body {
        Body::Empty => Vec::new(),
        Body::Pieces(pieces) => body::cut(pieces, first, last),
        Body::Parts { upload, parts } => {
            let (mut at, mut pieces) = (0, Vec::new());
            for (number, size) in parts {
                let (begin, end) = (at, at + size);
                at = end;
                if end <= first || begin > last {
                    continue;
                }
                let part = PARTS.require(tx, &tables::part(*upload, *number), tables::lost)?;
                let (from, to) = (first.saturating_sub(begin), last.min(end - 1) - begin);
                pieces.extend(body::cut(&part.pieces, from, to));
            }
            pieces
        }
    };
    pieces
        .into_iter()
        .map(|piece| {
            let small = match piece.place {
                Where::Small(id) => Some(SMALL.require(tx, &tables::small(id), tables::lost)?.sealed),
                Where::Blob(_) => None,
            };
            Ok((piece, small))
        })
        .collect()
}

/// Opens the keys of pieces.
pub(crate) fn open_all(vault: &crate::seal::Vault, pieces: Vec<Held>) -> Result<Vec<Open>, Fault> {
    pieces.into_iter().map(|(piece, small)| Ok(Open { key: vault.open(&piece.key)?, piece, small })).collect()
}

/// The bytes of a body, for those who read it here.
pub(crate) fn stream_of(service: &S3, vault: &crate::seal::Vault, pieces: Vec<Held>) -> Result<Stream, Fault> {
    body::give(&service.store, open_all(vault, pieces)?)
}
