"""botocore against our codecs, both directions, for every generated operation.

    python tests/wire/roundtrip.py [--seed N] [--rounds N] [--probe PATH]

For each service and protocol, with values drawn from a seed:

- botocore's serializer writes a random valid input, our parser reads it, and both must mean the same;
- our serializer writes a random output, botocore's parser reads it, and both must mean the same;
- each error of the model is written by us and read by botocore: code, message and status;
- each constraint is broken once and must be answered with a message that names the member;
- each refused member is sent once and must be answered with an error that names it;
- each operation outside the allow-list must be answered with an error that names it.

The probe is built by cargo unless `--probe` names one. Needs nothing but botocore (tests/requirements.txt).
"""

import argparse
import base64
import datetime
import io
import json
import math
import pathlib
import random
import re
import subprocess
import sys
import tomllib
import urllib.parse

import re._constants as sre
import re._parser as sre_parser
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = ["dynamodb", "dynamodbstreams", "lambda", "logs", "sts", "sqs", "scheduler", "pipes", "events", "sns"]
PROTOCOLS = {
    "json-1.0": "json", "json-1.1": "json", "rest-json": "rest-json", "rest-xml": "rest-xml", "query": "query",
}
REQUEST_ID = "request-1"


class Service:
    """A slim model with its patch applied as far as botocore has to know of it, in one protocol."""

    def __init__(self, name, protocol):
        self.name, self.protocol = name, protocol
        folder = ROOT / "models" / name
        self.patch = tomllib.loads((folder / "patch.toml").read_text())
        raw = json.loads((folder / "model.json").read_text())
        self.unsupported = raw.pop("unsupported", {})
        self.raw = raw
        self.apply_patch()
        self.model = ServiceModel(raw, name)
        botocore_protocol = PROTOCOLS[protocol]
        self.serializer = create_serializer(botocore_protocol, include_validation=False)
        self.parser = create_parser(botocore_protocol)

    def apply_patch(self):
        shapes, meta = self.raw["shapes"], self.raw["metadata"]
        for name, patch in self.patch.get("shapes", {}).items():
            shape = shapes[name]
            for key in ("min", "max", "pattern"):
                if key in patch:
                    shape[key] = patch[key]
            if patch.get("values"):
                shape["enum"] = patch["values"]
            if "entry_names" in patch:
                shape["key"]["locationName"], shape["value"]["locationName"] = patch["entry_names"]
        if self.protocol == "query" and meta["protocol"] != "query":
            meta["protocol"] = "query"
            meta["protocols"] = ["query"]
            meta["xmlNamespace"] = self.patch["xml_namespace"]
            meta.pop("awsQueryCompatible", None)
            for path, form in self.patch.get("form_names", {}).items():
                shape, member = path.split(".")
                shapes[shape]["members"][member]["locationName"] = form
            for name, operation in self.raw["operations"].items():
                if "output" in operation:
                    operation["output"].setdefault("resultWrapper", name + "Result")

    def mark(self, shape, member):
        for kind, members in self.patch["marks"].get(shape, {}).items():
            if member in members:
                return kind, members[member] if isinstance(members, dict) else None
        return None, None


