"""Answers that AWS gave, asked for again: the same calls, the same fields, the same errors.

Reads the recordings from the folder that `PILEUS_RECORDED` names; skipped where there is none.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import os
import pathlib
import re

import botocore.exceptions
import pytest

FOLDER = os.environ.get("PILEUS_RECORDED")
pytestmark = pytest.mark.skipif(not FOLDER, reason="`PILEUS_RECORDED` names no folder of recordings")
# What depends on who asks, or is ours to choose.
LOOSE = {"ServerSideEncryption", "Location", "LastModified", "DisplayName", "ID", "RequestId", "HostId", "Owner", "Initiator"}


class Replay:
    """One recorded case: every placeholder stands for one value, the same wherever it occurs."""

    def __init__(self, case: str):
        recordings = json.loads((pathlib.Path(FOLDER) / "s3.json").read_text())
        self.steps = recordings[case]
        self.known: dict[str, object] = {}

    def check(self, step: str, call, *arguments, **named):
        """Makes the call and compares what it gives with what AWS gave."""
        try:
            answer = call(*arguments, **named)
        except botocore.exceptions.ClientError as failure:
            answer = failure.response
        if "Body" in answer:
            answer["Body"] = answer["Body"].read().decode(errors="replace")
        expected = self.steps[step]
        status = expected.get("ResponseMetadata", {}).get("HTTPStatusCode")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == status, (step, answer)
        self.same(expected, answer, step)
        return answer

    def same(self, expected, found, path: str):
        if isinstance(expected, dict):
            assert isinstance(found, dict), (path, found)
            wanted = {key for key in expected if key != "ResponseMetadata" and key not in LOOSE}
            given = {key for key in found if key != "ResponseMetadata" and key not in LOOSE}
            assert wanted == given, (path, wanted ^ given, found)
            for key in wanted:
                self.same(expected[key], found[key], f"{path}.{key}")
        elif isinstance(expected, list):
            assert len(expected) == len(found), (path, found)
            for index, (one, other) in enumerate(zip(expected, found)):
                self.same(one, other, f"{path}[{index}]")
        elif isinstance(expected, str) and re.search(r"<[^<>]+>", expected):
            whole = re.fullmatch(r"<[^<>]+>", expected)
            if whole:
                assert self.known.setdefault(expected, found) == found, (path, expected, found)
        elif expected == "datetime":
            assert isinstance(found, datetime.datetime), (path, found)
        else:
            assert expected == found, (path, expected, found)


@pytest.fixture
def s3(server):
    return server.client("s3")


@pytest.fixture
def bucket(s3, name):
    made = f"rec-{name}".lower()[:60].strip("-")
    s3.create_bucket(Bucket=made)
    return made


def test_missing_buckets(s3):
    replay = Replay("TestS3::test_bucket_does_not_exist")
    replay.check("list_object", s3.list_objects, Bucket="bucket-that-is-not")
    replay = Replay("TestS3::test_delete_bucket_no_such_bucket")
    (step,) = replay.steps
    replay.check(step, s3.delete_bucket, Bucket="does-not-exist-localstack-test")


@pytest.mark.parametrize("account", ["0000", "0000000000020", "abcd", "aa000000000$"])
def test_accounts_that_are_none(s3, bucket, account):
    for verb, call in (("get", s3.get_bucket_policy), ("put", s3.put_bucket_policy)):
        replay = Replay(f"TestS3::test_{verb}_bucket_policy_invalid_account_id[{account}]")
        (step,) = replay.steps
        policy = {"Policy": "{}"} if verb == "put" else {}
        replay.check(step, call, Bucket=bucket, ExpectedBucketOwner=account, **policy)


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums(s3, bucket, algorithm):
    replay = Replay(f"TestS3PutObjectChecksum::test_put_object_checksum[{algorithm}]")
    body = b"test data.."
    digest = {
        "CRC32": lambda: __import__("zlib").crc32(body).to_bytes(4, "big"),
        "SHA1": lambda: hashlib.sha1(body).digest(),
        "SHA256": lambda: hashlib.sha256(body).digest(),
    }[algorithm]()
    field = f"Checksum{algorithm}"
    common = {"Bucket": bucket, "Key": "k", "Body": body, "ChecksumAlgorithm": algorithm}
    replay.check("put-wrong-checksum-no-b64", s3.put_object, **common, **{field: "test"})
    replay.check("put-wrong-checksum-value", s3.put_object, **common, **{field: base64.b64encode(bytes(len(digest))).decode()})
    replay.check("put-object-generated", s3.put_object, **common, **{field: base64.b64encode(digest).decode()})
    replay.check("head-object-with-checksum", s3.head_object, Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    wanted = ["ETag", "Checksum"]
    replay.check("get-object-attrs-generated", s3.get_object_attributes, Bucket=bucket, Key="k", ObjectAttributes=wanted)


def test_wrong_digests(s3, bucket):
    replay = Replay("TestS3::test_s3_invalid_content_md5")
    hashes = ["__invalid__", "000", "not base64 encoded checksum", "MTIz", base64.b64encode(b"test-string").decode()]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = {"Bucket": bucket, "Key": "k", "UploadId": upload, "PartNumber": 1, "Body": "something"}
    for index, wrong in enumerate(hashes):
        replay.check(f"md5-error-{index}", s3.put_object, Bucket=bucket, Key="k", Body="something", ContentMD5=wrong)
        replay.check(f"upload-part-md5-error-{index}", s3.upload_part, ContentMD5=wrong, **part)
    other = base64.b64encode(bytes.fromhex("09891eb590524e35fc73372cddc5d596")).decode()
    replay.check("md5-error-bad-digest", s3.put_object, Bucket=bucket, Key="k", Body="something", ContentMD5=other)
    replay.check("upload-part-md5-bad-digest", s3.upload_part, ContentMD5=other, **part)
    right = base64.b64encode(hashlib.md5(b"something").digest()).decode()
    replay.check("success-put-object-md5", s3.put_object, Bucket=bucket, Key="k", Body="something", ContentMD5=right)
    replay.check("success-upload-part-md5", s3.upload_part, ContentMD5=right, **part)


def test_versions_that_are_none(s3, bucket):
    none = "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD"
    replay = Replay("TestS3ObjectCRUD::test_delete_object")
    replay.check("delete-nonexistent-object", s3.delete_object, Bucket=bucket, Key="none")
    replay.check("delete-nonexistent-object-versionid", s3.delete_object, Bucket=bucket, Key="none", VersionId=none)
    replay = Replay("TestS3ObjectCRUD::test_get_object_with_version_unversioned_bucket")
    s3.put_object(Bucket=bucket, Key="k", Body="test-version")
    replay.check("get-obj-with-version", s3.get_object, Bucket=bucket, Key="k", VersionId=none)
    replay.check("get-obj-with-null-version", s3.get_object, Bucket=bucket, Key="k", VersionId="null")


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2", "list_object_versions", "list_multipart_uploads"])
def test_encodings_that_are_none(s3, bucket, operation):
    replay = Replay(f"TestS3ListObjectsV2::test_list_ops_encoding_type_validation[{operation}]")
    replay.check(f"{operation}-error-wrong-value", getattr(s3, operation), Bucket=bucket, EncodingType="value")


def test_a_bucket_and_its_head(s3, name):
    replay = Replay("TestS3::test_create_bucket_head_bucket")
    made = f"head-{name}".lower()[:60]
    replay.check("create_bucket", s3.create_bucket, Bucket=made)
    replay.check("head_bucket", s3.head_bucket, Bucket=made)
    replay.check("head_bucket_not_exist", s3.head_bucket, Bucket="bucket-that-is-not")


def test_versioning(s3, bucket):
    replay = Replay("TestS3BucketVersioning::test_bucket_versioning_crud")
    for step, call, arguments in (
        ("get-versioning-before", s3.get_bucket_versioning, {}),
        ("put-versioning-enabled", s3.put_bucket_versioning, {"VersioningConfiguration": {"Status": "Enabled"}}),
        ("get-versioning-after", s3.get_bucket_versioning, {}),
        ("put-versioning-empty", s3.put_bucket_versioning, {"VersioningConfiguration": {}}),
    ):
        if step in replay.steps:
            replay.check(step, call, Bucket=bucket, **arguments)


def test_conditional_writes(s3, bucket):
    replay = Replay("TestS3DeletePrecondition::test_delete_object_if_match_size_non_express")
    s3.put_object(Bucket=bucket, Key="k", Body="test")
    (step,) = replay.steps
    replay.check(step, s3.delete_object, Bucket=bucket, Key="k", IfMatchSize=10)


def test_parts_that_are_none(s3, bucket):
    replay = Replay("TestS3::test_multipart_complete_multipart_wrong_part")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body="test")
    common = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    replay.check(
        "complete-exc-wrong-etag",
        s3.complete_multipart_upload,
        MultipartUpload={"Parts": [{"ETag": "d41d8cd98f00b204e9800998ecf8427e", "PartNumber": 1}]},
        **common,
    )
