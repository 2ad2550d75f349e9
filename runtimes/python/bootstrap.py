"""Runs Python functions: loads the handler, then answers one event after the other on the private channel.

The channel is descriptor 3: frames of `u32` length (little endian), `u8` kind, `u32` sequence number, body. What a
function can see of it follows AWS's Python runtime: module search path, context, log lines, error documents. Nothing is
imported here that an idle function does not need; this file is the start-up time of every Python function.
"""

import sys

sys.path[:] = [path for path in sys.path if not path.startswith("/var/runtime")]

import os

CHANNEL = 3
EVENT, READY, RESPONSE, ERROR, INIT_ERROR, LOG = 1, 2, 3, 4, 5, 6
ASSIGN = 16
HERE = "/var/runtime/python/"


class Fault(Exception):
    """An error of the runtime's own making, with AWS's name for it."""

    def __init__(self, error_type, message, trace=None):
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.trace = trace


class Current:
    """What is being worked on."""

    request_id = None
    sequence = 0


def send(kind, body):
    head = (len(body) + 5).to_bytes(4, "little") + bytes((kind,)) + Current.sequence.to_bytes(4, "little")
    rest = memoryview(head + body)
    while rest:
        rest = rest[os.write(CHANNEL, rest):]


def send_error(kind, document, error_type=None):
    error_type = (error_type or document["errorType"]).encode("utf-8", "replace")
    send(kind, len(error_type).to_bytes(4, "little") + error_type + to_json(document).encode("utf-8", "replace"))


def receive(length):
    data = os.read(CHANNEL, length)
    if len(data) == length:
        return data
    parts, missing = [data], length - len(data)
    while missing:
        data = os.read(CHANNEL, min(missing, 1 << 20))
        if not data:
            # The platform is gone, or never spoke again: there is nobody to tell.
            os._exit(0)
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def next_event():
    length = int.from_bytes(receive(4), "little")
    frame = receive(length)
    Current.sequence = int.from_bytes(frame[1:5], "little")
    split = 9 + int.from_bytes(frame[5:9], "little")
    return json.loads(frame[9:split]), frame[split:]


def log_record(text):
    """One event of the log, whatever it holds."""
    send(LOG, text.encode("utf-8", "replace"))


def code_of(name):
    """What a module of this folder is compiled to."""
    if name not in COMPILED:
        with open(HERE + name + ".py", encoding="utf-8") as source:
            COMPILED[name] = compile(source.read(), HERE + name + ".py", "exec")
    return COMPILED[name]


COMPILED = {}


def load(name):
    """A module of this folder, which is not on the function's search path."""
    module = type(sys)(name)
    exec(code_of(name), module.__dict__)
    return module


def load_once(name):
    if name not in LOADED:
        LOADED[name] = load(name)
    return LOADED[name]


# Whatever a fork let go of it would write to, and what it writes to it no longer shares.
LOADED = {}
VERSION = "python%d.%d" % sys.version_info[:2]


def libraries():
    """Where the interpreter's own packages lie, and those that were added to this runtime."""
    folders = [sys.prefix + "/lib/" + VERSION + "/site-packages"]
    if sys.prefix == "/usr":
        # The layout of Debian and its children.
        folders += ["/usr/local/lib/" + VERSION + "/dist-packages", "/usr/lib/python3/dist-packages"]
    folders.append("/var/runtime/packages/" + VERSION)
    return [path for path in folders if os.path.isdir(path)]


def set_search_path():
    layer = "/opt/python/lib/%s/site-packages" % VERSION
    given = os.environ.get("PYTHONPATH", "").split(":")
    own = [path for path in given if path and path != "/var/runtime"]
    sys.path[:] = ["/var/task"] + own + [layer, "/opt/python", "/var/runtime"] + STANDARD_PATH + LIBRARIES


def add_site_builtins():
    """What `site` would have added, without its search of the disk."""
    import _sitebuiltins
    import builtins

    end = "Ctrl-D (i.e. EOF)"
    builtins.exit = _sitebuiltins.Quitter("exit", end)
    builtins.quit = _sitebuiltins.Quitter("quit", end)
    builtins.help = _sitebuiltins._Helper()


class LoggingHook:
    """Gives `logging` its handler in the moment it is first imported: who does not log does not pay for it."""

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        import importlib.util

        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            attach_logging(module).adjust(module)

        spec.loader.exec_module = exec_module
        return spec


def attach_logging(logging):
    """Gives `logging` its handler; how it writes is the function's to say."""
    load_once("runtime_logging").attach(logging, log_record, Current)
    return load_once("runtime_logging")


