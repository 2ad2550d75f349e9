//! GetObjectAttributes.

use model_s3::*;
use services_kernel::Cx;
use store_api::Tx;

use super::objects::{look, sum_type, tell_sum};
use crate::{
    S3,
    customer::Given,
    error::argument,
    tables::{self, Body, PARTS},
};

const KNOWN: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

impl S3 {
    pub(crate) fn attributes(
        &self,
        cx: &Cx,
        tx: &Tx,
        input: &GetObjectAttributesRequest,
    ) -> Result<GetObjectAttributesOutput, Error> {
        if let Some(other) = input.object_attributes.iter().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(argument("Invalid attribute name specified.", "x-amz-object-attributes", other));
        }
        let asked = GetObjectRequest {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            version_id: input.version_id.clone(),
            expected_bucket_owner: input.expected_bucket_owner.clone(),
            ..GetObjectRequest::default()
        };
        let given = Given::new(&input.sse_customer_algorithm, &input.sse_customer_key, &input.sse_customer_key_md5);
        let digest = given.read()?.map(|key| key.digest);
        let seen = look(cx, tx, &asked, digest.as_deref(), "GetObject")?;
        let (version, wants) =
            (&seen.version, |name: &str| input.object_attributes.iter().any(|wanted| wanted == name));
        let mut output = GetObjectAttributesOutput {
            last_modified: Some(version.modified),
            version_id: seen.version_name(),
            ..GetObjectAttributesOutput::default()
        };
        if wants("ETag") {
            output.e_tag = Some(version.etag.clone());
        }
        if wants("StorageClass") {
            output.storage_class = Some(version.class.clone().unwrap_or_else(|| "STANDARD".to_owned()));
        }
        if wants("ObjectSize") {
            output.object_size = i64::try_from(version.size).ok();
        }
        if wants("Checksum") {
            let mut sum = Checksum { checksum_type: sum_type(version.checksum.as_ref()), ..Checksum::default() };
            // Here AWS gives a composite sum without the number of parts.
            let bare = version.checksum.clone().map(|mut sum| {
                sum.value.truncate(sum.value.find('-').unwrap_or(sum.value.len()));
                sum
            });
            tell_sum!(sum, &bare);
            output.checksum = bare.is_some().then_some(sum);
        }
        if let (Body::Parts { upload, parts }, true) = (&version.body, wants("ObjectParts")) {
            output.object_parts = Some(object_parts(tx, input, version, *upload, parts)?);
        }
        Ok(output)
    }
}

/// The parts; one by one only where each has a sum that counts.
fn object_parts(
    tx: &Tx,
    input: &GetObjectAttributesRequest,
    version: &tables::Version,
    upload: tables::Id,
    parts: &[(u32, u64)],
) -> Result<GetObjectAttributesParts, Error> {
    let total_parts_count = i32::try_from(parts.len()).ok();
    let mut answer = GetObjectAttributesParts { total_parts_count, ..GetObjectAttributesParts::default() };
    if !version.checksum.as_ref().is_some_and(|sum| sum.composite) {
        return Ok(answer);
    }
    let marker = input.part_number_marker.unwrap_or_default();
    let max = input.max_parts.unwrap_or(1000).clamp(0, 1000);
    let rest: Vec<&(u32, u64)> = parts.iter().filter(|(number, _)| i64::from(*number) > i64::from(marker)).collect();
    let mut list = Vec::new();
    for (number, size) in rest.iter().take(max as usize) {
        let record = PARTS.get(tx, &tables::part(upload, *number))?;
        let mut part = ObjectPart {
            part_number: i32::try_from(*number).ok(),
            size: i64::try_from(*size).ok(),
            ..ObjectPart::default()
        };
        tell_sum!(part, record.as_ref().and_then(|record| record.checksum.as_ref()));
        list.push(part);
    }
    answer.part_number_marker = Some(marker);
    answer.next_part_number_marker = list.last().and_then(|part| part.part_number).or(Some(marker));
    answer.max_parts = Some(max);
    answer.is_truncated = Some(rest.len() > list.len());
    answer.parts = Some(list);
    Ok(answer)
}
