"""What the platform writes into a function's log."""

import json
import re

from harness import eventually, python


def lines(functions, name, enough):
    found = eventually(lambda: (found := functions.messages(name)) and enough(found) and found, what="the lines")
    return [line.rstrip("\n") for line in found]


def test_a_failed_initialisation_is_tried_again_and_both_are_reported(functions, name):
    functions.create(name, python("raise RuntimeError('not today')\ndef handler(event, context): pass"))
    payload, answer = functions.invoke(name)
    assert answer["FunctionError"] == "Unhandled" and payload["errorType"] == "RuntimeError"
    found = "\n".join(lines(functions, name, lambda all: any(line.startswith("REPORT") for line in all)))
    reports = re.findall(r"^INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: (\w+)\tStatus: (\w+)\tError Type: (\S+)$", found, re.M)
    assert [report[:2] for report in reports] == [("init", "error"), ("invoke", "error")], found
    assert re.search(r"^REPORT RequestId: \S+\tDuration: .*\tStatus: error\tError Type: \S+\tIsolation: ", found, re.M), found
    assert found.index("Phase: invoke") < found.index("START RequestId") < found.index("END RequestId")


def test_an_initialisation_that_is_too_slow_gets_the_functions_own_time(functions, name):
    code = python("import time\ntime.sleep(11)\ndef handler(event, context): return 'in time'")
    functions.create(name, code, Timeout=20)
    payload, answer = functions.invoke(name)
    assert payload == "in time" and "FunctionError" not in answer
    found = "\n".join(lines(functions, name, lambda all: any(line.startswith("REPORT") for line in all)))
    assert re.search(r"^INIT_REPORT Init Duration: 1\d{4}\.\d\d ms\tPhase: init\tStatus: timeout$", found, re.M), found
    report = re.search(r"^REPORT .*\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\t", found, re.M)
    assert float(report[1]) > 11_000 and "\tInit Duration" not in report.string[report.start() :], "it is part of the invocation"


def test_records_of_the_platform_in_json_pass_by_their_level(functions, name):
    code = python("def handler(event, context):\n    if event == 'raise': raise ValueError('x')\n    return event")
    for level, expected in (
        ("DEBUG", {"platform.initStart", "platform.initReport", "platform.start", "platform.runtimeDone", "platform.report"}),
        ("INFO", {"platform.initStart", "platform.start", "platform.report"}),
        ("WARN", set()),
    ):
        function = f"{name}-{level.lower()}"
        functions.create(
            function, code, LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": level, "ApplicationLogLevel": "ERROR"}
        )
        payload, _ = functions.invoke(function, 7)
        assert payload == 7
        _, answer = functions.invoke(function, "raise")
        # The failure is a warning: every level tells it.
        request = answer["ResponseMetadata"]["RequestId"]
        found = lines(functions, function, lambda all: any(request in line and "platform.report" in line for line in all))
        records = [record for line in found if "type" in (record := json.loads(line))]
        told = {record["type"] for record in records if record["record"].get("requestId") != request}
        assert told == expected, (level, records)
        (report,) = [record for record in records if record["type"] == "platform.report" and record["record"]["requestId"] == request]
        assert report["record"]["status"] == "error" and report["record"]["metrics"]["memorySizeMB"] == 128
        assert report["record"]["isolation"] and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", report["time"])
