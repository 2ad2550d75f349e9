"""Books orders. The queue is first-in-first-out: a customer's orders come in the order in which they were placed."""

import json


def handler(event, context):
    for record in event["Records"]:
        order = json.loads(record["body"])
        print("booked", order["customer"], order["id"], order["item"])
