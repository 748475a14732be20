"""A network as an ONNX file, for other runtimes, and one that ONNX Runtime runs in place of PyTorch.

Which network a name of a store means is not known here.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

import tps_pipeline
from tps_pipeline.errors import WeightsError
from tps_pipeline.models.kept import loading, runtime
from tps_pipeline.whole_file import whole_file

EXTRA = "tps-pipeline[onnx]"
"""The optional packages that this needs."""

UNUSED = 30 * 24 * 3600
"""Seconds after which a file that nobody has asked for is deleted."""


def must_be_installed(*, to_run: bool = False) -> None:
    """Make sure that the exporter's packages are there.

    Args:
        to_run: Those that run a file, too.

    Raises:
        WeightsError: One is missing.
    """
    needed = ("onnx", "onnxscript", "onnxruntime") if to_run else ("onnx", "onnxscript")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        done = "written and run" if to_run else "written"
        raise WeightsError(f"ONNX files are {done} with {' and '.join(missing)}: pip install '{EXTRA}'")


def as_asked(network: nn.Module, example: Tensor, *, dynamic: Mapping[int, Any] | None = None) -> nn.Module:
    """A network for evaluation as the runtime in force runs it (`models.kept`), to be called as ever.

    Args:
        network: Takes one tensor, gives one or some.
        example: See `write`.
        dynamic: See `write`; the number of clips without.

    Raises:
        WeightsError: ONNX Runtime is asked for, and is not installed.
    """
    network.eval()
    return network if runtime() == "torch" else _OnnxRuntime(network, example, dynamic or {0: Dim("batch")})


class _OnnxRuntime(nn.Module):
    """What a network computes, computed by ONNX Runtime on the CPU."""

    def __init__(self, network: nn.Module, example: Tensor, dynamic: Mapping[int, Any]) -> None:
        super().__init__()
        must_be_installed(to_run=True)
        import onnxruntime

        device = next(network.parameters()).device
        self.where = nn.Parameter(
            torch.empty(0, device=device), requires_grad=False
        )  # who calls it asks for its device
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        content = _encoded(network.cpu(), example, dynamic)
        self._session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """What the network gives."""
        taken = {self._session.get_inputs()[0].name: np.ascontiguousarray(x.float().cpu().numpy())}
        given = tuple(torch.from_numpy(np.asarray(each)).to(x.device) for each in self._session.run(None, taken))
        return given[0] if len(given) == 1 else given


def _encoded(network: nn.Module, example: Tensor, dynamic: Mapping[int, Any]) -> bytes:
    """What `encode` writes, or has written before: that takes some ten seconds a network.

    It is kept in the user's cache, by what the network is loaded from and by the code; never in a store.
    """
    network_is = loading()
    if network_is is None:
        return encode(network, example, dynamic=dynamic)
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tps_pipeline" / "onnx"
    except RuntimeError:  # whoever this is has no home
        return encode(network, example, dynamic=dynamic)
    name = hashlib.sha256(f"{network_is} {tuple(example.shape)} {_code()}".encode()).hexdigest()[:32]
    with suppress(OSError):
        for file in folder.glob(f"{name}-*.onnx"):
            content = file.read_bytes()
            if file.stem.endswith(_digest(content)):
                os.utime(file)
                return content
    content = encode(network, example, dynamic=dynamic)
    with suppress(OSError):  # it may be full, or not ours
        with whole_file(folder / f"{name}-{_digest(content)}.onnx") as partial:
            partial.write_bytes(content)
        for file in folder.glob("*.onnx"):
            if file.stat().st_mtime < time.time() - UNUSED:
                file.unlink()
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


@functools.cache
def _code() -> str:
    """A hash of this package's source and of what exports."""
    versions = [importlib.metadata.version(name) for name in ("torch", "onnx", "onnxscript")]
    source = hashlib.sha256(" ".join(versions).encode())
    for file in sorted(Path(tps_pipeline.__file__).parent.rglob("*.py")):
        source.update(file.read_bytes())
    return source.hexdigest()


def write(
    network: nn.Module,
    example: Tensor,
    path: Path,
    *,
    takes: str,
    gives: Sequence[str],
    dynamic: Mapping[int, Any],
    about: Mapping[str, str],
) -> None:
    """Write a network as it is in evaluation.

    Args:
        network: On the CPU; takes one tensor, gives one or some.
        example: An input. What is not dynamic has its shape, and each dynamic side is at least 2 in it.
        path: The file; one that is there is replaced.
        takes: What the input is called.
        gives: What the outputs are called.
        dynamic: Which of the input's dimensions may have another size, and of which (`torch.export.Dim`).
        about: Kept in the file's metadata.

    Raises:
        WeightsError: The exporter's packages are not installed.
    """
    content = encode(network, example, takes=takes, gives=gives, dynamic=dynamic, about=about)
    with whole_file(path) as partial:
        partial.write_bytes(content)


def encode(
    network: nn.Module,
    example: Tensor,
    *,
    takes: str = "x",
    gives: Sequence[str] = (),
    dynamic: Mapping[int, Any],
    about: Mapping[str, str] | None = None,
) -> bytes:
    """What `write` writes."""
    must_be_installed()
    network.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the exporter calls in PyTorch
        network(example)  # what is computed once and kept is no part of the graph
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            dynamic_shapes=(dict(dynamic),),
            input_names=[takes],
            output_names=list(gives) or None,
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # the lines of our code, by their places on this machine
        node.doc_string = None
    program.model.metadata_props.clear()
    program.model.metadata_props.update(about or {})
    return program.model_proto.SerializeToString()
