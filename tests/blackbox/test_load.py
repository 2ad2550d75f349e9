"""Changes while invocations are under way: none is lost, none fails, and an acknowledged change holds."""

import collections
import threading

from harness import python

CALLERS = 6


def version(text):
    return python(f"def handler(event, context): return {{'code': {text!r}, 'version': context.function_version}}")


class Load:
    """Callers that invoke until they are told to stop; what each was answered."""

    def __init__(self, functions, name):
        self.functions, self.name = functions, name
        self.answers, self.failures, self.stop = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(CALLERS)]

    def run(self):
        while not self.stop.is_set():
            try:
                payload, answer = self.functions.invoke(self.name, {})
                if "FunctionError" in answer:
                    self.failures.append(payload)
                self.answers.append((payload, answer["ExecutedVersion"]))
            except Exception as error:  # noqa: BLE001: whatever it is, it is a failed invocation
                self.failures.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_new_code_under_load_costs_no_invocation(functions, name):
    functions.create(name, version("0"))
    with Load(functions, name) as load:
        for round in range(1, 6):
            functions.lambda_.update_function_code(FunctionName=name, ZipFile=version(str(round)))
            assert functions.invoke(name, {})[0]["code"] == str(round), "the very next call has the new code"
            functions.updated(name)
    assert not load.failures, load.failures[:3]
    counts = collections.Counter(payload["code"] for payload, _ in load.answers)
    assert sum(counts.values()) > 30, counts


def test_a_weighted_alias_under_load(functions, name):
    functions.create(name, version("a"))
    functions.lambda_.publish_version(FunctionName=name)
    functions.lambda_.update_function_code(FunctionName=name, ZipFile=version("b"))
    functions.updated(name)
    functions.lambda_.publish_version(FunctionName=name)
    functions.lambda_.create_alias(
        FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}}
    )
    with Load(functions, f"{name}:live") as load:
        while len(load.answers) < 300 and not load.failures:
            load.stop.wait(0.05)
    assert not load.failures, load.failures[:3]
    assert all(payload["version"] == executed for payload, executed in load.answers)
    counts = collections.Counter(executed for _, executed in load.answers)
    assert set(counts) == {"1", "2"} and min(counts.values()) > 75, counts
    assert {payload["code"] for payload, executed in load.answers if executed == "2"} == {"b"}
