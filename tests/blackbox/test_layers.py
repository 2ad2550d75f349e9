"""Layers: published, permitted, used from `/opt`, and outliving their deletion."""

import base64
import hashlib
import json
import urllib.request
import zipfile
import io

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, PYTHON, REGION, ROLE, archive, python

USER = python(
    """
import os, sys
import shared_words
def handler(event, context):
    return {"words": shared_words.WORDS, "opt": sorted(os.listdir("/opt")), "first": open("/opt/which").read()}
"""
)


def error(call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def layer(name, version=None):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{name}" + (f":{version}" if version else "")


def words(text, which):
    return archive({"python/shared_words.py": f"WORDS = {text!r}", "which": which})


def test_a_layer_is_numbered_described_and_fetched(functions, name):
    client = functions.lambda_
    zipped = words("hello", "one")
    first = client.publish_layer_version(
        LayerName=name, Description="d", Content={"ZipFile": zipped}, LicenseInfo="MIT",
        CompatibleRuntimes=[PYTHON], CompatibleArchitectures=["x86_64"],
    )  # fmt: skip
    assert first["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (first["LayerArn"], first["LayerVersionArn"], first["Version"]) == (layer(name), layer(name, 1), 1)
    assert (first["LicenseInfo"], first["CompatibleRuntimes"], first["CompatibleArchitectures"]) == ("MIT", [PYTHON], ["x86_64"])
    assert first["Content"]["CodeSha256"] == base64.b64encode(hashlib.sha256(zipped).digest()).decode()
    assert first["Content"]["CodeSize"] == len(zipped)
    for got in [
        client.get_layer_version(LayerName=name, VersionNumber=1),
        client.get_layer_version(LayerName=layer(name), VersionNumber=1),
        client.get_layer_version_by_arn(Arn=layer(name, 1)),
    ]:
        assert {key: got[key] for key in ("LayerVersionArn", "Description", "Version", "CreatedDate")} == {
            key: first[key] for key in ("LayerVersionArn", "Description", "Version", "CreatedDate")
        }
        assert urllib.request.urlopen(got["Content"]["Location"]).read() == zipped
    assert client.publish_layer_version(LayerName=name, Content={"ZipFile": words("again", "two")})["Version"] == 2
    listed = client.list_layer_versions(LayerName=name)["LayerVersions"]
    assert [version["Version"] for version in listed] == [2, 1]
    assert client.list_layer_versions(LayerName=name, CompatibleRuntime=PYTHON)["LayerVersions"][0]["Version"] == 1
    layers = {found["LayerName"]: found for page in client.get_paginator("list_layers").paginate() for found in page["Layers"]}
    assert layers[name]["LatestMatchingVersion"]["Version"] == 2


def test_a_function_sees_its_layers_in_opt_later_over_earlier(functions, name):
    client = functions.lambda_
    for which, text in [("a", "from a"), ("b", "from b")]:
        client.publish_layer_version(LayerName=f"{name}-{which}", Content={"ZipFile": words(text, which)})
    made = functions.create(name, USER, Layers=[layer(f"{name}-a", 1), layer(f"{name}-b", 1)])
    assert [used["Arn"] for used in made["Layers"]] == [layer(f"{name}-a", 1), layer(f"{name}-b", 1)]
    assert functions.invoke(name)[0] == {"words": "from b", "opt": ["python", "which"], "first": "b"}
    turned = client.update_function_configuration(FunctionName=name, Layers=[layer(f"{name}-b", 1), layer(f"{name}-a", 1)])
    assert [used["Arn"] for used in turned["Layers"]] == [layer(f"{name}-b", 1), layer(f"{name}-a", 1)]
    functions.updated(name)
    assert functions.invoke(name)[0]["words"] == "from a"
    version = client.publish_version(FunctionName=name)["Version"]
    for which in "ab":
        client.delete_layer_version(LayerName=f"{name}-{which}", VersionNumber=1)
    # What uses a deleted layer goes on, new environments included.
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"NEW": "1"}})
    functions.updated(name)
    assert functions.invoke(name)[0]["words"] == "from a"
    assert functions.invoke(f"{name}:{version}")[0]["words"] == "from a"
    assert error(client.update_function_configuration, FunctionName=name, Layers=[layer(f"{name}-a", 1)]) == (
        "InvalidParameterValueException", f"Layer version {layer(f'{name}-a', 1)} does not exist.",
    )  # fmt: skip
    client.update_function_configuration(FunctionName=name, Layers=[])
    functions.updated(name)
    assert "Layers" not in client.get_function_configuration(FunctionName=name)
    payload, answer = functions.invoke(name)
    assert answer["FunctionError"] == "Unhandled" and "shared_words" in payload["errorMessage"]


