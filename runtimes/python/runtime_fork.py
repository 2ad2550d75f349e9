"""What a fork of a prepared Python does to be indistinguishable from a process that was started for its function: its
variables, time zone and folder, and nothing that two forks would draw alike.
"""

import os
import sys


def become(assignment, folder="/var/task"):
    """Takes the function's variables and folder."""
    variables = dict(text.split("=", 1) for text in assignment["variables"])
    zone = os.environ.get("TZ")
    if "LC_CTYPE" in os.environ:
        # The interpreter's own doing where the host lacks the locale.
        variables.setdefault("LC_CTYPE", os.environ["LC_CTYPE"])
    os.environ.clear()
    os.environ.update(variables)
    if variables.get("TZ") != zone:
        import time

        time.tzset()
    os.chdir(folder)
    scrub()


def scrub():
    """Makes different again what a fork has in common with its siblings."""
    modules = sys.modules
    if "ssl" in modules:
        # OpenSSL notices a fork by its process number only, and siblings have the same.
        modules["ssl"].RAND_add(os.urandom(48), 48.0)
    if "random" in modules:
        modules["random"].seed()
    if "threading" in modules:
        # The number that the kernel gives the thread.
        modules["threading"].main_thread()._set_native_id()
    forget = {
        "tempfile": ("_name_sequence", "tempdir"),
        "uuid": ("_node", "_last_timestamp"),
        "platform": ("_uname_cache",),
    }
    for name, attributes in forget.items():
        module = modules.get(name)
        for attribute in attributes:
            if getattr(module, attribute, None) is not None:
                setattr(module, attribute, None)
