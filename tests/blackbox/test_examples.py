"""Every example is deployed as its reader would, and does what its README says."""

import json
import pathlib
import shutil

import boto3
import pytest

from harness import ROOT

EXAMPLES = ROOT / "examples"


def copied(example, tmp_path):
    """A copy, so that no build output lands in the tree."""
    copy = tmp_path / example
    shutil.copytree(EXAMPLES / example, copy, ignore=shutil.ignore_patterns("target", "node_modules", "__pycache__"))
    return copy


def deploy(server, example, tmp_path):
    return json.loads(server.pileus("deploy", str(copied(example, tmp_path)), "--json", timeout=900).stdout)


def test_every_example_is_tried_here():
    tried = {"hello", "hello-node", "hello-rust", "self-call"}
    there = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert there == tried
    for example in there:
        assert (EXAMPLES / example / "README.md").is_file() and (EXAMPLES / example / "pileus.toml").is_file()


@pytest.mark.parametrize("example", ["hello", "hello-node"])
def test_hello_greets_by_invocation_and_by_url(server, tmp_path, example):
    deployed = deploy(server, example, tmp_path)
    answer = json.loads(server.pileus("invoke", example, "--payload", '{"name":"Ada"}').stdout)
    assert answer["message"] == "Hello, Ada!"
    host = deployed["url"].split("/")[2]
    status, headers, body = server.raw("GET", "/?name=Grace", None, {"Host": host})
    assert status == 200 and json.loads(body)["message"] == "Hello, Grace!"


@pytest.mark.slow
def test_hello_rust_is_built_and_runs_natively(server, tmp_path):
    deploy(server, "hello-rust", tmp_path)
    answer = json.loads(server.pileus("invoke", "hello-rust", "--payload", '{"name":"Ada"}').stdout)
    assert answer["message"] == "Hello, Ada!"


def bundle_boto3(into):
    """What `pip install --target` would put there, but for the descriptions of services that the example does not call."""
    packages = pathlib.Path(boto3.__file__).parent.parent
    kept = {"lambda", "sts", "endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json"}

    def ignore(folder, names):
        skipped = {name for name in names if name == "__pycache__"}
        if pathlib.Path(folder).name == "data":
            skipped |= set(names) - kept
        return skipped

    for package in ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3"]:
        shutil.copytree(packages / package, into / package, ignore=ignore)
    shutil.copy(packages / "six.py", into)


def test_self_call_asks_the_platform_from_inside(server, tmp_path):
    deploy(server, "hello", tmp_path)
    copy = copied("self-call", tmp_path)
    bundle_boto3(copy)
    server.pileus("deploy", str(copy))
    answer = json.loads(server.pileus("invoke", "self-call", "--payload", '{"function":"hello"}').stdout)
    assert answer["answer"]["message"] == "Hello, self-call!"
    assert "hello" in answer["functions"] and "self-call" in answer["functions"]
    assert ":assumed-role/" in answer["identity"]