class Unbuffered:
    """A stream that holds nothing back: what was printed is in the log even if the next line ends the process."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def write(self, text):
        written = self.stream.write(text)
        self.stream.flush()
        return written

    def writelines(self, lines):
        self.stream.writelines(lines)
        self.stream.flush()


def to_json(value):
    decimals = []

    def other(item):
        decimal = sys.modules.get("decimal")
        if decimal is not None and isinstance(item, decimal.Decimal):
            if item.is_nan():
                return float("nan")
            # The encoder writes no number but its own: a mark is put in its place.
            decimals.append(str(item))
            return "\0decimal %d\0" % (len(decimals) - 1)
        raise TypeError("Object of type %s is not JSON serializable" % type(item).__name__)

    text = json.dumps(value, default=other, ensure_ascii=ASCII)
    for index, number in enumerate(decimals):
        text = text.replace('"\\u0000decimal %d\\u0000"' % index, number, 1)
    return text


# AWS's runtimes from Python 3.12 on write characters as they are.
ASCII = sys.version_info < (3, 12)


def document(message, error_type, trace, request_id=None):
    return {
        "errorMessage": message or "",
        "errorType": error_type or "",
        "requestId": request_id or "",
        "stackTrace": trace or [],
    }


def document_of(error, request_id=None):
    if isinstance(error, Fault):
        return document(error.message, error.error_type, error.trace, request_id)
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    # What this file did before it called the function is nobody's business.
    start = next((i for i, frame in enumerate(frames) if not frame.filename.endswith("/bootstrap.py")), 0)
    trace = traceback.format_list(frames[start:])
    return document(str(error), type(error).__name__, trace, request_id)


def log_error(result):
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
        import time

        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        log_record(to_json({"timestamp": now, "level": "ERROR", **result}))
        return
    head = "[ERROR]"
    if result["errorType"]:
        head += " " + result["errorType"]
    if result["errorMessage"]:
        head += (":" if result["errorType"] else "") + " " + result["errorMessage"]
    lines = [head, "Traceback (most recent call last):"]
    for entry in result["stackTrace"]:
        for line in entry.splitlines() or [""]:
            bare = line.lstrip(" ")
            lines.append("\u00a0" * (len(line) - len(bare)) + bare)
    log_record("\n".join(lines))


def find_handler(name):
    try:
        module_name, function = name.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (name, error)) from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        message = "Cannot use built-in module %s as a handler module" % module_name
        raise Fault("Runtime.BuiltInModuleConflict", message)
    import importlib

    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, error)) from None
    except SyntaxError as error:
        trace = ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)]
        message = "Syntax error in module '%s': %s" % (module_name, error)
        raise Fault("Runtime.UserCodeSyntaxError", message, trace) from None
    try:
        return getattr(module, function)
    except AttributeError:
        message = "Handler '%s' missing on module '%s'" % (function, module_name)
        raise Fault("Runtime.HandlerNotFound", message) from None


def parse(text, what):
    if not text:
        return None
    try:
        return json.loads(text)
    except Exception as error:
        message = "Unable to parse %s JSON: %s" % (what, error)
        raise Fault("Runtime.LambdaContextUnmarshalError", message) from None


def answer(handler, make_context, about, payload):
    """The response's bytes."""
    client = parse(about["client_context"], "Client Context")
    identity = parse(about["cognito_identity"], "Cognito Identity")
    context = make_context(about, client, identity, log_record)
    try:
        event = json.loads(payload)
    except Exception as error:
        raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error) from None
    response = handler(event, context)
    if isinstance(response, bytes):
        return response
    try:
        return to_json(response).encode("utf-8")
    except Exception as error:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error) from None


def settle():
    """What is the same for every function: done once by a template, so that forks find it done."""
    global json, make_context
    add_site_builtins()
    if "logging" in sys.modules:
        attach_logging(sys.modules["logging"])
    else:
        sys.meta_path.insert(0, LoggingHook())
    sys.argv = ["/var/runtime/bootstrap"]
    sys.stdout, sys.stderr = Unbuffered(sys.stdout), Unbuffered(sys.stderr)
    # The function's own `json` must not become the runtime's.
    path, sys.path = sys.path, STANDARD_PATH
    import json

    make_context = load("runtime_context").Context
    sys.path = path


def main():
    set_search_path()
    if make_context is None:
        settle()
    if "runtime_logging" in LOADED:
        LOADED["runtime_logging"].adjust(sys.modules["logging"])
    os.set_inheritable(CHANNEL, False)
    try:
        handler = find_handler(os.environ["_HANDLER"])
    except Exception as error:
        result = document_of(error)
        log_error(result)
        send_error(INIT_ERROR, result)
        sys.exit(1)
    if IS_COPIED:
        be_copied()
    send(READY, b"")
    while True:
        about, payload = next_event()
        Current.request_id = about["request_id"]
        if about["trace_id"]:
            os.environ["_X_AMZN_TRACE_ID"] = about["trace_id"]
        else:
            os.environ.pop("_X_AMZN_TRACE_ID", None)
        try:
            response = answer(handler, make_context, about, payload)
        except Exception as error:
            result = document_of(error, Current.request_id)
            log_error(result)
            send_error(ERROR, result)
        else:
            send(RESPONSE, response)
        # Nothing of an event outlives it.
        about = payload = response = None


def be_copied():
    """Stands still after the initialisation. Returns in the environments that are made from it."""
    snapshot = load("runtime_snapshot")
    for step, error_type in (
        (snapshot.run_before_snapshot, "Runtime.BeforeSnapshotError"),
        (lambda: snapshot.take(globals()), "Runtime.RestoreError"),
        (snapshot.run_after_restore, "Runtime.AfterRestoreError"),
    ):
        try:
            step()
        except Exception as error:
            result = document_of(error)
            log_error(result)
            send_error(INIT_ERROR, result, error_type)
            sys.exit(1)


def prepare():
    """Boots as a template. Returns in a fork, when it has been given its function."""
    global json
    sys.path[:] = STANDARD_PATH + LIBRARIES
    import json

    code_of("runtime_logging")
    load_once("runtime_template").serve(json.loads, rehearse)
    be_assigned()


def rehearse():
    """What a template does before its first fork."""
    sys.orig_argv[-1:] = []
    load_once("runtime_fork")
    settle()
    load_once("runtime_warming").warm(globals())


def be_assigned():
    """Waits for the function, and becomes what a process would be that had been started for it."""
    length = int.from_bytes(receive(4), "little")
    frame = receive(length)
    if frame[0] != ASSIGN:
        os._exit(1)
    load_once("runtime_fork").become(json.loads(frame[5:]))


make_context = None
STANDARD_PATH = list(sys.path)
LIBRARIES = libraries()
IS_COPIED = sys.argv[1:] == ["snapshot"]
if IS_COPIED:
    sys.orig_argv[-1:] = []
if sys.argv[1:] == ["template"]:
    prepare()
main()
