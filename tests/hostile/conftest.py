"""Fixtures of the black-box tests, and a neighbour whom no attack may touch."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BLACKBOX = HERE.parent / "blackbox"
sys.path.insert(0, str(BLACKBOX))

_spec = importlib.util.spec_from_file_location("blackbox_conftest", BLACKBOX / "conftest.py")
_blackbox = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_blackbox)
pytest_configure = _blackbox.pytest_configure
shared, server, functions, name, own = (
    _blackbox.shared, _blackbox.server, _blackbox.functions, _blackbox.name, _blackbox.own,
)  # fmt: skip

from hostile import Neighbour, build_attacker, full_isolation  # noqa: E402


@pytest.fixture(scope="session")
def attacker(tmp_path_factory):
    """The bytes of the native program, built once."""
    return build_attacker(tmp_path_factory.mktemp("native"))


@pytest.fixture
def full(server):
    """For what only a host with every wall can promise."""
    missing = full_isolation(server)
    if missing:
        pytest.skip(f"this host does not give every wall: {missing}")


@pytest.fixture
def neighbour(server):
    """Another function. After the test it must be the process that it was before, with all that it had."""
    neighbour = Neighbour(server)
    yield neighbour
    neighbour.unharmed()