class Values:
    """Random values of shapes that satisfy their constraints."""

    def __init__(self, service, rng):
        self.service, self.rng, self.full = service, rng, False
        self.within = []  # structures that the value being made lies in

    def open_enum(self, shape):
        return shape.name in self.service.patch.get("open_enums", [])

    def value(self, shape, inputs=True):
        rng = self.rng
        kind = shape.type_name
        if shape.serialization.get("eventstream"):
            return [self.event(shape, inputs) for _ in range(rng.randint(0, 4))]
        if kind == "structure":
            self.within.append(shape.name)
            try:
                return self.structure(shape, inputs)
            finally:
                self.within.pop()
        if kind == "list":
            low, high = self.bounds(shape, 3)
            return [self.value(shape.member, inputs) for _ in range(rng.randint(low, high))]
        if kind == "map":
            low, high = self.bounds(shape, 3)
            found = {}
            while len(found) < max(low, rng.randint(low, high)):
                found[self.value(shape.key, inputs)] = self.value(shape.value, inputs)
            return found
        if kind == "boolean":
            return rng.random() < 0.5
        if kind in ("integer", "long"):
            edge = 2**31 - 1 if kind == "integer" else 2**63 - 1
            low, high = shape.metadata.get("min", -edge - 1), shape.metadata.get("max", edge)
            return rng.choice([int(low), int(high), rng.randint(int(low), int(high))])
        if kind in ("double", "float"):
            low, high = shape.metadata.get("min", -1e6), shape.metadata.get("max", 1e6)
            return rng.uniform(low, high)
        if kind == "blob":
            return rng.randbytes(rng.choice([1, 2, 3, 50]))
        if kind == "timestamp":
            return datetime.datetime.fromtimestamp(rng.randint(0, 4_000_000_000), datetime.timezone.utc)
        return self.text(shape)

    def event(self, stream, inputs):
        """One of the stream's events; a payload of its own is always there, for it cannot be told from an empty one."""
        name, shape = self.rng.choice(list(stream.members.items()))
        event = self.structure(shape, inputs)
        for member, target in shape.members.items():
            if target.serialization.get("eventpayload"):
                event[member] = self.value(target, inputs)
        return {name: event}

    def bounds(self, shape, most):
        low = int(shape.metadata.get("min", 0))
        # A form or query string cannot tell an empty list from none, so a required one is never empty here.
        low = max(low, 1) if self.full else low
        return low, max(low, min(int(shape.metadata.get("max", most)), most))

    def structure(self, shape, inputs):
        rng, found = self.rng, {}
        members = list(shape.members.items())
        if self.within.count(shape.name) > 2:  # a shape that holds itself comes to an end
            members = [pair for pair in members if pair[1].type_name not in ("structure", "list", "map")]
        if shape.metadata.get("union"):
            members = [rng.choice(members)]  # botocore reads one member of a union, and no other number of them
        for name, member in members:
            mark, unless = self.service.mark(shape.name, name) if inputs else (None, None)
            if mark in ("rejected", "rejected_unless_empty"):
                continue
            wanted = name in shape.required_members or rng.random() < 0.6 or bool(shape.metadata.get("union"))
            if not wanted:
                continue
            location = member.serialization.get("location")
            if location == "statusCode":
                found[name] = rng.choice([200, 202])
            elif mark == "rejected_unless":
                found[name] = unless
            else:
                self.full = name in shape.required_members
                found[name] = self.value(member, inputs)
                self.full = False
                if location in ("header", "uri") and isinstance(found[name], str):
                    # A header has no white space at its ends, a label is not empty.
                    found[name] = re.sub(r"[^\x21-\x7e]", "", found[name]) or "x"
                    found[name] = found[name].ljust(int(member.metadata.get("min", 0)), "x")
                if location == "headers":
                    found[name] = {
                        re.sub(r"[^a-z0-9-]", "", key.lower()) or "x": re.sub(r"[^\x21-\x7e]", "", value) or "x"
                        for key, value in found[name].items()
                    }
                if member.serialization.get("streaming"):
                    found.pop(name)  # the probe reads what travels beside a body that is handed on
        return found

    def text(self, shape):
        if shape.enum and not self.open_enum(shape):
            return self.rng.choice(shape.enum)
        low, high = int(shape.metadata.get("min", 0)), int(shape.metadata.get("max", 60))
        pattern = shape.metadata.get("pattern")
        if pattern is None:
            alphabet = "abcXYZ019 _-./:&<>\"'+%=?#\u00e9\u4e2d\U0001f600\t\n"
            size = self.rng.randint(max(low, 1), max(1, low, min(high, 20)))
            return "".join(self.rng.choice(alphabet) for _ in range(size))
        # Python knows no classes of Unicode; a part of each will do.
        pattern = pattern.replace("\\p{L}", "a-z\u00e9").replace("\\p{Z}", " ").replace("\\p{N}", "0-9")
        for _ in range(500):
            text = generate(pattern, self.rng)
            if low <= len(text) <= high and re.fullmatch(pattern, text, re.ASCII):
                return text
        raise AssertionError(f"no text found for {shape.name}: {pattern}")