def test_a_node_function_finds_modules_of_a_layer(functions, name):
    from harness import node_runtime

    functions.lambda_.publish_layer_version(
        LayerName=name, Content={"ZipFile": archive({"nodejs/node_modules/greeting/index.js": "module.exports = 'hi'"})}
    )
    code = archive({"app.js": "exports.handler = async () => require('greeting')"})
    functions.create(name, code, runtime=node_runtime(), Layers=[layer(name, 1)])
    assert functions.invoke(name)[0] == "hi"


def test_layers_that_a_function_cannot_use(functions, name):
    client = functions.lambda_
    for _ in range(2):
        client.publish_layer_version(LayerName=name, Content={"ZipFile": words("x", "x")})

    def with_layers(*layers):
        return error(
            client.create_function, FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE,
            Code={"ZipFile": USER}, Layers=list(layers),
        )  # fmt: skip

    wrong = "InvalidParameterValueException"
    assert with_layers(layer("absent", 1)) == (wrong, f"Layer version {layer('absent', 1)} does not exist.")
    assert with_layers(layer(name, 1), layer(name, 2)) == (
        wrong,
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{layer(name, 1)} and {layer(name, 2)} are versions of the same layer.",
    )
    assert with_layers(*[layer(f"l{n}", 1) for n in range(6)]) == (wrong, "Cannot reference more than 5 layers.")
    elsewhere = layer(name, 1).replace(REGION, "eu-west-1")
    assert with_layers(elsewhere) == (
        wrong, f"Layers are not in the same region as the function. Layers are expected to be in region {REGION}."
    )  # fmt: skip
    code, message = with_layers(layer(name))
    assert code == "ValidationException" and message.startswith(f"1 validation error detected: Value '[{layer(name)}]' at 'layers'")
    code, message = with_layers(layer(name, 1).replace(ACCOUNT, "999999999999"))
    assert code == "AccessDeniedException" and "lambda:GetLayerVersion" in message


def test_code_and_layers_together_have_a_limit(functions, name):
    client = functions.lambda_
    # 90 MiB of zeros are 90 KiB zipped.
    large = archive({"zeros": b"\0" * (90 << 20)})
    for number in range(3):
        client.publish_layer_version(LayerName=f"{name}-{number}", Content={"ZipFile": large})
    layers = [layer(f"{name}-{number}", 1) for number in range(3)]
    code, message = error(
        client.create_function, FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE,
        Code={"ZipFile": USER}, Layers=layers,
    )  # fmt: skip
    assert code == "InvalidParameterValueException"
    assert message.startswith("Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is 2831")
    functions.create(name, USER, Layers=layers[:2])
    assert error(client.update_function_code, FunctionName=name, ZipFile=large)[1].startswith("Function code combined with layers")
    assert error(client.update_function_configuration, FunctionName=name, Layers=layers)[1].startswith("Function code combined with layers")


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info, target


def test_a_layer_that_reaches_outside_is_refused(functions, name):
    for hostile in ["../escape", "/etc/passwd", "a/../../b"]:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as made:
            made.writestr(hostile, "x")
        got = error(functions.lambda_.publish_layer_version, LayerName=name, Content={"ZipFile": out.getvalue()})
        assert got == ("InvalidParameterValueException", "Could not unzip uploaded file. Please check your file, then try to upload again.")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr(*link("python", "/etc"))
        made.writestr("python/passwd", "x")
    assert error(functions.lambda_.publish_layer_version, LayerName=name, Content={"ZipFile": out.getvalue()})[0] == "InvalidParameterValueException"
    assert error(functions.lambda_.publish_layer_version, LayerName=name, Content={"ZipFile": b""})[0] == "InvalidParameterValueException"
    assert functions.lambda_.list_layer_versions(LayerName=name)["LayerVersions"] == []


