"""Signs random requests with botocore and prints one JSON object a line: the judge of our own verifier.

usage: oracle.py SEED COUNT
"""

import datetime, json, random, sys
from urllib.parse import quote, urlsplit

import botocore.auth as auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

seed, count = int(sys.argv[1]), int(sys.argv[2])
rng = random.Random(seed)
ALPHABET = "abcXYZ019 -_.~!*'();:@&=+$,/?#[]%\u00fc\u20ac"


def text(most):
    return "".join(rng.choice(ALPHABET) for _ in range(rng.randint(1, most)))


def make():
    now = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=datetime.timezone.utc) + datetime.timedelta(
        seconds=rng.randint(0, 10**7)
    )
    auth.get_current_datetime = lambda *_, **__: now.replace(tzinfo=None)
    key, secret = "AKIA%016d" % rng.randint(0, 10**15), "%040x" % rng.getrandbits(160)
    token = "token/+=%x" % rng.getrandbits(64) if rng.random() < 0.4 else None
    kind = rng.choice(["header", "header", "query", "s3", "s3query"])
    service = "s3" if kind.startswith("s3") else rng.choice(["lambda", "sts", "sqs", "logs"])
    region = rng.choice(["us-east-1", "eu-central-1", "mars-1"])
    path = "/" + "/".join(text(8) for _ in range(rng.randint(0, 4)))
    if kind == "header" and rng.random() < 0.3:
        path = rng.choice(["/a/../b", "//a//b/", "/./x", "/..", "/a/."])
    url = "http://localhost:4566" + quote(path, safe="/~")
    pairs = [(text(6), text(6) if rng.random() < 0.8 else "") for _ in range(rng.randint(0, 4))]
    if pairs:
        url += "?" + "&".join(quote(k, safe="-_.~") + "=" + quote(v, safe="-_.~") for k, v in pairs)
    method = "GET" if kind.endswith("query") else rng.choice(["GET", "POST", "PUT", "DELETE"])
    body = b"" if method == "GET" else bytes(rng.getrandbits(8) for _ in range(rng.randint(0, 64)))
    headers = {"Host": "localhost:4566"}
    if rng.random() < 0.5:
        headers["X-Custom-Thing"] = "  a   b \t c%d " % rng.randint(0, 9)
    if rng.random() < 0.5 and kind == "header":
        headers["X-Amz-Target"] = "Thing.Do"
    if rng.random() < 0.2 and kind == "header":
        headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    request = AWSRequest(method=method, url=url, headers=headers, data=body)
    cls = {
        "header": auth.SigV4Auth,
        "query": auth.SigV4QueryAuth,
        "s3": auth.S3SigV4Auth,
        "s3query": auth.S3SigV4QueryAuth,
    }[kind]
    cls(Credentials(key, secret, token), service, region).add_auth(request)
    parts = urlsplit(request.url)
    return {
        "kind": kind, "key": key, "secret": secret, "token": token, "service": service, "region": region,
        "now": now.strftime("%Y%m%dT%H%M%SZ"), "method": method, "path": parts.path, "query": parts.query,
        "headers": [[k, v] for k, v in request.headers.items()], "body": body.hex(),
    }


for _ in range(count):
    print(json.dumps(make()))
