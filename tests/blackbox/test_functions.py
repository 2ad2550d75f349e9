"""The control plane of functions: every operation through boto3, with AWS's shapes, states and errors."""

import base64
import hashlib

import pytest
from botocore.exceptions import ClientError

from harness import ACCOUNT, PYTHON, REGION, ROLE, archive, python

CODE = python("def handler(event, context): return {'version': context.function_version, 'arn': context.invoked_function_arn}")
OTHER = python("def handler(event, context): return 'other'")


def error(call, **members):
    """(code, message) of the error that the call must give."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def arn(name, qualifier=None):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}" + (f":{qualifier}" if qualifier else "")


def test_a_function_is_pending_then_active_with_all_members(functions, name):
    made = functions.create(name, CODE, Description="d", Timeout=9, MemorySize=256, Environment={"Variables": {"NAME": "b"}})
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    expected = {
        "FunctionName": name, "FunctionArn": arn(name), "Runtime": PYTHON, "Role": ROLE, "Handler": "app.handler",
        "CodeSize": len(CODE), "Description": "d", "Timeout": 9, "MemorySize": 256, "Version": "$LATEST",
        "PackageType": "Zip", "Architectures": ["x86_64"], "EphemeralStorage": {"Size": 512},
        "TracingConfig": {"Mode": "PassThrough"}, "State": "Pending", "StateReasonCode": "Creating",
        "StateReason": "The function is being created.", "Environment": {"Variables": {"NAME": "b"}},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "CodeSha256": base64.b64encode(hashlib.sha256(CODE).digest()).decode(),
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
    }  # fmt: skip
    assert {key: made.get(key) for key in expected} == expected
    got = functions.lambda_.get_function(FunctionName=name)
    assert got["Configuration"]["State"] == "Active" and got["Configuration"]["LastUpdateStatus"] == "Successful"
    assert got["Code"]["RepositoryType"] == "S3" and got["Code"]["Location"]
    configuration = functions.lambda_.get_function_configuration(FunctionName=arn(name))
    assert configuration["RevisionId"] == got["Configuration"]["RevisionId"]


def test_a_name_is_taken_once(functions, name):
    functions.create(name, CODE)
    got = error(
        functions.lambda_.create_function,
        FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": CODE},
    )  # fmt: skip
    assert got == ("ResourceConflictException", f"Function already exist: {name}")


def test_missing_functions_are_not_found(functions):
    for call in ["get_function", "get_function_configuration", "delete_function", "list_versions_by_function", "list_aliases"]:
        code, message = error(getattr(functions.lambda_, call), FunctionName="absent")
        assert (code, message) == ("ResourceNotFoundException", f"Function not found: {arn('absent')}"), call


def test_code_and_configuration_are_updated(functions, name):
    functions.create(name, CODE)
    before = functions.lambda_.get_function_configuration(FunctionName=name)
    changed = functions.lambda_.update_function_code(FunctionName=name, ZipFile=OTHER)
    assert changed["CodeSha256"] != before["CodeSha256"] and changed["RevisionId"] != before["RevisionId"]
    functions.updated(name)
    assert functions.invoke(name)[0] == "other"
    functions.lambda_.update_function_configuration(
        FunctionName=name, MemorySize=192, Environment={"Variables": {"OTHER": "y"}}, Description="new"
    )
    functions.updated(name)
    after = functions.lambda_.get_function_configuration(FunctionName=name)
    assert (after["MemorySize"], after["Description"], after["Environment"]["Variables"]) == (192, "new", {"OTHER": "y"})


def test_a_dry_run_changes_nothing(functions, name):
    functions.create(name, CODE)
    before = functions.lambda_.get_function_configuration(FunctionName=name)
    functions.lambda_.update_function_code(FunctionName=name, ZipFile=OTHER, DryRun=True)
    assert functions.lambda_.get_function_configuration(FunctionName=name)["CodeSha256"] == before["CodeSha256"]


def test_a_stale_revision_is_refused(functions, name):
    functions.create(name, CODE)
    stale = functions.lambda_.get_function_configuration(FunctionName=name)["RevisionId"]
    functions.lambda_.update_function_configuration(FunctionName=name, Timeout=5, RevisionId=stale)
    functions.updated(name)
    expected = (
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the "
        "latest Revision Id",
    )
    assert error(functions.lambda_.update_function_configuration, FunctionName=name, Timeout=6, RevisionId=stale) == expected
    assert error(functions.lambda_.update_function_code, FunctionName=name, ZipFile=OTHER, RevisionId=stale) == expected


def test_versions_are_frozen_and_numbered(functions, name):
    functions.create(name, CODE)
    first = functions.lambda_.publish_version(FunctionName=name, Description="one")
    assert (first["Version"], first["FunctionArn"]) == ("1", arn(name, "1"))
    assert functions.lambda_.publish_version(FunctionName=name)["Version"] == "1", "unchanged code gives no new version"
    functions.lambda_.update_function_code(FunctionName=name, ZipFile=OTHER)
    functions.updated(name)
    assert functions.lambda_.publish_version(FunctionName=name)["Version"] == "2"
    listed = functions.lambda_.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", "1", "2"]
    payload, answer = functions.invoke(name, Qualifier="1")
    assert payload == {"version": "1", "arn": arn(name, "1")} and answer["ExecutedVersion"] == "1"
    assert functions.invoke(arn(name, "2"))[0] == "other"


def test_aliases_point_route_and_move(functions, name):
    functions.create(name, CODE)
    functions.lambda_.publish_version(FunctionName=name)
    functions.lambda_.update_function_code(FunctionName=name, ZipFile=OTHER)
    functions.updated(name)
    functions.lambda_.publish_version(FunctionName=name)
    made = functions.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion="1", Description="d")
    assert made["AliasArn"] == arn(name, "live") and made["FunctionVersion"] == "1"
    payload, answer = functions.invoke(name, Qualifier="live")
    assert payload == {"version": "1", "arn": arn(name, "live")} and answer["ExecutedVersion"] == "1"
    functions.lambda_.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert functions.invoke(f"{name}:live")[0] == "other"
    routed = functions.lambda_.update_alias(
        FunctionName=name, Name="live", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}}
    )
    assert routed["RoutingConfig"] == {"AdditionalVersionWeights": {"1": 0.5}}
    seen = {functions.invoke(name, Qualifier="live")[1]["ExecutedVersion"] for _ in range(30)}
    assert seen == {"1", "2"}
    listed = functions.lambda_.list_aliases(FunctionName=name)["Aliases"]
    assert [alias["Name"] for alias in listed] == ["live"]
    assert functions.lambda_.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == "2"
    taken = error(functions.lambda_.create_alias, FunctionName=name, Name="live", FunctionVersion="1")
    assert taken == ("ResourceConflictException", f"Alias already exists: {arn(name, 'live')}")
    functions.lambda_.delete_alias(FunctionName=name, Name="live")
    gone = error(functions.lambda_.get_alias, FunctionName=name, Name="live")
    assert gone == ("ResourceNotFoundException", f"Cannot find alias arn: {arn(name, 'live')}")


def test_a_version_is_deleted_alone(functions, name):
    functions.create(name, CODE)
    functions.lambda_.publish_version(FunctionName=name)
    latest = error(functions.lambda_.delete_function, FunctionName=name, Qualifier="$LATEST")
    assert latest == (
        "InvalidParameterValueException",
        "$LATEST version cannot be deleted without deleting the function.",
    )
    functions.lambda_.delete_function(FunctionName=name, Qualifier="1")
    assert functions.lambda_.get_function(FunctionName=name)["Configuration"]["Version"] == "$LATEST"
    functions.lambda_.delete_function(FunctionName=name)
    assert error(functions.lambda_.get_function, FunctionName=name)[0] == "ResourceNotFoundException"
    assert functions.create(name, CODE)["FunctionName"] == name, "the name is free again"
    assert error(functions.lambda_.get_function, FunctionName=name, Qualifier="1")[0] == "ResourceNotFoundException"


def test_lists_come_in_pages(server, functions):
    # A region of its own, so that other tests' functions are not in the list.
    elsewhere = server.client("lambda", region="eu-central-1")
    names = [f"page-{number}" for number in range(7)]
    for one in names:
        elsewhere.create_function(FunctionName=one, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": CODE})
    pages = list(elsewhere.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["Functions"]) for page in pages] == [3, 3, 1]
    assert sorted(one["FunctionName"] for page in pages for one in page["Functions"]) == names
    assert all(":eu-central-1:" in one["FunctionArn"] for page in pages for one in page["Functions"])
    assert error(functions.lambda_.get_function, FunctionName="page-0")[0] == "ResourceNotFoundException"


def test_tags_come_and_go(functions, name):
    functions.create(name, CODE, Tags={"a": "1"})
    functions.lambda_.tag_resource(Resource=arn(name), Tags={"b": "2", "a": "3"})
    assert functions.lambda_.list_tags(Resource=arn(name))["Tags"] == {"a": "3", "b": "2"}
    assert functions.lambda_.get_function(FunctionName=name)["Tags"] == {"a": "3", "b": "2"}
    functions.lambda_.untag_resource(Resource=arn(name), TagKeys=["a"])
    assert functions.lambda_.list_tags(Resource=arn(name))["Tags"] == {"b": "2"}
    too_many = error(functions.lambda_.tag_resource, Resource=arn(name), Tags={f"k{i}": "" for i in range(51)})
    assert too_many == ("InvalidParameterValueException", "Number of tags exceeds resource tag limit.")


def test_permissions_make_a_policy(functions, name):
    import json

    functions.create(name, CODE)
    nothing = error(functions.lambda_.get_policy, FunctionName=name)
    assert nothing[0] == "ResourceNotFoundException"
    functions.lambda_.add_permission(
        FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::bucket",
    )  # fmt: skip
    policy = json.loads(functions.lambda_.get_policy(FunctionName=name)["Policy"])
    assert policy["Statement"] == [
        {
            "Sid": "s3", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "lambda:InvokeFunction", "Resource": arn(name),
            "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"}},
        }
    ]  # fmt: skip
    twice = error(
        functions.lambda_.add_permission,
        FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
    )  # fmt: skip
    assert twice == (
        "ResourceConflictException",
        "The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing statement.",
    )
    functions.lambda_.remove_permission(FunctionName=name, StatementId="s3")
    assert error(functions.lambda_.get_policy, FunctionName=name)[0] == "ResourceNotFoundException"
    absent = error(functions.lambda_.remove_permission, FunctionName=name, StatementId="s3")
    assert absent[0] == "ResourceNotFoundException"


def test_account_settings_count_what_is_there(functions, name):
    functions.create(name, CODE)
    settings = functions.lambda_.get_account_settings()
    assert settings["AccountLimit"]["CodeSizeUnzipped"] == 262144000
    assert settings["AccountLimit"]["CodeSizeZipped"] == 52428800
    assert settings["AccountUsage"]["FunctionCount"] >= 1
    assert settings["AccountUsage"]["TotalCodeSize"] >= len(CODE)


def test_all_forms_of_a_name_mean_one_function(functions, name):
    functions.create(name, CODE)
    forms = [name, f"{ACCOUNT}:function:{name}", arn(name), f"{name}:$LATEST", arn(name, "$LATEST")]
    for form in forms:
        assert functions.lambda_.get_function(FunctionName=form)["Configuration"]["FunctionName"] == name, form


def test_a_twelve_digit_key_is_an_account(server, functions, name):
    other = server.client("lambda", key="123456789012")
    made = other.create_function(FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": CODE})
    assert made["FunctionArn"] == f"arn:aws:lambda:{REGION}:123456789012:function:{name}"
    assert error(functions.lambda_.get_function, FunctionName=name)[0] == "ResourceNotFoundException"
    assert server.client("sts", key="123456789012").get_caller_identity()["Account"] == "123456789012"


def test_what_is_not_there_yet_says_so(functions, name):
    image = error(
        functions.lambda_.create_function,
        FunctionName=name, Role=ROLE, PackageType="Image", Code={"ImageUri": "registry/image:1"},
    )  # fmt: skip
    bucket = error(
        functions.lambda_.create_function,
        FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"S3Bucket": "some-bucket", "S3Key": "k"},
    )  # fmt: skip
    for (code, message), member in ((image, "ImageUri"), (bucket, "S3Bucket")):
        assert code == "NotImplementedException" and member in message, (code, message)
    # An operation that AWS has and Pileus does not: an error that names it.
    code, message = error(functions.lambda_.list_code_signing_configs)
    assert "ListCodeSigningConfigs" in message, (code, message)


@pytest.mark.parametrize(
    "entries",
    [
        {"../evil.py": "x"},
        {"/etc/evil": "x"},
        {"a/../../evil": "x"},
    ],
)
def test_archives_that_reach_outside_are_refused(functions, name, entries):
    code, message = error(
        functions.lambda_.create_function,
        FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": archive(entries)},
    )  # fmt: skip
    assert (code, message) == (
        "InvalidParameterValueException",
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
    )


def test_what_is_no_archive_is_refused(functions, name):
    for content in [b"not a zip", CODE[: len(CODE) // 2], b"PK\x05\x06" + bytes(18)]:
        code, _ = error(
            functions.lambda_.create_function,
            FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": content},
        )  # fmt: skip
        assert code == "InvalidParameterValueException", content[:10]


def test_a_bomb_is_refused(functions, name):
    bomb = archive({"zeros": bytes(263 << 20)})
    assert len(bomb) < 1 << 20
    got = error(
        functions.lambda_.create_function,
        FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": bomb},
    )  # fmt: skip
    assert got == ("InvalidParameterValueException", "Unzipped size must be smaller than 262144000 bytes")