def test_a_policy_lets_others_use_a_layer(functions, server, name):
    client = functions.lambda_
    client.publish_layer_version(LayerName=name, Content={"ZipFile": words("shared", "s")})
    missing = error(client.get_layer_version_policy, LayerName=name, VersionNumber=1)
    assert missing == ("ResourceNotFoundException", "No policy is associated with the given resource.")
    first = client.add_layer_version_permission(
        LayerName=name, VersionNumber=1, StatementId="s1", Action="lambda:GetLayerVersion", Principal="111111111111"
    )
    assert json.loads(first["Statement"]) == {
        "Sid": "s1", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
        "Action": "lambda:GetLayerVersion", "Resource": layer(name, 1),
    }  # fmt: skip
    same = dict(LayerName=name, VersionNumber=1, StatementId="s1", Action="lambda:GetLayerVersion", Principal="*")
    assert error(client.add_layer_version_permission, **same)[0] == "ResourceConflictException"
    assert error(client.add_layer_version_permission, **(same | {"StatementId": "s2", "RevisionId": "old"}))[0] == "PreconditionFailedException"
    assert error(client.add_layer_version_permission, **(same | {"VersionNumber": 9}))[0] == "ResourceNotFoundException"
    assert error(client.add_layer_version_permission, **(same | {"Action": "lambda:*"}))[0] == "ValidationException"
    second = client.add_layer_version_permission(
        LayerName=name, VersionNumber=1, StatementId="org", Action="lambda:GetLayerVersion", Principal="*",
        OrganizationId="o-0123456789", RevisionId=first["RevisionId"],
    )  # fmt: skip
    policy = client.get_layer_version_policy(LayerName=name, VersionNumber=1)
    assert policy["RevisionId"] == second["RevisionId"]
    assert [statement["Sid"] for statement in json.loads(policy["Policy"])["Statement"]] == ["s1", "org"]
    client.remove_layer_version_permission(LayerName=name, VersionNumber=1, StatementId="s1")
    gone = error(client.remove_layer_version_permission, LayerName=name, VersionNumber=1, StatementId="s1")
    assert gone == ("ResourceNotFoundException", "Statement s1 is not found in resource policy.")


def test_what_is_not_there_and_what_is_not_supported(functions, name):
    client = functions.lambda_
    nothing = ("ResourceNotFoundException", "The resource you requested does not exist.")
    assert error(client.get_layer_version, LayerName=name, VersionNumber=1) == nothing
    assert error(client.get_layer_version_by_arn, Arn=layer(name, 1)) == nothing
    assert error(client.get_layer_version, LayerName=name, VersionNumber=0)[0] == "InvalidParameterValueException"
    assert client.list_layer_versions(LayerName=name)["LayerVersions"] == []
    client.delete_layer_version(LayerName=name, VersionNumber=3)
    code, message = error(
        client.publish_layer_version, LayerName=name, Content={"S3Bucket": "bucket", "S3Key": "key"}
    )
    assert code == "NotImplementedException" and "S3Bucket" in message
    assert error(client.list_layers, CompatibleRuntime="python1.0")[0] == "ValidationException"


def test_the_cli_publishes_and_uses_a_layer(server, functions, name, tmp_path):
    (tmp_path / "layer.zip").write_bytes(words("cli", "cli"))
    (tmp_path / "code.zip").write_bytes(USER)
    made = json.loads(
        server.aws("lambda", "publish-layer-version", "--layer-name", name, "--zip-file", f"fileb://{tmp_path}/layer.zip").stdout
    )
    server.aws(
        "lambda", "create-function", "--function-name", name, "--runtime", PYTHON, "--handler", "app.handler", "--role", ROLE,
        "--zip-file", f"fileb://{tmp_path}/code.zip", "--layers", made["LayerVersionArn"],
    )  # fmt: skip
    server.aws("lambda", "wait", "function-active-v2", "--function-name", name)
    assert functions.invoke(name)[0]["words"] == "cli"
    assert json.loads(server.aws("lambda", "get-layer-version-by-arn", "--arn", made["LayerVersionArn"]).stdout)["Version"] == 1
    server.aws("lambda", "delete-layer-version", "--layer-name", name, "--version-number", "1")
