"""What survives `kill -9`, what a stop waits for, and which data directories are refused."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

import pytest

from harness import PYTHON, ROLE, Functions, binary, eventually, free_port, python

CODE = python("def handler(event, context): return {'event': event, 'version': context.function_version}")


def test_everything_is_found_after_a_kill(own):
    server = own().start()
    functions = Functions(server)
    functions.create("kept", CODE, Environment={"Variables": {"NAME": "b"}}, Tags={"t": "1"})
    functions.lambda_.publish_version(FunctionName="kept")
    functions.lambda_.create_alias(FunctionName="kept", Name="live", FunctionVersion="1")
    functions.lambda_.add_permission(
        FunctionName="kept", StatementId="s", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"
    )
    url = functions.lambda_.create_function_url_config(FunctionName="kept", AuthType="NONE")["FunctionUrl"]
    functions.logs.create_log_group(logGroupName="/mine")
    functions.logs.create_log_stream(logGroupName="/mine", logStreamName="s")
    functions.logs.put_log_events(
        logGroupName="/mine", logStreamName="s", logEvents=[{"timestamp": int(time.time() * 1000), "message": "kept"}]
    )
    before = functions.lambda_.get_function(FunctionName="kept")
    assert functions.invoke("kept", 1)[0]["event"] == 1
    server.kill()
    server.restart()
    after = functions.lambda_.get_function(FunctionName="kept")
    for member in ["Configuration", "Tags"]:
        assert after[member] == before[member]
    assert functions.invoke("kept", 2, Qualifier="live")[0] == {"event": 2, "version": "1"}
    assert functions.lambda_.get_function_url_config(FunctionName="kept")["FunctionUrl"] == url
    assert "s3.amazonaws.com" in functions.lambda_.get_policy(FunctionName="kept")["Policy"]
    assert [e["message"] for e in functions.logs.filter_log_events(logGroupName="/mine")["events"]] == ["kept"]


def test_an_acknowledged_event_runs_after_a_kill(own):
    server = own().start()
    functions = Functions(server)
    functions.create("slow", python("import time\ndef handler(event, context):\n    time.sleep(0.3)\n    print('ran', event['n'])"))
    for number in range(8):
        answer = functions.lambda_.invoke(FunctionName="slow", InvocationType="Event", Payload=json.dumps({"n": number}).encode())
        assert answer["StatusCode"] == 202
    server.kill()
    server.restart()

    def all_ran():
        seen = "\n".join(functions.messages("slow"))
        return all(f"ran {number}" in seen for number in range(8))

    eventually(all_ran, seconds=60, every=0.3, what="the run of every acknowledged event")


def test_no_acknowledged_function_is_lost_under_load(own):
    server = own().start()
    acknowledged, stop = [], threading.Event()

    def work(worker):
        client = server.client("lambda")
        number = 0
        while not stop.is_set():
            name = f"w{worker}-{number}"
            try:
                client.create_function(FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": CODE})
            except Exception:
                return
            acknowledged.append(name)
            number += 1

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(acknowledged) >= 40, seconds=30, what="forty functions")
    server.kill()
    stop.set()
    for thread in threads:
        thread.join()
    server.restart()
    pages = server.client("lambda").get_paginator("list_functions").paginate()
    found = {function["FunctionName"] for page in pages for function in page["Functions"]}
    assert set(acknowledged) <= found, set(acknowledged) - found
    assert len(found) <= len(acknowledged) + 4, "at most the ones in flight are more"


def test_a_stop_lets_invocations_finish(own):
    server = own().start()
    functions = Functions(server)
    functions.create("slow", python("import time\ndef handler(event, context):\n    time.sleep(2)\n    return 'finished'"), Timeout=10)
    got = []
    thread = threading.Thread(target=lambda: got.append(functions.invoke("slow")[0]))
    thread.start()
    time.sleep(1)
    assert server.stop() == 0, server.log()
    thread.join()
    assert got == ["finished"]
    server.restart()
    assert functions.invoke("slow")[0] == "finished"


def test_no_process_is_left_behind(own):
    server = own().start()
    functions = Functions(server)
    functions.create("f", CODE)
    functions.invoke("f")
    pid = server.process.pid

    def family():
        found, grown = {pid}, True
        parents = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        while grown:
            more = {child for child, parent in parents.items() if parent in found} - found
            found |= more
            grown = bool(more)
        return found - {pid}

    children = family()
    assert children, "the launcher and an environment"
    server.kill()

    def gone():
        return not [child for child in children if os.path.exists(f"/proc/{child}")]

    eventually(gone, seconds=10, what="the end of every process of a killed server")


def up(data, *arguments, seconds=20):
    """Runs `pileus up` that must refuse; its standard error."""
    done = subprocess.run(
        [binary(), "up", "--listen", f"127.0.0.1:{free_port()}", "--data", str(data), *arguments],
        capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    return done.stderr


def test_two_servers_on_one_directory_are_refused(own):
    server = own().start()
    said = up(server.data)
    assert "error" in said and str(server.data) in said and "another" in said, said
    assert server.health()["status"] == "ok"


def test_a_taken_port_is_refused(own, tmp_path):
    server = own().start()
    done = subprocess.run(
        [binary(), "up", "--listen", f"127.0.0.1:{server.port}", "--data", str(tmp_path / "other")],
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert done.returncode == 1 and str(server.port) in done.stderr, done.stderr


def test_a_foreign_directory_is_refused(tmp_path):
    data = tmp_path / "foreign"
    data.mkdir()
    (data / "letters.txt").write_text("somebody else's")
    said = up(data)
    assert str(data) in said and "error" in said, said
    assert [entry.name for entry in data.iterdir()] == ["letters.txt"], "nothing was touched"


def test_a_newer_directory_is_refused(own):
    server = own().start()
    assert server.stop() == 0
    marks = [path for path in server.data.rglob("*") if path.is_file() and "format" in path.name.lower()]
    assert marks, sorted(str(path) for path in server.data.rglob("*"))
    for mark in marks:
        text = mark.read_text()
        mark.write_text("".join("9" if letter.isdigit() else letter for letter in text))
    said = up(server.data)
    assert "newer" in said, said


def as_nobody():
    return {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}


def test_a_read_only_directory_is_refused():
    # As an ordinary user: root may write everywhere.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        data = pathlib.Path(folder) / "sealed"
        data.mkdir(mode=0o555)
        program = pathlib.Path(folder) / "pileus"
        shutil.copy(binary(), program)
        done = subprocess.run(
            [str(program), "up", "--listen", f"127.0.0.1:{free_port()}", "--data", str(data)],
            capture_output=True, text=True, timeout=20, cwd=folder, **as_nobody(),
        )  # fmt: skip
        assert done.returncode == 1, (done.returncode, done.stderr)
        assert "error" in done.stderr and str(data) in done.stderr, done.stderr


def can_mount() -> bool:
    return os.getuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="a disk that is full needs the right to mount a small one")
def test_a_full_disk_is_said_and_nothing_breaks(tmp_path, own):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(disk)], check=True)
    server = None
    try:
        server = own(data=disk / "data").start()
        functions = Functions(server)
        functions.create("first", CODE)
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        random = os.urandom(2 << 20)
        code, status, told = None, None, ""
        for number in range(200):
            try:
                functions.lambda_.create_function(
                    FunctionName=f"more-{number}", Runtime=PYTHON, Handler="app.handler", Role=ROLE,
                    Code={"ZipFile": python("x = 1", blob=random.hex()[: 1 << 20] + str(number))},
                )  # fmt: skip
            except functions.lambda_.exceptions.ClientError as error:
                code, told = error.response["Error"]["Code"], error.response["Error"]["Message"]
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                break
        assert code in ("ServiceException", "ServiceUnavailableException", "ServiceUnavailable") and status in (500, 503), (code, status)
        assert "the disk is full" in told and "Free space" in told, told
        assert server.process.poll() is None, server.log()
        assert functions.lambda_.get_function(FunctionName="first")
        server.kill()
        filler.unlink()
        server.restart()
        assert functions.invoke("first", 1)[0]["event"] == 1
        functions.create("second", CODE)
    finally:
        if server is not None:
            server.end()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_backup_is_restored(own, tmp_path):
    server = own().start()
    functions = Functions(server)
    functions.create("kept", CODE, Description="before")
    file = tmp_path / "all.backup"
    said = json.loads(server.pileus("backup", str(file), "--json").stdout)
    assert file.stat().st_size == said["bytes"] > 0
    assert file.stat().st_mode & 0o777 == 0o600, "it holds the root key"
    functions.create("later", CODE)
    server.stop()
    data = tmp_path / "restored"
    server.pileus("restore", str(file), "--data", str(data))
    again = own(data=data).start()
    found = Functions(again)
    assert found.lambda_.get_function_configuration(FunctionName="kept")["Description"] == "before"
    assert found.invoke("kept", 5)[0]["event"] == 5, "the code came along"
    with pytest.raises(found.lambda_.exceptions.ResourceNotFoundException):
        found.lambda_.get_function(FunctionName="later")


def test_a_damaged_backup_is_refused(own, tmp_path):
    server = own().start()
    Functions(server).create("kept", CODE)
    file = tmp_path / "all.backup"
    server.pileus("backup", str(file))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x40
    file.write_bytes(content)
    refused = server.pileus("restore", str(file), "--data", str(tmp_path / "restored"), check=False)
    assert refused.returncode == 1 and "error" in refused.stderr, refused.stderr
    over = server.pileus("backup", str(file), check=False)
    assert over.returncode == 1 and "exist" in over.stderr, "a file that exists is not overwritten"
    onto = server.pileus("restore", str(file), "--data", str(server.data), check=False)
    assert onto.returncode == 1, "a directory with data is not overwritten"
