"""Fixtures: one shared server a worker, and servers of one's own."""

from __future__ import annotations

import itertools

import pytest

from harness import Functions, Server

_numbers = itertools.count()


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than ten seconds")


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A server for every test that leaves it well."""
    server = Server(tmp_path_factory.mktemp("shared")).start()
    yield server
    server.end()
    print(server.log()[-4000:])


@pytest.fixture
def server(shared):
    """The shared server; afterwards it must still be healthy."""
    yield shared
    assert shared.process.poll() is None, f"the server died:\n{shared.log()[-4000:]}"
    assert shared.health()["status"] == "ok"


@pytest.fixture
def functions(server):
    return Functions(server)


@pytest.fixture
def name(request):
    """A function name of the test's own."""
    return f"f{next(_numbers)}-{request.node.originalname[5:45].replace('_', '-')}"[:60]


@pytest.fixture
def own(tmp_path):
    """Makes servers that belong to one test; they are ended with it."""
    made = []

    def make(*arguments, **options) -> Server:
        folder = tmp_path / f"server{len(made)}"
        folder.mkdir()
        server = Server(folder, *arguments, **options)
        made.append(server)
        return server

    yield make
    for server in made:
        server.end()
