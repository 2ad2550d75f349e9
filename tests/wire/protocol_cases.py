"""The protocol test data of AWS, as botocore's source distribution carries it, through our codecs.

    python tests/wire/protocol_cases.py --data FOLDER/tests/unit/protocols [--probe PATH]

The data is not part of this repository: `pip download botocore --no-binary :all: --no-deps` has it. Every case has shapes
of its own, so the probe runs them without generated code.

- input cases: the request that the data demands of a client is read by us and must give the case's parameters;
- output cases: the case's result is written by us and must be read by botocore as that result.

Cases that need what these codecs do not have (documents, event streams) are counted as skipped.
"""

import argparse
import base64
import copy
import datetime
import json
import math
import pathlib
import sys
import urllib.parse

from botocore.awsrequest import HeadersDict
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import PROTOCOL_PARSERS
from botocore.serialize import SERIALIZERS
from dateutil.tz import tzutc

from roundtrip import Probe, build, same

FILES = ["json.json", "json_1_0.json", "json_1_0-query-compatible.json", "rest-json.json", "rest-xml.json", "query.json"]
# What the data shows and these cases do not ask of a server, by the case's id.
NOT_OURS = {
    "AllQueryStringTypes": "a server sees a named parameter in the map, too",
    "BodyWithXmlName": "botocore calls a member by its structure's own name",
    "HttpPayloadTraitsWithNoBlobBody": "botocore gives an empty blob for an empty body",
    "HttpPrefixHeadersAreNotPresent": "a client says nothing of an empty map",
    "IgnoreQueryParamsInResponse": "an answer has no query string",
    "NullAndEmptyHeaders": "a client says nothing of an empty list",
    "QueryIdempotencyTokenAutoFill": "the parameters lack the token that the request has",
    "RestXmlHttpPayloadWithUnsetUnion": "no codec for unions",
    "RestXmlQueryParamsStringListMap": "a server sees a named parameter in the map, too",
    "RestXmlQueryPrecedence": "which of two values a client sends",
    "RestXmlQueryStringEscaping": "a server sees a named parameter in the map, too",
    "RestXmlSupportsInfinityFloatQueryValues": "a server sees a named parameter in the map, too",
    "RestXmlSupportsNaNFloatQueryValues": "a server sees a named parameter in the map, too",
    "RestXmlSupportsNegativeInfinityFloatQueryValues": "a server sees a named parameter in the map, too",
    "RestXmlZeroAndFalseQueryValues": "a server sees a named parameter in the map, too",
    "DocumentTypeAsMapValueOutput": "no codec for documents",
    "HttpPrefixHeadersResponse": "an empty prefix takes the request's id, too",
    "MediaTypeHeaderInputBase64": "JSON inside a header is a text to us",
    "MediaTypeHeaderOutputBase64": "JSON inside a header is a text to us",
    "QueryEmptyQueryMaps": "a client says nothing of an empty map",
    "QueryProtocolIdempotencyTokenAutoFill": "the parameters lack the token that the request has",
    "QueryXmlLists": "botocore reads a flattened list by its items' name, though the member has its own",
    "RestJsonHttpPayloadTraitsWithNoBlobBody": "botocore gives an empty blob for an empty body",
    "RestJsonHttpPayloadWithUnsetUnion": "no codec for unions",
    "RestJsonHttpWithEmptyStructurePayload": "the parameters lack the empty structure that the request has",
    "RestJsonHttpWithHeadersButNoPayload": "the parameters lack the empty structure that the request has",
    "RestJsonInputAndOutputWithQuotedStringHeaders": "botocore does not read quoted items",
    "RestJsonInputAndOutputWithTimestampHeaders": "botocore does not read lists of dates",
    "RestJsonQueryIdempotencyTokenAutoFill": "the parameters lack the token that the request has",
    "RestJsonQueryParamsStringListMap": "a server sees a named parameter in the map, too",
    "RestJsonQueryPrecedence": "which of two values a client sends",
    "RestJsonHostWithPath": "the host of AWS's endpoints has no path",
    "RestJsonHttpPrefixHeadersAreNotPresent": "a client says nothing of an empty map",
    "RestJsonNullAndEmptyHeaders": "a client says nothing of an empty list",
    "RestJsonOmitsEmptyListQueryValues": "a client says nothing of an empty list",
}


def is_excluded(direction, name):
    # Compressed requests: only operations with a trait of its own may send them, and no service here has one.
    if direction == "input" and name.endswith(("WithQuotedStringHeaders", "WithTimestampHeaders")):
        return False
    if direction == "output" and name == "XmlLists":
        return True  # botocore reads a flattened list by its items' name, though the member has its own
    if direction == "output" and name == "InputAndOutputWithTimestampHeaders":
        return True  # botocore does not read lists of dates
    return name in NOT_OURS or name.startswith("SDKAppl") or name.startswith("SDKAppend")


def model(description, case):
    description = copy.deepcopy(description)
    name = case["given"].get("name", "OperationName")
    description["operations"] = {name: case["given"]}
    service = ServiceModel(description)
    return service, OperationModel(case["given"], service)


def seconds(value):
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    return value


