"""A real application: Celery, with SQS between its clients and its workers. Stock packages from the Python index."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from harness import REGION, eventually

PACKAGES = ["celery==5.7.0", "kombu[sqs]==5.7.0", "boto3==1.44.5"]
APP = """
import os, pathlib, time
from celery import Celery

notes = pathlib.Path(os.environ["NOTES"])
app = Celery("app", broker=os.environ["BROKER"])
app.conf.update(
    broker_transport_options={
        "region": os.environ["AWS_DEFAULT_REGION"], "is_secure": False, "visibility_timeout": 3,
        "wait_time_seconds": 1, "polling_interval": 0.1, "queue_name_prefix": os.environ["PREFIX"],
    },
    task_acks_late=True, worker_prefetch_multiplier=1, task_create_missing_queues=True,
    broker_connection_retry_on_startup=True,
)


def note(text):
    # Appending a short line is one step.
    with open(notes, "a") as file:
        file.write(text + "\\n")


@app.task
def add(a, b):
    note(f"add {a + b}")


@app.task(bind=True, max_retries=5)
def stubborn(self, name):
    note(f"try {name} {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry(countdown=1)
    note(f"done {name}")


@app.task
def slow(name):
    note(f"begun {name} {os.getpid()}")
    time.sleep(1)
    if not (notes.parent / "killed").exists():
        time.sleep(60)
    note(f"done {name}")
"""


@pytest.fixture(scope="session")
def celery_python():
    """A Python that has Celery, made once in the cache of the tests."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "pileus" / "celery"
    mark = cache / ("installed-" + "-".join(PACKAGES).replace("==", "-").replace("[", "-").replace("]", ""))
    if not mark.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", cache], check=True)
        pip = [cache / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True)
        mark.touch()
    return str(cache / "bin" / "python")


@pytest.fixture
def application(server, celery_python, tmp_path, name):
    """Starts workers of the application and gives it work."""
    (tmp_path / "app.py").write_text(APP)
    notes, workers = tmp_path / "notes", []
    notes.touch()
    environment = server.environment() | {
        "NOTES": str(notes),
        "BROKER": f"sqs://test:test@127.0.0.1:{server.port}//",
        "PREFIX": f"{name}-",
        "AWS_DEFAULT_REGION": REGION,
    }
    environment.pop("AWS_ENDPOINT_URL")

    class Application:
        folder = tmp_path

        def worker(self, *queues):
            command = [celery_python, "-m", "celery", "-A", "app", "worker", "-P", "threads", "-c", "4", "-Q", ",".join(queues)]
            log = open(tmp_path / f"worker{len(workers)}.log", "w")
            process = subprocess.Popen(
                [*command, "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"],
                cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )
            workers.append(process)
            return process

        def call(self, code):
            done = subprocess.run(
                [celery_python, "-c", f"from app import *\n{code}"], cwd=tmp_path, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr

        def notes(self):
            return notes.read_text().split("\n")[:-1]

    yield Application()
    for process in workers:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(20)
    for file in sorted(tmp_path.glob("worker*.log")):
        print(file.name, file.read_text()[-3000:])


@pytest.mark.slow
def test_tasks_of_several_queues_run_and_are_tried_again(server, application, name):
    application.worker("orders", "mails")
    application.call(
        "for n in range(60):\n    add.apply_async((n, 1000), queue=['orders', 'mails'][n % 2])\n"
        "stubborn.apply_async(('a',), queue='orders')\n"
        "add.apply_async((1, 1), queue='mails', countdown=2)\n"
    )
    wanted = {f"add {1000 + n}" for n in range(60)} | {"add 2", "done a"}
    eventually(lambda: wanted <= set(application.notes()), 60, 0.2, "every task")
    notes = application.notes()
    assert [one for one in notes if one.startswith("try a")] == ["try a 0", "try a 1", "try a 2"]
    assert len([one for one in notes if one.startswith("add 1")]) == 60
    sqs = server.client("sqs")
    urls = sqs.list_queues(QueueNamePrefix=name)["QueueUrls"]
    assert {url.rsplit("/", 1)[1] for url in urls} >= {f"{name}-orders", f"{name}-mails"}

    def empty(url):
        shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return all(shown[f"ApproximateNumberOfMessages{kind}"] == "0" for kind in ("", "NotVisible", "Delayed"))

    eventually(lambda: all(empty(url) for url in urls), 30, 0.2, "the acknowledgement of every task")


@pytest.mark.slow
def test_what_a_dead_worker_held_is_done_by_another(application):
    first = application.worker("jobs")
    application.call("slow.apply_async(('x',), queue='jobs')")
    eventually(lambda: any(one.startswith("begun x") for one in application.notes()), 60, 0.1, "the task's begin")
    first.kill()
    first.wait(20)
    (application.folder / "killed").touch()
    began = time.monotonic()
    application.worker("jobs")
    eventually(lambda: "done x" in application.notes(), 60, 0.1, "the task's end")
    assert time.monotonic() - began < 60
    assert len([one for one in application.notes() if one.startswith("begun x")]) == 2
