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
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # as if activated
    while True:
        address, command = _head(cpus=cpus, gpus=gpus)
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as head:
            try:
                while head.poll() is None and not _has_nodes(address):
                    if time.monotonic() - begin > seconds:
                        raise TimeoutError(f"no Ray head after {seconds:.0f} s")
                    time.sleep(1)
                if head.poll() is None:
                    yield address
                    return
                # Once more: Ray gives up where its first node takes more than 30 s to start, as on a busy machine.
            finally:
                head.terminate()
                head.wait(60)


def _head(*, cpus: int, gpus: int) -> tuple[str, list[str]]:
    """An address, and the command that has a head answer there."""
    ports = {name: free_port() for name in ("port", "dashboard-port", "dashboard-agent-listen-port")}
    options = [f"--num-cpus={cpus}", f"--num-gpus={gpus}", "--disable-usage-stats", "--object-store-memory=100000000"]
    # Nor what jobs do without and what starts Python once more each: client server, autoscaler, collecting of logs.
    options += ["--ray-client-server-port=0", "--no-monitor", "--include-log-monitor=false"]
    options += [f"--{name}={port}" for name, port in ports.items()]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", *options]
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