def canonical(shape, value, names):
    kind = shape.type_name
    if value is None:
        return None
    if kind == "structure" and not isinstance(value, dict):
        return value  # a document, which the probe will refuse
    if kind == "structure":
        found = {}
        for name, item in value.items():
            if name in shape.members and item is not None:
                wire = shape.members[name].serialization.get("name", name) if names else name
                found[wire] = canonical(shape.members[name], item, names)
        return found
    if kind == "list":
        return [canonical(shape.member, item, names) for item in value]
    if kind == "map":
        return {key: canonical(shape.value, item, names) for key, item in value.items()}
    if kind == "blob":
        if hasattr(value, "read"):
            value = value.read()
        return base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode()
    if kind == "timestamp":
        value = seconds(value)
        form = shape.serialization.get("timestampFormat")
        if names and form in ("iso8601", "rfc822"):
            instant = datetime.datetime.fromtimestamp(value, tzutc())
            if form == "rfc822":
                return instant.strftime("%a, %d %b %Y %H:%M:%S GMT")
            text = instant.strftime("%Y-%m-%dT%H:%M:%S")
            return text + (f".{instant.microsecond // 1000:03}Z" if instant.microsecond else "Z")
        return value
    if kind in ("float", "double"):
        if isinstance(value, str):
            return value
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return float(value)
    return value


def floats(shape, value):
    """What a client passes: numbers without digits are spelt in the data."""
    if shape.type_name == "structure":
        return {k: floats(shape.members[k], v) for k, v in value.items()}
    if shape.type_name == "list":
        return [floats(shape.member, v) for v in value]
    if shape.type_name == "map":
        return {k: floats(shape.value, v) for k, v in value.items()}
    if shape.type_name in ("float", "double") and isinstance(value, str):
        return float(value)
    return value


def without_null(value):
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_null(item) for item in value]
    return value


class Cases:
    def __init__(self, probe):
        self.probe, self.counts, self.failures = probe, {}, []

    def note(self, what, outcome, detail=""):
        self.counts[what, outcome] = self.counts.get((what, outcome), 0) + 1
        if outcome == "failed":
            self.failures.append(f"{what}: {detail}")

    def head(self, description, case, service, operation, params):
        serializer = SERIALIZERS[service.metadata["protocol"]]()
        serialized = serializer.serialize_to_request(params, operation)
        wanted = case.get("serialized", {})
        uri = wanted.get("uri")
        if uri is None:
            uri = serialized["url_path"]
            if serialized["query_string"]:
                uri += "?" + urllib.parse.urlencode(serialized["query_string"], doseq=True)
        body = wanted.get("body", serialized["body"])
        if isinstance(body, dict):
            body = urllib.parse.urlencode(body)
        body = body.encode() if isinstance(body, str) else body or b""
        headers = {name.lower(): value for name, value in serialized["headers"].items()}
        headers |= {name.lower(): value for name, value in wanted.get("headers", {}).items()}
        headers = [[name, value.decode() if isinstance(value, bytes) else str(value)] for name, value in headers.items()]
        described = {"metadata": description["metadata"], "shapes": description["shapes"], "operation": case["given"]}
        return {
            "service": "dynamic", "description": described, "method": serialized["method"], "uri": uri,
            "headers": headers, "body": base64.b64encode(body).decode(),
        }

    def input(self, file, description, case):
        what = f"input {file}"
        service, operation = model(description, case)
        shape = operation.input_shape
        params = case.get("params", {})
        try:
            order = self.head(description, case, service, operation, floats(shape, params) if shape else {})
        except Exception as error:  # the data is of another version than botocore
            return self.note(what, f"skipped: botocore says {error}")
        answer = self.probe.ask(order | {"do": "request"})
        if "skipped" in answer:
            return self.note(what, "skipped: " + answer["skipped"])
        expected = without_null(canonical(shape, params, True)) if shape else {}
        ok = same(answer.get("input"), expected)
        self.note(what, "passed" if ok else "failed", f"{case.get('id')} {order['method']} {order['uri']} "
                  f"{base64.b64decode(order['body'])}\n  {expected}\n  {answer}")

    def output(self, file, description, case):
        what = f"output {file}"
        if "result" not in case:
            return self.note(what, "skipped: an error's case")
        service, operation = model(description, case)
        shape = operation.output_shape
        result = case["result"]
        document = without_null(canonical(shape, result, True)) if shape else {}
        case = case | {"serialized": {"uri": "/"}}
        try:
            order = self.head(description, case, service, operation, {})
        except Exception as error:
            return self.note(what, f"skipped: botocore says {error}")
        answer = self.probe.ask(order | {"do": "response", "operation": operation.name, "output": document})
        if "skipped" in answer:
            return self.note(what, "skipped: " + answer["skipped"])
        if "failed" in answer:
            return self.note(what, "failed", f"{case.get('id')} {document} {answer}")
        parser = PROTOCOL_PARSERS[service.metadata["protocol"]]()
        body = base64.b64decode(answer["body"])
        response = {"status_code": answer["status"], "headers": HeadersDict(dict(answer["headers"])), "body": body,
                    "context": {"operation_name": operation.name}}
        try:
            parsed = parser.parse(response, shape)
        except Exception as error:
            return self.note(what, "failed", f"{case.get('id')} {document} {body} {error}")
        parsed.pop("ResponseMetadata", None)
        found = without_null(canonical(shape, parsed, False)) if shape else parsed
        expected = without_null(canonical(shape, result, False)) if shape else {}
        ok = same(found, expected)
        self.note(what, "passed" if ok else "failed", f"{case.get('id')}\n  {expected}\n  {found}\n  {body[:400]}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--probe")
    arguments = parser.parse_args()
    probe = Probe(arguments.probe or build())
    cases = Cases(probe)
    for direction in ("input", "output"):
        for file in FILES:
            for description in json.loads((arguments.data / direction / file).read_text()):
                for case in description["cases"]:
                    if not is_excluded(direction, case.get("id", "")):
                        getattr(cases, direction)(file, description, case)
    probe.close()
    for failure in cases.failures:
        print(failure, file=sys.stderr)
    for (what, outcome), count in sorted(cases.counts.items()):
        print(f"{what}: {count} {outcome}")
    return 1 if cases.failures else 0


if __name__ == "__main__":
    sys.exit(main())
