"""Writes down every change of the table `accounts`: what it was before, what it is now, and who removed it if time did.

A record comes at least once. Its sequence number is its place in the trail, so what comes twice is written once.
"""

import json
import os

import boto3

dynamodb = boto3.client("dynamodb")


def handler(event, context):
    for record in event["Records"]:
        change = record["dynamodb"]
        try:
            dynamodb.put_item(TableName=os.environ["TRAIL"], Item=entry(record, change))
        except Exception as error:  # noqa: BLE001 - everything from this record on comes again
            print("failed", change["SequenceNumber"], repr(error))
            return {"batchItemFailures": [{"itemIdentifier": change["SequenceNumber"]}]}
        print("wrote", record["eventName"], change["Keys"]["account"]["S"])
    return {"batchItemFailures": []}


def entry(record, change):
    old, new = change.get("OldImage", {}), change.get("NewImage", {})
    changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    item = {
        "account": change["Keys"]["account"],
        # Greater numbers came later; of equal length they have the order of texts.
        "at": {"S": change["SequenceNumber"].zfill(40)},
        "what": {"S": record["eventName"]},
        "when": {"N": str(change["ApproximateCreationDateTime"])},
        "changed": {"L": [{"S": name} for name in changed]},
        "by": {"S": record.get("userIdentity", {}).get("principalId", "a client")},
    }
    for name, image in (("before", old), ("after", new)):
        if image:
            item[name] = {"S": json.dumps(image, sort_keys=True)}
    return item
