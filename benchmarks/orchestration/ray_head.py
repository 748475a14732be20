"""A Ray head on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TRIES = 6
_PATIENT = """
import time
from ray._private import services
from ray.scripts.scripts import main
once = services.get_node
def get_node(*given):
    for _ in range(60):
        try:
            return once(*given)
        except RuntimeError:
            time.sleep(1)
    return once(*given)
services.get_node = get_node
main()
"""
"""The command `ray`, which gives up where the first node takes more than 30 s to start; on a busy machine it does."""


@contextmanager
def ray_head(*, gpus: int, cpus: int = 2) -> Iterator[str]:
    """Start a head; it ends with the block.

    Args:
        gpus: Devices that it hands out shares of, whether they are there or not.
        cpus: Cores that it hands out.

    Yields:
        The address that it takes jobs at.
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # as if activated
    for _ in range(TRIES):
        address, command = _head(cpus=cpus, gpus=gpus)
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as head:
            try:
                while head.poll() is None and not _has_nodes(address):
                    time.sleep(1)
                if head.poll() is None:
                    yield address
                    return
            finally:
                head.terminate()
                head.wait(60)
    raise TimeoutError("no Ray head came up; `ray start --head` says why")


def _head(*, cpus: int, gpus: int) -> tuple[str, list[str]]:
    """An address, and the command that has a head answer there."""
    names = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port")
    ports = {name: free_port() for name in names}
    options = [f"--num-cpus={cpus}", f"--num-gpus={gpus}", "--disable-usage-stats", "--object-store-memory=100000000"]
    options += ["--no-monitor", "--include-log-monitor=false"]  # jobs do without these, which start Python each
    options += [f"--{name}={port}" for name, port in ports.items()]
    command = [sys.executable, "-c", _PATIENT, "start", "--head", "--block", *options]
    return f"http://127.0.0.1:{ports['dashboard-port']}", command


def _has_nodes(address: str) -> bool:
    """Whether a head answers, and has a machine to run jobs on."""
    try:
        with urllib.request.urlopen(f"{address}/nodes?view=summary", timeout=10) as answer:
            return bool(json.load(answer)["data"]["summary"])
    except (OSError, ValueError, KeyError):
        return False


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
