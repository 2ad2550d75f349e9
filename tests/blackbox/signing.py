"""A client for functions under test: it signs as AWS's clients do, with nothing but the standard library."""

CLIENT = '''
import datetime, hashlib, hmac, json, os, urllib.error, urllib.parse, urllib.request

def call(path, body, service="lambda", **headers):
    """POST to the endpoint on the function's own loopback; (status, body)."""
    endpoint, region = os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_REGION"]
    host, now = endpoint.split("//")[1], datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    signed = {"host": host, "x-amz-date": stamp, "x-amz-security-token": os.environ["AWS_SESSION_TOKEN"]}
    signed |= {name: value for name, value in headers.items() if name.startswith("x-amz-")}
    names = ";".join(sorted(signed))
    canonical = "\\n".join(
        ["POST", urllib.parse.quote(path), "", *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names,
         hashlib.sha256(body).hexdigest()]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    signed["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    request = urllib.request.Request(endpoint + path, body, signed | headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()

def invoke(name, event, **headers):
    status, body = call(f"/2015-03-31/functions/{name}/invocations", json.dumps(event).encode(), **headers)
    return status, json.loads(body) if body else None
'''
