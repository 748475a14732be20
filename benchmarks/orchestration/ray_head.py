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

_PATIENT = """
import time
from ray._private import services
from ray.scripts.scripts import main
once = services.get_node
def get_node(*given):
    for _ in range(240):
        try:
            return once(*given)
        except RuntimeError:
            time.sleep(1)
    return once(*given)
services.get_node = get_node
main()
"""
"""The command `ray`, but that it does not give up after 30 s: a busy machine takes longer to start its first node."""


@contextmanager
def ray_head(*, gpus: int, cpus: int = 2, seconds: float = 600) -> Iterator[str]:
    """Start a head; it ends with the block.

    Args:
        gpus: Devices that it hands out shares of, whether they are there or not.
        cpus: Cores that it hands out.
        seconds: How long it may take to start.

    Yields:
        The address that it takes jobs at.
    """
    begin = time.monotonic()
    address, command = _head(cpus=cpus, gpus=gpus)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # as if activated
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not _has_nodes(address):
                if process.poll() is not None or time.monotonic() - begin > seconds:
                    raise TimeoutError("no Ray head")
                time.sleep(1)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def _head(*, cpus: int, gpus: int) -> tuple[str, list[str]]:
    """An address, and the command that has a head answer there."""
    names = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port")
    ports = {name: free_port() for name in names}
    options = [f"--num-cpus={cpus}", f"--num-gpus={gpus}", "--disable-usage-stats", "--object-store-memory=100000000"]
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
