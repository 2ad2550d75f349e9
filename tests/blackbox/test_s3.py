"""S3 with the stock clients: boto3 and its transfer manager, the AWS CLI, presigned addresses, plain HTTP."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import json
import os
import subprocess
import urllib.request
import xml.etree.ElementTree

import boto3.s3.transfer
import botocore.exceptions
import pytest

from harness import aws_cli, eventually

MIB = 1 << 20


def code(call, *arguments, **named):
    """The code and status of the error that a call gives."""
    with pytest.raises(botocore.exceptions.ClientError) as failure:
        call(*arguments, **named)
    answer = failure.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture
def s3(server):
    return server.client("s3")


@pytest.fixture
def bucket(s3, name):
    made = f"bucket-{name}".lower()[:60].strip("-")
    s3.create_bucket(Bucket=made)
    yield made
    s3.put_bucket_versioning(Bucket=made, VersioningConfiguration={"Status": "Suspended"})
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=made):
        for kind in ("Versions", "DeleteMarkers"):
            for version in page.get(kind, []):
                s3.delete_object(Bucket=made, Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket=made)


def test_an_object_is_put_read_listed_and_deleted(s3, bucket):
    for size in (0, 1, 16 * 1024, 16 * 1024 + 1, 64 * 1024, 200_000):
        body = os.urandom(size)
        put = s3.put_object(Bucket=bucket, Key="a/b c+ü", Body=body, Metadata={"Colour": "blue"}, ContentType="text/x")
        assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        assert put["ServerSideEncryption"] == "AES256"
        got = s3.get_object(Bucket=bucket, Key="a/b c+ü")
        assert got["Body"].read() == body
        assert (got["ContentLength"], got["ContentType"], got["Metadata"]) == (size, "text/x", {"colour": "blue"})
        head = s3.head_object(Bucket=bucket, Key="a/b c+ü")
        assert (head["ContentLength"], head["ETag"]) == (size, put["ETag"])
    listed = s3.list_objects_v2(Bucket=bucket)
    assert [entry["Key"] for entry in listed["Contents"]] == ["a/b c+ü"]
    assert listed["Contents"][0]["Size"] == 200_000
    s3.delete_object(Bucket=bucket, Key="a/b c+ü")
    assert code(s3.get_object, Bucket=bucket, Key="a/b c+ü") == ("NoSuchKey", 404)
    assert code(s3.head_object, Bucket=bucket, Key="a/b c+ü") == ("404", 404)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_every_range_of_a_large_object(s3, bucket):
    body = os.urandom(700_001)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    for first, last in ((0, 0), (0, 65_535), (65_536, 65_536), (65_535, 131_073), (700_000, 700_000), (12_345, 654_321)):
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}")
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["ContentRange"] == f"bytes {first}-{last}/700001"
        assert got["Body"].read() == body[first : last + 1]
    assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=-5")["Body"].read() == body[-5:]
    assert code(s3.get_object, Bucket=bucket, Key="k", Range="bytes=700001-") == ("InvalidRange", 416)


def test_the_transfer_manager_with_eight_threads(s3, bucket, tmp_path):
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=8)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(33 * MIB + 17))
    s3.upload_file(str(source), bucket, "large", Config=config)
    head = s3.head_object(Bucket=bucket, Key="large")
    assert head["ContentLength"] == 33 * MIB + 17 and head["ETag"].endswith('-7"')
    s3.download_file(bucket, "large", str(tmp_path / "target"), Config=config)
    assert (tmp_path / "target").read_bytes() == source.read_bytes()
    part = s3.get_object(Bucket=bucket, Key="large", PartNumber=7)
    assert part["PartsCount"] == 7 and part["Body"].read() == source.read_bytes()[30 * MIB :]
    s3.copy({"Bucket": bucket, "Key": "large"}, bucket, "copied", Config=config)
    assert s3.get_object(Bucket=bucket, Key="copied")["Body"].read() == source.read_bytes()
    s3.copy_object(Bucket=bucket, Key="whole", CopySource={"Bucket": bucket, "Key": "large"})
    whole = s3.head_object(Bucket=bucket, Key="whole")
    assert whole["ETag"] == f'"{hashlib.md5(source.read_bytes()).hexdigest()}"'
    s3.delete_object(Bucket=bucket, Key="large")
    assert s3.get_object(Bucket=bucket, Key="copied")["Body"].read(10) == source.read_bytes()[:10]


def test_a_multipart_upload_step_by_step(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    common = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    first, second = os.urandom(5 * MIB), b"end"
    tags = [s3.upload_part(PartNumber=1, Body=first, **common)["ETag"], s3.upload_part(PartNumber=2, Body=second, **common)["ETag"]]
    assert [part["Size"] for part in s3.list_parts(**common)["Parts"]] == [5 * MIB, 3]
    assert s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["UploadId"] == upload
    parts = [{"PartNumber": number + 1, "ETag": tag} for number, tag in enumerate(tags)]

    def complete(parts):
        return s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **common)

    assert code(complete, list(reversed(parts))) == ("InvalidPartOrder", 400)
    assert code(complete, [{"PartNumber": 3, "ETag": tags[0]}]) == ("InvalidPart", 400)
    done = complete(parts)
    digest = hashlib.md5(hashlib.md5(first).digest() + hashlib.md5(second).digest()).hexdigest()
    assert done["ETag"] == f'"{digest}-2"'
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == first + second
    assert code(s3.list_parts, **common) == ("NoSuchUpload", 404)
    small = s3.create_multipart_upload(Bucket=bucket, Key="small")["UploadId"]
    tags = [s3.upload_part(Bucket=bucket, Key="small", UploadId=small, PartNumber=n, Body=b"x")["ETag"] for n in (1, 2)]
    parts = {"Parts": [{"PartNumber": n + 1, "ETag": tag} for n, tag in enumerate(tags)]}
    refused = code(s3.complete_multipart_upload, Bucket=bucket, Key="small", UploadId=small, MultipartUpload=parts)
    assert refused == ("EntityTooSmall", 400)
    s3.abort_multipart_upload(Bucket=bucket, Key="small", UploadId=small)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_listings_page_and_group(s3, bucket):
    keys = [f"{folder}/{number:03}" for folder in ("a", "b", "c") for number in range(40)] + ["root1", "root2"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b"x"), keys))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 7})
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == sorted(keys)
    pages = s3.get_paginator("list_objects").paginate(Bucket=bucket, PaginationConfig={"PageSize": 11})
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == sorted(keys)
    for size in (1, 2, 5, 1000):
        groups, found = [], []
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size})
        for page in pages:
            groups += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
            found += [entry["Key"] for entry in page.get("Contents", [])]
        assert (groups, found) == (["a/", "b/", "c/"], ["root1", "root2"]), size
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="b/", StartAfter="b/030")
    assert listed["KeyCount"] == 9
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert len(answer["Deleted"]) == len(keys)


def test_versions_and_delete_markers(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"null")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"one")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"two")["VersionId"]
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert gone["DeleteMarker"] is True
    assert code(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)
    assert code(s3.get_object, Bucket=bucket, Key="k", VersionId=gone["VersionId"]) == ("MethodNotAllowed", 405)
    for version, body in ((first, b"one"), (second, b"two"), ("null", b"null")):
        assert s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() == body
    listed = s3.list_object_versions(Bucket=bucket)
    assert [entry["VersionId"] for entry in listed["Versions"]] == [second, first, "null"]
    assert [entry["IsLatest"] for entry in listed["DeleteMarkers"]] == [True]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
    assert sum(len(page.get("Versions", [])) + len(page.get("DeleteMarkers", [])) for page in pages) == 4
    s3.delete_object(Bucket=bucket, Key="k", VersionId=gone["VersionId"])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"two"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"new null")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"new null"
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 3


def test_conditions_of_reads_and_writes(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"one", IfNoneMatch="*")
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"two", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"two", IfMatch='"wrong"') == ("PreconditionFailed", 412)
    assert code(s3.put_object, Bucket=bucket, Key="none", Body=b"two", IfMatch='"wrong"') == ("NoSuchKey", 404)
    assert code(s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=put["ETag"]) == ("304", 304)
    assert code(s3.get_object, Bucket=bucket, Key="k", IfMatch='"other"') == ("PreconditionFailed", 412)
    s3.put_object(Bucket=bucket, Key="k", Body=b"two", IfMatch=put["ETag"])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"two"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        def race(number):
            try:
                s3.put_object(Bucket=bucket, Key="race", Body=str(number).encode(), IfNoneMatch="*")
                return True
            except botocore.exceptions.ClientError:
                return False
        assert sum(pool.map(race, range(16))) == 1


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums_are_kept_and_wrong_ones_refused(server, bucket, algorithm):
    s3 = server.client("s3")
    try:
        put = s3.put_object(Bucket=bucket, Key="k", Body=b"hello" * 20_000, ChecksumAlgorithm=algorithm)
    except botocore.exceptions.MissingDependencyException:
        pytest.skip("this checksum needs the CRT")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"] and head["ChecksumType"] == "FULL_OBJECT"
    if algorithm == "SHA256":
        assert put["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"hello" * 20_000).digest()).decode()
        wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
        assert code(s3.put_object, Bucket=bucket, Key="w", Body=b"x", ChecksumSHA256=wrong) == ("BadDigest", 400)
        assert code(s3.head_object, Bucket=bucket, Key="w") == ("404", 404)


def test_a_wrong_digest_leaves_nothing(s3, bucket):
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"x" * 300_000, ContentMD5=wrong) == ("BadDigest", 400)
    assert code(s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5="000") == ("InvalidDigest", 400)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_customers_keys(s3, bucket):
    key = os.urandom(32)
    sse = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret" * 50_000, **sse)
    assert code(s3.get_object, Bucket=bucket, Key="k") == ("InvalidRequest", 400)
    assert s3.get_object(Bucket=bucket, Key="k", **sse)["Body"].read() == b"secret" * 50_000
    other = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": os.urandom(32)}
    assert code(s3.get_object, Bucket=bucket, Key="k", **other) == ("AccessDenied", 403)


def test_nothing_is_plain_on_the_disk(own):
    server = own().start()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="secrets")
    for size in (100, 300_000):
        s3.put_object(Bucket="secrets", Key=f"k{size}", Body=(b"PLAINTEXT-MARKER" * size)[:size])
    server.stop()
    for path in server.data.rglob("*"):
        if path.is_file():
            assert b"PLAINTEXT-MARKER" not in path.read_bytes(), path


def test_what_is_acknowledged_survives_kill(own):
    server = own().start()
    s3 = server.client("s3")
    s3.create_bucket(Bucket="lasting")
    bodies = {f"k{size}": os.urandom(size) for size in (0, 10, 20_000, 1_000_000)}
    for key, body in bodies.items():
        s3.put_object(Bucket="lasting", Key=key, Body=body)
    server.kill()
    server.restart()
    s3 = server.client("s3")
    for key, body in bodies.items():
        assert s3.get_object(Bucket="lasting", Key=key)["Body"].read() == body


def test_presigned_addresses(s3, bucket):
    address = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    request = urllib.request.Request(address, data=b"presigned", method="PUT")
    assert urllib.request.urlopen(request).status == 200
    address = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert urllib.request.urlopen(address).read() == b"presigned"


def test_hosts_name_buckets(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"by host")
    scope = "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"
    for host in (f"{bucket}.s3.localhost", f"{bucket}.localhost", f"{bucket}.s3.us-east-1.localhost"):
        status, headers, body = server.raw("GET", "/k", headers={"Host": f"{host}:{server.port}", "Authorization": scope})
        assert (status, body) == (200, b"by host"), host
        assert headers["x-amz-request-id"] and headers["x-amz-id-2"]
    status, _, body = server.raw("GET", "/k", headers={"Host": f"a-1.s3-accesspoint.us-east-1.localhost:{server.port}"})
    assert status == 501 and b"access points" in body


def test_strangers_get_what_is_public(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="open/k", Body=b"public")
    status, headers, body = server.raw("GET", f"/{bucket}/open/k")
    assert status == 403 and b"<Code>AccessDenied</Code><Message>Access Denied</Message>" in body
    s3.delete_public_access_block(Bucket=bucket)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/open/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert server.raw("GET", f"/{bucket}/open/k")[2] == b"public"
    assert server.raw("GET", f"/{bucket}/other")[0] == 403
    assert server.raw("PUT", f"/{bucket}/open/k", b"x")[0] == 403


def test_errors_are_documents_as_awss(server, s3, bucket):
    scope = "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"
    status, headers, body = server.raw("GET", "/no-such-bucket-here/k", headers={"Authorization": scope})
    root = xml.etree.ElementTree.fromstring(body)
    assert (status, headers["Content-Type"], root.tag) == (404, "application/xml", "Error")
    assert [child.tag for child in root] == ["Code", "Message", "BucketName", "RequestId", "HostId"]
    for body in (b"<a", b"<!DOCTYPE a [<!ENTITY x 'y'>]><Tagging>&x;</Tagging>", b"<Other/>", b"<Tagging><Foo/></Tagging>"):
        status, _, answer = server.raw("PUT", f"/{bucket}?tagging", body, {"Authorization": scope})
        assert status == 400 and b"<Code>MalformedXML</Code>" in answer, (body, answer)
    assert code(s3.create_bucket, Bucket="Upper.Case") == ("InvalidBucketName", 400)
    assert code(s3.put_object, Bucket=bucket, Key="k" * 1025, Body=b"") == ("KeyTooLongError", 400)
    assert code(s3.delete_bucket, Bucket="no-such-bucket-here") == ("NoSuchBucket", 404)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert code(s3.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)


@pytest.mark.parametrize("key", ["../up", "a//b", "//", "a/../b", "%2e%2e", ".", "a b", "ü/€/😀", "a?b&c=d", "tab\tkey", "+", "a;b", "~"])
def test_odd_keys_are_keys(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]


def test_tags_locks_and_attributes(s3, name):
    made = f"locked-{name}".lower()[:60]
    s3.create_bucket(Bucket=made, ObjectLockEnabledForBucket=True)
    version = s3.put_object(Bucket=made, Key="k", Body=b"x", Tagging="a=1&b=2")["VersionId"]
    assert s3.get_object_tagging(Bucket=made, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    s3.put_object_legal_hold(Bucket=made, Key="k", LegalHold={"Status": "ON"})
    assert code(s3.delete_object, Bucket=made, Key="k", VersionId=version) == ("AccessDenied", 403)
    s3.put_object_legal_hold(Bucket=made, Key="k", LegalHold={"Status": "OFF"})
    wanted = ["ETag", "ObjectSize", "StorageClass", "Checksum"]
    attributes = s3.get_object_attributes(Bucket=made, Key="k", ObjectAttributes=wanted)
    assert (attributes["ObjectSize"], attributes["StorageClass"]) == (1, "STANDARD")
    s3.delete_object(Bucket=made, Key="k", VersionId=version)
    s3.delete_bucket(Bucket=made)


def test_configurations_are_given_back(s3, bucket):
    rules = [{"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["https://*.example.com"], "AllowedHeaders": ["*"]}]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"] == rules
    metrics = {"Id": "all", "Filter": {"Prefix": "a/"}}
    s3.put_bucket_metrics_configuration(Bucket=bucket, Id="all", MetricsConfiguration=metrics)
    assert s3.get_bucket_metrics_configuration(Bucket=bucket, Id="all")["MetricsConfiguration"] == metrics
    assert s3.list_bucket_metrics_configurations(Bucket=bucket)["MetricsConfigurationList"] == [metrics]
    s3.delete_bucket_metrics_configuration(Bucket=bucket, Id="all")
    assert code(s3.get_bucket_metrics_configuration, Bucket=bucket, Id="all") == ("NoSuchConfiguration", 404)


def test_cors_is_enforced(server, s3, bucket):
    rules = [{"AllowedMethods": ["PUT"], "AllowedOrigins": ["https://app.example.com"], "AllowedHeaders": ["x-amz-*"]}]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    ask = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT"}
    status, headers, _ = server.raw("OPTIONS", f"/{bucket}/k", headers=ask)
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, "https://app.example.com")
    status, _, body = server.raw("OPTIONS", f"/{bucket}/k", headers=ask | {"Origin": "https://evil.example"})
    assert status == 403 and b"AccessForbidden" in body
    query = "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test/20261123/us-east-1/s3/aws4_request"
    status, _, body = server.raw("DELETE", f"/{bucket}/k{query}", headers={"Origin": "https://evil.example"})
    assert status == 403, body


def test_what_happens_to_objects_is_told(server, s3, bucket):
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=f"told-{bucket}"[:80])["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"}},
    }
    notification = {
        "QueueConfigurations": [
            {
                "QueueArn": arn,
                "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
                "Filter": {"Key": {"FilterRules": [{"Name": "suffix", "Value": ".jpg"}]}},
            }
        ]
    }
    set_it = lambda: s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=notification)
    assert code(set_it) == ("InvalidArgument", 400)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})})
    set_it()
    s3.put_object(Bucket=bucket, Key="a b.jpg", Body=b"12345")
    s3.put_object(Bucket=bucket, Key="no.txt", Body=b"12345")
    s3.delete_object(Bucket=bucket, Key="a b.jpg")
    bodies = []

    def take():
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            bodies.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(bodies) >= 3

    eventually(take)
    assert [body for body in bodies if body.get("Event") == "s3:TestEvent"]
    records = {body["Records"][0]["eventName"]: body["Records"][0] for body in bodies if "Records" in body}
    assert set(records) == {"ObjectCreated:Put", "ObjectRemoved:Delete"}
    told = records["ObjectCreated:Put"]["s3"]["object"]
    assert (told["key"], told["size"], told["eTag"]) == ("a+b.jpg", 5, hashlib.md5(b"12345").hexdigest())


def cli(server, *arguments, fail: bool = False) -> str:
    """One `aws s3 …` or `aws s3api …`; its output."""
    done = subprocess.run([aws_cli(), *arguments], env=server.environment(), capture_output=True, text=True, timeout=120)
    assert (done.returncode != 0) == fail, (arguments, done.stdout, done.stderr)
    return done.stdout + done.stderr


def test_the_aws_cli(server, bucket, tmp_path):
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "one.txt").write_text("one")
    (tmp_path / "tree" / "sub" / "two.bin").write_bytes(os.urandom(9 * MIB))
    cli(server, "s3", "cp", str(tmp_path / "tree" / "one.txt"), f"s3://{bucket}/one.txt")
    assert "one.txt" in cli(server, "s3", "ls", f"s3://{bucket}/")
    cli(server, "s3", "sync", str(tmp_path / "tree"), f"s3://{bucket}/tree")
    cli(server, "s3", "sync", f"s3://{bucket}/tree", str(tmp_path / "back"))
    assert (tmp_path / "back" / "sub" / "two.bin").read_bytes() == (tmp_path / "tree" / "sub" / "two.bin").read_bytes()
    cli(server, "s3", "mv", f"s3://{bucket}/one.txt", f"s3://{bucket}/moved.txt")
    assert "PRE tree/" in cli(server, "s3", "ls", f"s3://{bucket}")
    assert urllib.request.urlopen(cli(server, "s3", "presign", f"s3://{bucket}/moved.txt").strip()).read() == b"one"
    cli(server, "s3", "rm", "--recursive", f"s3://{bucket}/")
    assert cli(server, "s3", "ls", f"s3://{bucket}") == ""
    assert "us-east-1" in cli(server, "s3api", "head-bucket", "--bucket", bucket)
    assert "NoSuchBucket" in cli(server, "s3", "ls", "s3://no-such-bucket-here", fail=True)
