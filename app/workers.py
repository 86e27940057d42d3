"""Several processes on one socket: started one after the other, started again if they die, stopped together.

Each holds an encoder of its own, and its share of the processors: docs/decisions/ says why.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import click
from prometheus_client.multiprocess import mark_process_dead

from app.settings import Settings

LOOK_EVERY_S = 0.2
AGAIN_AFTER_S = 1.0
"""A worker that died is started again no sooner: what kills it at once would else kill it in a loop."""
STOP_WITHIN_S = 10.0
"""Beyond what its requests have to end; then a worker is killed."""

logger = logging.getLogger(__name__)


def run_workers(settings: Settings) -> int:
    """Serve by settings.workers processes until Ctrl-C or SIGTERM; return the exit code.

    The first has to serve before the others are started, so that what is wrong is said once: then it is 2.
    """
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: stopping.append(number))
    with tempfile.TemporaryDirectory(prefix="image-retrieval-metrics-") as counts, listen(settings) as door:
        host, port = door.getsockname()[:2]
        environment = worker_environment(settings, Path(counts))
        workers: list[Worker] = []
        try:
            while not stopping and len(workers) < settings.workers:
                workers.append(Worker(door, environment))
                if not workers[-1].wait_until_serving(stopping):
                    return 0 if stopping else 2
            place = f"[{host}]" if ":" in host else host
            click.echo(f"serving on http://{place}:{port} by {len(workers)} processes; Ctrl-C stops")
            while not stopping:
                time.sleep(LOOK_EVERY_S)
                for at, worker in enumerate(workers):
                    if (code := worker.process.poll()) is not None:
                        logger.error("a worker ended with code %s; another takes its place", code)
                        mark_process_dead(worker.process.pid, counts)  # type: ignore[no-untyped-call]
                        time.sleep(AGAIN_AFTER_S)
                        workers[at] = Worker(door, environment)
            return 0
        finally:
            stop(workers, within_s=settings.drain_s + settings.finish_s + STOP_WITHIN_S, how=stopping)


def listen(settings: Settings) -> socket.socket:
    """Return a socket bound to the settings' address, to be shared by the workers.

    Raises:
        OSError: the address is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    door = socket.socket(family)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind((settings.host, settings.port))
    door.set_inheritable(True)
    return door


def worker_environment(settings: Settings, counts: Path) -> Mapping[str, str]:
    """Return the environment of a worker: its parent's, its share of the cores, where all count together."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = str(max(1, cores // settings.workers))
    return {"OMP_NUM_THREADS": share} | os.environ | {
        "PROMETHEUS_MULTIPROC_DIR": str(counts),
        "IMAGE_RETRIEVAL_HOST": settings.host,
    }  # fmt: skip


class Worker:
    """A process that serves on the shared socket; it stops when its standard input closes, as when we die."""

    def __init__(self, door: socket.socket, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "app.cli", "serve", "--socket", str(door.fileno())],
            env=environment,
            pass_fds=[door.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us, who tell it
        )

    def wait_until_serving(self, stopping: list[int]) -> bool:
        """Return whether it came to serve; it says so by a line."""
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        while not stopping and self.process.poll() is None:
            if self.process.stdout.read(1):
                return True
            time.sleep(LOOK_EVERY_S)
        return False


def stop(workers: list[Worker], *, within_s: float, how: list[int]) -> None:
    """Tell all workers to stop as we were told, wait for them, and kill who does not."""
    for worker in workers:
        worker.process.send_signal(how[0] if how else signal.SIGTERM)
    deadline = time.monotonic() + within_s
    for worker in workers:
        try:
            worker.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logger.error("a worker did not stop in time and was killed")
            worker.process.kill()
            worker.process.wait()
        for stream in (worker.process.stdin, worker.process.stdout):
            if stream is not None:
                stream.close()
