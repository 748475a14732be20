"""A Ray head on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def ray_head(*, gpus: int, seconds: float = 240) -> Iterator[str]:
    """Start a head of two CPU cores; it ends with the block.

    Args:
        gpus: Devices that it hands out shares of, whether they are there or not.
        seconds: How long it may take to start.

    Yields:
        The address that it takes jobs at.
    """
    from ray.job_submission import JobSubmissionClient  # pyright: ignore[reportMissingImports]

    folder = Path(sys.executable).parent
    ports = {name: free_port() for name in ("port", "dashboard-port", "ray-client-server-port")}
    ports["dashboard-agent-listen-port"] = free_port()
    options = ["--num-cpus=2", f"--num-gpus={gpus}", "--disable-usage-stats", "--object-store-memory=100000000"]
    command = [folder / "ray", "start", "--head", "--block", *options, *(f"--{k}={v}" for k, v in ports.items())]
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}  # of the activated environment
    address = f"http://127.0.0.1:{ports['dashboard-port']}"
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            begin = time.monotonic()
            while True:
                try:
                    JobSubmissionClient(address).list_jobs()
                    break
                except (ConnectionError, RuntimeError):
                    if time.monotonic() - begin > seconds:
                        raise
                    time.sleep(1)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
