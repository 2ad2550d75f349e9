"""Greets whoever calls: by invocation (`{"name": "Ada"}`) or by URL (`?name=Ada`)."""

import platform


def handler(event, context):
    query = event.get("queryStringParameters") or {}
    name = event.get("name") or query.get("name") or "world"
    print(f"greeting {name}")
    return {
        "message": f"Hello, {name}!",
        "python": platform.python_version(),
        "request": context.aws_request_id,
    }
