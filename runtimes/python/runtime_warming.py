"""Goes once through what every fork will do, in the template, so that forks find it done: the interpreter writes into its
own code while it learns, and each page that a fork writes is a page of its own. Leaves nothing behind.
"""

import os
import sys

ROUNDS = 20
HERE = "/var/runtime/python"


def warm(bootstrap):
    """`bootstrap` is the namespace of the bootstrap."""
    environ, path, streams, meta = dict(os.environ), list(sys.path), (sys.stdout, sys.stderr), list(sys.meta_path)
    cached = set(sys.path_importer_cache)
    ours, theirs = os.pipe()
    channel, bootstrap["CHANNEL"] = bootstrap["CHANNEL"], theirs
    here = os.getcwd()
    try:
        rehearse(bootstrap, environ, ours)
    finally:
        bootstrap["CHANNEL"] = channel
        os.close(ours)
        os.close(theirs)
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environ)
        sys.path[:], sys.meta_path[:] = path, meta
        sys.stdout, sys.stderr = streams
        sys.modules.pop("runtime_nothing", None)
        for folder in set(sys.path_importer_cache) - cached:
            del sys.path_importer_cache[folder]


def rehearse(bootstrap, environ, ours):
    fork = bootstrap["load_once"]("runtime_fork")
    make_context = bootstrap["make_context"]
    variables = ["%s=%s" % pair for pair in environ.items()]
    about = {"request_id": "r", "deadline_ms": 1, "arn": "a", "trace_id": None, "client_context": None, "cognito_identity": None}
    if "ssl" in sys.modules:
        sys.modules["ssl"].RAND_bytes(1)
    for _ in range(ROUNDS):
        fork.become({"variables": variables}, folder=HERE)
        bootstrap["set_search_path"]()
        sys.path.insert(0, HERE)
        if "runtime_logging" in bootstrap["LOADED"]:
            bootstrap["LOADED"]["runtime_logging"].adjust(sys.modules["logging"])
        handler = bootstrap["find_handler"]("runtime_nothing.handler")
        bootstrap["send"](bootstrap["RESPONSE"], bootstrap["answer"](handler, make_context, about, b'{"a": [1, "b"]}'))
        os.read(ours, 4096)
        sys.modules.pop("runtime_nothing", None)
