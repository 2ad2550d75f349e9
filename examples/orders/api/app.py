"""Takes an order over HTTP and publishes it. What is answered with 202 will be worked off."""

import base64
import json
import os

import boto3

sns = boto3.client("sns")


def handler(event, context):
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        body = base64.b64decode(body)
    try:
        order = json.loads(body)
        order = {name: str(order[name]) for name in ("id", "customer", "item")}
    except (ValueError, KeyError, TypeError):
        return {"statusCode": 400, "body": json.dumps({"error": "an order has an id, a customer and an item"})}
    published = sns.publish(
        TopicArn=os.environ["TOPIC"],
        Message=json.dumps(order),
        # One customer's orders stay in order; the same order twice is one order.
        MessageGroupId=order["customer"],
        MessageDeduplicationId=order["id"],
    )
    return {"statusCode": 202, "body": json.dumps({"order": order["id"], "message": published["MessageId"]})}
