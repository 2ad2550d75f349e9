"""The function that runs on the official Python client."""


def handler(event, context):
    if event.get("fail"):
        raise ValueError("asked to")
    return {"client": "python", "event": event, "id": context.aws_request_id, "name": context.function_name}
