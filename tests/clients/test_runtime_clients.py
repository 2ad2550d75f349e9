"""The official runtime clients, unmodified, run as custom runtimes in the sandbox (`install` has put them in a folder)."""

import os
import pathlib
import subprocess

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
CLIENTS = pathlib.Path(os.environ.get("PILEUS_CLIENTS") or CACHE / "pileus" / "clients")


def test_the_official_clients_are_served():
    run = subprocess.run(
        ["cargo", "test", "--locked", "-p", "compute-process", "--test", "it", "clients::", "--", "--nocapture"],
        cwd=REPOSITORY,
        env={**os.environ, "PILEUS_CLIENTS": str(CLIENTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "left out" not in run.stdout, run.stdout
