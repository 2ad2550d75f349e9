"""Notes over HTTP, each its owner's, kept in a table.

    GET    /OWNER            all notes of an owner, page by page
    GET    /OWNER/NOTE       one
    PUT    /OWNER/NOTE       writes one: {"text": …}; with "version", only if that is the one that was read;
                             with "seconds", for so long
    DELETE /OWNER/NOTE       removes one
"""

import base64
import json
import os
import time

import boto3
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

table = boto3.resource("dynamodb").Table(os.environ["TABLE"])
PAGE = 20


def handler(event, context):
    method = event["requestContext"]["http"]["method"]
    owner, _, note = event["rawPath"].strip("/").partition("/")
    if not owner or "/" in note:
        return answer(404, error="a path is /OWNER or /OWNER/NOTE")
    if not note:
        return listed(owner, event.get("queryStringParameters") or {}) if method == "GET" else answer(405, error=method)
    key = {"owner": owner, "note": note}
    if method == "GET":
        found = table.get_item(Key=key, ConsistentRead=True).get("Item")
        return answer(200, **shown(found)) if found else answer(404, error="there is no such note")
    if method == "PUT":
        return written(key, event)
    if method == "DELETE":
        gone = table.delete_item(Key=key, ReturnValues="ALL_OLD").get("Attributes")
        return answer(200, **shown(gone)) if gone else answer(404, error="there is no such note")
    return answer(405, error=method)


def listed(owner, query):
    start = {"ExclusiveStartKey": {"owner": owner, "note": query["after"]}} if "after" in query else {}
    page = table.query(KeyConditionExpression=Key("owner").eq(owner), Limit=PAGE, **start)
    after = page.get("LastEvaluatedKey", {}).get("note")
    return answer(200, notes=[shown(item) for item in page["Items"]], after=after)


def written(key, event):
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body)
    try:
        given = json.loads(body)
        text, version = str(given["text"]), int(given.get("version", 0))
        seconds = int(given.get("seconds", 0))
    except (ValueError, KeyError, TypeError):
        return answer(400, error='a note is {"text": …}, perhaps with "version" and "seconds"')
    # Whoever says which version was read overwrites no other.
    condition = {"ConditionExpression": Attr("version").eq(version)} if version else {}
    change, values = "SET #text = :text, #version = if_not_exists(#version, :zero) + :one", {":text": text, ":zero": 0, ":one": 1}
    names = {"#text": "text", "#version": "version", "#expires": "expires"}
    if seconds:
        change, values[":expires"] = f"{change}, #expires = :expires", int(time.time()) + seconds
    else:
        change = f"{change} REMOVE #expires"
    try:
        done = table.update_item(
            Key=key,
            UpdateExpression=change,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ReturnValues="ALL_NEW",
            **condition,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return answer(409, error="the note has another version")
    return answer(200, **shown(done["Attributes"]))


def shown(item):
    return {"note": item["note"], "text": item["text"], "version": int(item["version"])}


def answer(status, **members):
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(members)}
