"""Our own command line."""

import json
import re
import subprocess
import time

import pytest

from harness import PYTHON, binary, eventually

APP = """
def handler(event, context):
    print("called with", event)
    if event.get("fail"):
        raise ValueError("as told")
    return {"hello": event.get("name", "world")}
"""


@pytest.fixture
def folder(tmp_path, name):
    made = tmp_path / name
    made.mkdir()
    (made / "app.py").write_text(APP)
    return made


def deploy(server, folder, *arguments):
    return json.loads(server.pileus("deploy", str(folder), "--json", *arguments).stdout)


def test_deploy_creates_updates_and_leaves_alone(server, folder, name):
    first = deploy(server, folder)
    assert (first["function"], first["code"], first["configuration"], first["url"]) == (name, "created", "created", None)
    second = deploy(server, folder)
    assert (second["code"], second["configuration"], second["code_sha256"]) == ("unchanged", "unchanged", first["code_sha256"])
    assert server.pileus("deploy", str(folder)).stdout.startswith(f"unchanged {name}:")
    (folder / "app.py").write_text("def handler(event, context): return 'new'")
    third = deploy(server, folder)
    assert (third["code"], third["configuration"]) == ("updated", "unchanged")
    assert json.loads(server.pileus("invoke", name).stdout) == "new"
    (folder / "pileus.toml").write_text("memory = 192\ntimeout = 9\nurl = true\n[environment]\nGREETING = 'hi'\n")
    fourth = deploy(server, folder)
    assert (fourth["code"], fourth["configuration"]) == ("unchanged", "updated")
    assert fourth["url"] and fourth["url"] == deploy(server, folder)["url"]
    host = fourth["url"].split("/")[2]
    assert server.raw("GET", "/", None, {"Host": host})[0] == 200
    shown = server.client("lambda").get_function_configuration(FunctionName=name)
    assert (shown["MemorySize"], shown["Timeout"], shown["Environment"]["Variables"]) == (192, 9, {"GREETING": "hi"})


def test_invoke_prints_the_answer_and_fails_with_the_function(server, folder, name):
    deploy(server, folder)
    assert json.loads(server.pileus("invoke", name, "--payload", '{"name":"Ada"}').stdout) == {"hello": "Ada"}
    assert json.loads(server.pileus("invoke", name, "-p", "-", stdin='{"name":"Eve"}').stdout) == {"hello": "Eve"}
    tailed = server.pileus("invoke", name, "--tail")
    assert "called with {}" in tailed.stderr and "REPORT RequestId" in tailed.stderr
    value = json.loads(server.pileus("invoke", name, "--json").stdout)
    assert value["payload"] == {"hello": "world"} and value["executed_version"] == "$LATEST"
    failed = server.pileus("invoke", name, "-p", '{"fail":true}', check=False)
    assert failed.returncode == 1 and json.loads(failed.stdout)["errorMessage"] == "as told"
    assert failed.stderr.startswith("error: ") and "remedy: " in failed.stderr
    background = server.pileus("invoke", name, "--event")
    assert background.stdout == "" and "accepted" in background.stderr


def test_logs_print_and_follow(server, folder, name):
    deploy(server, folder)
    server.pileus("invoke", name, "-p", '{"name":"one"}')
    eventually(lambda: "'one'" in server.pileus("logs", name, check=False).stdout, every=0.2, what="the line")
    assert "'one'" not in server.pileus("logs", name, "--filter", "nothing_like_it").stdout
    entry = json.loads(server.pileus("logs", name, "--filter", "called", "--json").stdout.splitlines()[0])
    assert entry["message"].startswith("called with") and entry["eventId"]
    follow = subprocess.Popen([binary(), "logs", name, "-f"], env=server.environment(), stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(0.5)
        server.pileus("invoke", name, "-p", '{"name":"two"}')
        seen = []

        def both():
            seen.append(follow.stdout.readline())
            return any("'one'" in line for line in seen) and any("'two'" in line for line in seen)

        eventually(both, every=0, what="both lines")
        assert sum("'one'" in line for line in seen) == 1, "each event is printed once"
    finally:
        follow.kill()
        follow.wait(10)


def test_ls_and_rm(server, folder, name):
    deploy(server, folder)
    lines = server.pileus("ls").stdout.splitlines()
    assert lines[0].split()[:3] == ["NAME", "RUNTIME", "HANDLER"]
    row = [line.split() for line in lines if line.split()[0] == name]
    assert row and row[0][1].startswith("python3.") and row[0][2] == "app.handler", lines
    names = [one["FunctionName"] for one in json.loads(server.pileus("ls", "--json").stdout)["functions"]]
    assert name in names
    assert server.pileus("rm", name, "--logs").stdout == f"deleted {name}\n"
    again = server.pileus("rm", name, check=False)
    assert again.returncode == 1 and "ResourceNotFoundException" in again.stderr


def test_env_is_for_a_shell(server):
    done = subprocess.run(
        ["sh", "-c", f'unset AWS_ACCESS_KEY_ID; eval $({binary()} env --endpoint {server.endpoint}); echo "$AWS_ENDPOINT_URL $AWS_ACCESS_KEY_ID"'],
        capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout == f"{server.endpoint} test\n", done


def test_runtimes_name_what_is_here(server):
    listing = json.loads(server.pileus("runtimes", "--json").stdout)
    chosen = {one["name"]: one for one in listing["installed"] if one["chosen"]}
    assert chosen[PYTHON]["path"] and chosen[PYTHON]["version"]
    assert "provided.al2023" in chosen
    assert PYTHON in server.pileus("runtimes").stdout and chosen[PYTHON]["path"] in server.pileus("runtimes").stdout


def test_doctor_says_the_level(server):
    report = json.loads(server.pileus("doctor", "--json").stdout)
    assert report["level"] in ("full", "no-limits", "single-uid", "refused")
    assert len(report["findings"]) >= 5 and all(one["name"] and one["detail"] for one in report["findings"])
    assert report["level"] in server.pileus("doctor").stdout


def test_version_is_a_version(server):
    assert re.fullmatch(r"pileus \d+\.\d+\.\d+\n", server.pileus("version").stdout)
    assert json.loads(server.pileus("version", "--json").stdout)["version"] == server.health()["version"]


def test_failures_name_cause_and_remedy(tmp_path):
    environment = {"PATH": "/usr/bin:/bin", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = subprocess.run([binary(), "ls"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and done.stdout == ""
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "cause", "remedy"], done.stderr
    empty = subprocess.run([binary(), "deploy", str(tmp_path)], capture_output=True, text=True, env=environment)
    assert empty.returncode == 1 and "no handler file" in empty.stderr
    wrong = subprocess.run([binary(), "fly"], capture_output=True, text=True)
    assert wrong.returncode == 2


def test_the_health_page_has_its_members(server):
    health = server.health()
    assert health["status"] == "ok" and health["uptime_ms"] > 0 and re.fullmatch(r"\d+\.\d+\.\d+", health["version"])


def test_a_configuration_file_is_read_and_checked(own, tmp_path):
    file = tmp_path / "server.toml"
    file.write_text("[log]\nlevel = 'debug'\nformat = 'json'\n")
    server = own("--config", str(file)).start()
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    assert lines, server.log()
    file.write_text("[logg]\nlevel = 'debug'\n")
    done = subprocess.run([binary(), "up", "--config", str(file), "--data", str(tmp_path / "d")], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "logg" in done.stderr, done.stderr
