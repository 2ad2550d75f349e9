"""Starts the real binary and speaks to it with real clients.

Guarantee: every process started here is ended here, by its own id; every server has its own port and data directory.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile

import boto3
import botocore.config

ROOT = pathlib.Path(__file__).resolve().parents[2]
ACCOUNT = "000000000000"
REGION = "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def binary() -> str:
    """The release binary: as told, else where Cargo leaves it."""
    told = os.environ.get("PILEUS_BIN")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = pathlib.Path(told) if told else target / "release" / "pileus"
    if not path.is_file():
        raise RuntimeError(f"{path} does not exist: run `cargo build --release` first")
    return str(path)


def aws_cli() -> str:
    """The AWS CLI beside this interpreter."""
    return str(pathlib.Path(sys.executable).parent / "aws")


def aws_cli_v2() -> str | None:
    """An AWS CLI of major version 2, if the machine has one (`logs tail` exists only there)."""
    for path in filter(None, [os.environ.get("PILEUS_AWS_V2"), "/usr/bin/aws", "/usr/local/bin/aws"]):
        if os.access(path, os.X_OK):
            shown = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            if shown.startswith("aws-cli/2."):
                return path
    return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(look, seconds: float = 20.0, every: float = 0.05, what: str = "it"):
    """What `look` returns once it is true; an error after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds} s; last look: {found!r}")
        time.sleep(every)


def archive(files: dict[str, str | bytes], modes: dict[str, int] | None = None) -> bytes:
    """A zip archive of the given files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((modes or {}).get(name, 0o644) | 0o100000) << 16
            made.writestr(info, content)
    return out.getvalue()


def python(body: str, **files: str) -> bytes:
    """An archive with `app.py`."""
    return archive({"app.py": body, **files})


def bundle_boto3(into, *services):
    """What `pip install --target` would put there, but for the descriptions of services that the example does not call."""
    packages = pathlib.Path(boto3.__file__).parent.parent
    kept = {*services, "endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json"}

    def ignore(folder, names):
        skipped = {name for name in names if name == "__pycache__"}
        if pathlib.Path(folder).name == "data":
            skipped |= set(names) - kept
        return skipped

    for package in ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3"]:
        shutil.copytree(packages / package, into / package, ignore=ignore)
    shutil.copy(packages / "six.py", into)


class Server:
    """One `pileus up`."""

    def __init__(self, folder: pathlib.Path, *arguments: str, port: int | None = None, data: pathlib.Path | None = None):
        self.folder = folder
        self.data = data or folder / "data"
        self.arguments = arguments
        self.port = port or free_port()
        self.process: subprocess.Popen | None = None
        self.log_path = folder / f"server-{self.port}.log"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def spawn(self) -> None:
        command = [binary(), "up", "--listen", f"127.0.0.1:{self.port}", "--data", str(self.data), *self.arguments]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder)

    def start(self) -> "Server":
        self.spawn()
        eventually(self._healthy_or_dead, seconds=20, every=0.005, what="a healthy server")
        return self

    def _healthy_or_dead(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log()}")
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            return self.health()["status"] == "ok"
        return False

    def health(self) -> dict:
        status, _, body = self.raw("GET", "/_pileus/health")
        assert status == 200, (status, body)
        return json.loads(body)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def raw(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None, timeout: float = 60):
        """One plain HTTP request: (status, headers, body). A `Host` header in `headers` wins."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            headers = dict(headers or {})
            host = headers.pop("Host", None)
            connection.putrequest(method, path, skip_host=host is not None, skip_accept_encoding=True)
            if host is not None:
                connection.putheader("Host", host)
            for name, value in headers.items():
                connection.putheader(name, value)
            if body is not None and "Content-Length" not in headers and "Transfer-Encoding" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def stop(self, seconds: float = 40) -> int:
        """A polite end; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """`kill -9`."""
        self.process.kill()
        self.process.wait(20)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def restart(self) -> "Server":
        """Starts again on the same data and the same port."""
        assert self.process.poll() is not None
        return self.start()

    # --- clients ------------------------------------------------------------------------------------------------------

    def environment(self, key: str = "test", secret: str = "test", region: str = REGION) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": region,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_PAGER": "",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str, key: str = "test", secret: str = "test", region: str = REGION, token=None, **config):
        """A boto3 client. No retries: a test sees the first answer."""
        settings = {"retries": {"max_attempts": 0}, "read_timeout": 90, "max_pool_connections": 64} | config
        return boto3.session.Session().client(
            service,
            endpoint_url=self.endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            region_name=region,
            config=botocore.config.Config(**settings),
        )

    def aws(self, *arguments: str, check: bool = True, timeout: float = 120, **environment: str):
        """The stock AWS CLI with nothing but the documented variables."""
        done = subprocess.run(
            [aws_cli(), *arguments], env=self.environment() | environment, capture_output=True, text=True, timeout=timeout
        )
        assert not check or done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def pileus(self, *arguments: str, check: bool = True, timeout: float = 120, stdin: str | None = None, cwd=None):
        """Our own command line against this server."""
        done = subprocess.run(
            [binary(), *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            input=stdin,
            cwd=cwd or self.folder,
        )
        assert not check or done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done


class Functions:
    """Shortcuts over a boto3 Lambda client. Every function is waited for as AWS's own waiters do."""

    def __init__(self, server: Server, **client):
        self.server = server
        self.lambda_ = server.client("lambda", **client)
        self.logs = server.client("logs", **client)

    def create(self, name: str, code: bytes, *, runtime: str = PYTHON, handler: str = "app.handler", **members) -> dict:
        made = self.lambda_.create_function(
            FunctionName=name, Runtime=runtime, Handler=handler, Role=ROLE, Code={"ZipFile": code}, **members
        )
        self.lambda_.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400}
        )
        return made

    def updated(self, name: str) -> None:
        self.lambda_.get_waiter("function_updated_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 400}
        )

    def invoke(self, name: str, event=None, **members):
        """(payload, whole answer); a payload that is not JSON stays bytes."""
        answer = self.lambda_.invoke(FunctionName=name, Payload=json.dumps(event).encode(), **members)
        body = answer["Payload"].read()
        try:
            return json.loads(body), answer
        except ValueError:
            return body, answer

    def messages(self, name: str, **members) -> list[str]:
        """All log messages of a function, or none if it has no log yet."""
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{name}", **members)
            return [event["message"] for page in pages for event in page["events"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return []


def node_runtime() -> str:
    """The identifier of the Node that this host has."""
    node = shutil.which("node")
    assert node, "these tests need node on the PATH"
    major = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout[1:].split(".")[0]
    return f"nodejs{major}.x"