def generate(pattern, rng):
    """A text that matches, unless a look-around objects."""
    return "".join(walk(sre_parser.parse(pattern), rng))


def walk(nodes, rng):
    for op, argument in nodes:
        if op is sre.LITERAL:
            yield chr(argument)
        elif op is sre.NOT_LITERAL:
            yield rng.choice([char for char in "abc019" if char != chr(argument)])
        elif op is sre.ANY:
            yield rng.choice("abc XYZ019-_./")
        elif op is sre.IN:
            yield pick(argument, rng)
        elif op is sre.BRANCH:
            yield from walk(rng.choice(argument[1]), rng)
        elif op is sre.SUBPATTERN:
            yield from walk(argument[3], rng)
        elif op in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            low, high, inner = argument
            for _ in range(rng.randint(low, min(high, low + rng.choice([1, 12, 120])))):
                yield from walk(inner, rng)
        elif op in (sre.AT, sre.ASSERT, sre.ASSERT_NOT):
            continue
        else:
            raise AssertionError(f"{op} is not known here")


CLASSES = {
    sre.CATEGORY_DIGIT: "0123456789",
    sre.CATEGORY_WORD: "abcXYZ019_",
    sre.CATEGORY_SPACE: " \t",
    sre.CATEGORY_NOT_SPACE: "aZ0-_",
}


def pick(items, rng):
    if items[0][0] is sre.NEGATE:
        refused = re.compile("[" + "".join(re.escape(chr(a)) for op, a in items[1:] if op is sre.LITERAL) + "\\s]")
        return rng.choice([char for char in "abcXYZ019-_./$[]" if not refused.match(char)])
    op, argument = rng.choice(items)
    if op is sre.LITERAL:
        return chr(argument)
    if op is sre.RANGE:
        return chr(rng.randint(argument[0], min(argument[1], argument[0] + 200)))
    return rng.choice(CLASSES[argument])


def canonical(shape, value, names):
    """What both sides must agree on: names on the wire, base64, seconds."""
    kind = shape.type_name
    if shape.serialization.get("eventstream"):
        return [{name: canonical(shape.members[name], item, names) for name, item in event.items()} for event in value]
    if kind == "structure":
        found = {}
        for name, item in value.items():
            member = shape.members[name]
            wire = member.serialization.get("name", name) if names else name
            found[wire] = canonical(member, item, names)
        return found
    if kind == "list":
        return [canonical(shape.member, item, names) for item in value]
    if kind == "map":
        return {key: canonical(shape.value, item, names) for key, item in value.items()}
    if kind == "blob":
        if hasattr(value, "read"):
            value = value.read()
        return base64.b64encode(value).decode()
    if kind == "timestamp":
        form = shape.serialization.get("timestampFormat") if names else None
        if form == "rfc822":
            return value.strftime("%a, %d %b %Y %H:%M:%S GMT")
        if form == "iso8601":
            fraction = f".{value.microsecond // 1000:03}" if value.microsecond else ""
            return value.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z"
        return value.timestamp()
    return value


def said(value):
    """What an XML document can say: neither empty lists nor empty maps, nor a structure without members."""
    if isinstance(value, dict):
        found = {key: said(item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item not in (None, {}, [], "")}
    if isinstance(value, list):
        return [said(item) for item in value]
    return value


def same(left, right):
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right))
    if isinstance(left, float) and isinstance(right, (int, float)) or isinstance(right, float) and isinstance(left, int):
        return math.isclose(left, right, rel_tol=1e-12)
    return type(left) is type(right) and left == right


