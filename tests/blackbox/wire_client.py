"""A small client of JSON services over bare HTTP: one kept connection, no retries, cheap enough for many threads."""

from __future__ import annotations

import http.client
import json
import socket

from harness import REGION


class Lost(Exception):
    """No answer came: whether the request was done is not known."""


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: str):
        super().__init__(f"status {status}: {body}")
        self.status = status


class Wire:
    def __init__(self, port: int, service: str = "sqs", target: str = "AmazonSQS", seconds: float = 30):
        self.port, self.service, self.target, self.seconds = port, service, target, seconds
        self.connection = None

    def call(self, operation: str, **members) -> dict:
        scope = f"test/20260101/{REGION}/{self.service}/aws4_request"
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"{self.target}.{operation}",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
        }
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.seconds)
                self.connection.connect()
                self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection.request("POST", "/", json.dumps(members), headers)
            answer = self.connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Lost(str(error)) from error
        if answer.status != 200:
            raise Refused(answer.status, body.decode(errors="replace"))
        return json.loads(body) if body else {}

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