class Probe:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the probe died of {order}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def http_order(service, operation, params):
    request = service.serializer.serialize_to_request(params, operation)
    prepare_request_dict(request, "http://127.0.0.1:4566")
    prepared = create_request_object(request).prepare()
    uri = prepared.url.removeprefix("http://127.0.0.1:4566")
    headers = [[name, value if isinstance(value, str) else value.decode()] for name, value in prepared.headers.items()]
    body = prepared.body or b""
    if hasattr(body, "read"):
        body = body.read()
    if isinstance(body, str):
        body = body.encode()
    order = {"service": service.name, "method": prepared.method, "uri": uri, "headers": headers}
    return order | {"body": base64.b64encode(body).decode()}


class Streamed(io.BytesIO):
    """A body as botocore reads event streams from it: in pieces that respect no frame."""

    def stream(self):
        while piece := self.read(7):
            yield piece


def parse(service, answer, shape, streaming=False):
    body = base64.b64decode(answer["body"])
    response = {
        "status_code": answer["status"],
        "headers": HeadersDict(dict(answer["headers"])),
        "body": Streamed(body) if streaming else body,
        "context": {"operation_name": "Operation"},
    }
    return service.parser.parse(response, shape)


class Checks:
    def __init__(self, probe, rng, rounds):
        self.probe, self.rng, self.rounds = probe, rng, rounds
        self.counts, self.failures = {}, []

    def check(self, what, ok, detail):
        self.counts[what] = self.counts.get(what, 0) + 1
        if not ok:
            self.failures.append(f"{what}: {detail}")

    def run(self, service):
        values = Values(service, self.rng)
        for name in service.model.operation_names:
            operation = service.model.operation_model(name)
            for _ in range(self.rounds):
                self.request(service, operation, values)
                self.response(service, operation, values)
            self.errors(service, operation)
            self.broken(service, operation, values)
            self.refused(service, operation, values)
        self.outside(service)

    def request(self, service, operation, values):
        params = values.value(operation.input_shape)
        if service.protocol == "query":
            params = without_empty(params)
        order = http_order(service, operation, params)
        answer = self.probe.ask(order | {"do": "request"})
        expected = normal(canonical(operation.input_shape, params, names=True), service, operation.input_shape)
        read = answer.get("input")
        if service.protocol == "rest-xml":
            expected, read = said(expected), said(read)
        ok = answer.get("operation") == operation.name and same(read, expected)
        self.check("request", ok, f"{service.name} {service.protocol} {operation.name}\n  {expected}\n  {answer}")

    def response(self, service, operation, values):
        shape = operation.output_shape
        output = values.value(shape, inputs=False) if shape else {}
        if service.protocol == "query":
            output = without_empty(output)
        head = http_order(service, operation, values.value(operation.input_shape))
        document = canonical(shape, output, names=True) if shape else {}
        if service.protocol == "query" and shape:
            document = json_names(shape, output)
        answer = self.probe.ask(head | {"do": "response", "operation": operation.name, "output": document})
        streaming = operation.has_streaming_output or operation.has_event_stream_output
        parsed = parse(service, answer, shape, streaming)
        metadata = parsed.pop("ResponseMetadata", {})
        found = canonical(shape, parsed, names=False) if shape else parsed
        expected = canonical(shape, output, names=False) if shape else {}
        if shape:
            expected = filled(shape, expected, answer)
            if answer["status"] == 204:
                located = {k for k, member in shape.members.items() if member.serialization.get("location")}
                expected = {k: v for k, v in expected.items() if k in located}
        if service.protocol == "rest-xml":
            expected, found = said(expected), said(found)
        ok = same(found, expected) and metadata.get("RequestId") == REQUEST_ID
        where = f"{service.name} {service.protocol} {operation.name}"
        self.check("response", ok, f"{where}\n  {expected}\n  {found}\n  {metadata} {base64.b64decode(answer['body'])[:600]}")

    def errors(self, service, operation):
        head = http_order(service, operation, Values(service, self.rng).value(operation.input_shape))
        for shape in operation.error_shapes:
            message = self.rng.choice(["It is not there.", 'A "quoted" <name> & more: \u00e9'])
            answer = self.probe.ask(head | {"do": "error", "code": shape.name, "message": message})
            parsed = parse(service, answer, operation.output_shape)
            error, metadata = parsed.get("Error", {}), parsed.get("ResponseMetadata", {})
            patch = service.patch.get("errors", {}).get(shape.name, {})
            trait = shape.metadata.get("error", {})
            ours = 500 if service.raw["shapes"][shape.name].get("fault") else 400
            status = patch.get("status", trait.get("httpStatusCode", ours))
            code = shape.name
            if service.protocol == "query" or service.name == "sqs":
                code = patch.get("code", trait.get("code", shape.name))
            ok = (error.get("Code"), error.get("Message"), metadata.get("HTTPStatusCode")) == (code, message, status)
            ok = ok and metadata.get("RequestId") == REQUEST_ID
            if service.name == "sqs" and service.protocol != "query":
                ok = ok and error.get("QueryErrorCode") == shape.name and error.get("Type") == "Sender"
            self.check("error", ok, f"{service.name} {service.protocol} {shape.name} {status}: {parsed}")

    def broken(self, service, operation, values):
        shape = operation.input_shape
        for name, member in shape.members.items():
            bad = self.violate(service, shape, name, member)
            if bad is None:
                continue
            params = values.value(shape) | {name: bad}
            order = http_order(service, operation, params)
            answer = self.probe.ask(order | {"do": "request"})
            path = name[0].lower() + name[1:]
            said = re.search(rf"^\d+ validation errors? detected: .*'{path}' failed to satisfy constraint: Member must ",
                             answer.get("message", ""))
            self.check("constraint", said is not None, f"{service.name} {operation.name}.{name}: {answer}")

    def violate(self, service, shape, name, member):
        """A value that breaks a constraint of a text or number, if it has one."""
        if service.mark(shape.name, name)[0] not in ("enforced", "stored"):
            return None
        limit, kind = member.metadata.get("max"), member.type_name
        if kind == "string" and member.enum and member.name not in service.patch.get("open_enums", []):
            return "no-such-value"
        if kind == "string" and limit is not None:
            return "x" * (int(limit) + 1)
        if kind in ("integer", "long") and limit is not None:
            return int(limit) + 1
        if kind in ("integer", "long") and member.metadata.get("min") is not None:
            return int(member.metadata["min"]) - 1
        return None

    def refused(self, service, operation, values):
        shape = operation.input_shape
        for name, member in shape.members.items():
            mark, _ = service.mark(shape.name, name)
            if mark not in ("rejected", "rejected_unless_empty") or member.type_name == "structure":
                continue
            plain = Values(service, self.rng)
            bad = [plain.value(member.member)] if member.type_name == "list" else plain.value(member)
            if member.type_name == "boolean":
                bad = True
            if bad == [{}]:
                bad = [{first: plain.value(target) for first, target in member.member.members.items()}]
            answer = self.probe.ask(http_order(service, operation, values.value(shape) | {name: bad}) | {"do": "request"})
            told = answer.get("message", "")
            ok = answer.get("status") == 501 and f" {name} of {operation.name}" in told
            if not ok and member.type_name == "list" and member.member.type_name == "structure":
                # What is refused is not described to the end here: that it lacks something may be said first.
                ok = answer.get("status") == 400 and f"'{name[0].lower()}{name[1:]}.1.member" in told
            self.check("refused member", ok, f"{service.name} {operation.name}.{name}={bad!r}: {answer}")

    def outside(self, service):
        for name, http in service.unsupported.items():
            order = {"service": service.name, "do": "request", "method": http["method"], "headers": [], "body": ""}
            if service.protocol in ("rest-json", "rest-xml"):
                order["uri"] = re.sub(r"\{[^}]*\}", "x", http["requestUri"])
            elif service.protocol == "query":
                order |= {"uri": "/", "headers": [["content-type", "application/x-www-form-urlencoded"]]}
                version = service.raw["metadata"]["apiVersion"]
                form = urllib.parse.urlencode({"Action": name, "Version": version})
                order["body"] = base64.b64encode(form.encode()).decode()
            else:
                target = service.raw["metadata"]["targetPrefix"] + "." + name
                kind = "application/x-amz-" + service.protocol
                order |= {"uri": "/", "headers": [["content-type", kind], ["x-amz-target", target]]}
            answer = self.probe.ask(order)
            ok = answer.get("status") == 501 and name in answer.get("message", "")
            self.check("unsupported operation", ok, f"{service.name} {name}: {answer}")


def without_empty(value):
    """The query protocol cannot tell an empty list or map from none (and says nothing of empty structures)."""
    if isinstance(value, dict):
        cleaned = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item not in ({}, [])}
    if isinstance(value, list):
        return [item for item in map(without_empty, value) if item != {}]
    return value


def json_names(shape, value):
    """An output for the probe, which takes JSON: the model's names, whatever they are in a form."""
    return canonical(shape, value, names=False)


def normal(expected, service, shape):
    """Our canonical form has JSON's names; a form's differ where the patch says so."""
    if service.protocol != "query" or service.name != "sqs":
        return expected
    return rename(expected, shape)


def rename(value, shape):
    if shape.type_name == "structure":
        back = {member.serialization.get("name", name): (name, member) for name, member in shape.members.items()}
        return {back[wire][0]: rename(item, back[wire][1]) for wire, item in value.items()}
    if shape.type_name == "list":
        return [rename(item, shape.member) for item in value]
    if shape.type_name == "map":
        return {key: rename(item, shape.value) for key, item in value.items()}
    return value


def filled(shape, expected, answer):
    """Required members of an answer are always written; a status member is read from the status."""
    for name, member in shape.members.items():
        if member.serialization.get("location") == "statusCode":
            expected[name] = answer["status"]
    payload = shape.serialization.get("payload")
    if payload and shape.members[payload].type_name == "blob":
        expected.setdefault(payload, "")
    if payload and shape.members[payload].serialization.get("eventstream"):
        expected.setdefault(payload, [])
        # A stream's own type may be a member; without one it is said all the same.
        said = dict(answer["headers"]).get("content-type")
        for name, member in shape.members.items():
            if member.serialization.get("name", "").lower() == "content-type" and said:
                expected.setdefault(name, "application/vnd.amazon.eventstream")
    return expected


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--probe")
    arguments = parser.parse_args()
    path = arguments.probe or build()
    probe = Probe(path)
    checks = Checks(probe, random.Random(arguments.seed), arguments.rounds)
    for name in SERVICES:
        for protocol in tomllib.loads((ROOT / "models" / name / "patch.toml").read_text())["protocols"]:
            checks.run(Service(name, protocol))
    checks.check("probe", probe.close() == 0, "the probe failed")
    for failure in checks.failures[:20]:
        print(failure, file=sys.stderr)
    print(f"seed {arguments.seed}: " + ", ".join(f"{count} {what}" for what, count in checks.counts.items()))
    print(f"{len(checks.failures)} failures")
    return 1 if checks.failures else 0


def build():
    command = ["cargo", "build", "--quiet", "--package", "wire-probe", "--message-format", "json"]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = [json.loads(line).get("executable") for line in output.splitlines() if line.startswith("{")]
    return [path for path in found if path][-1]


if __name__ == "__main__":
    sys.exit(main())
