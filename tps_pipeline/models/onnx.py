"""A network as an ONNX file, for other runtimes. Which network a name of a store means is not known here."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tps_pipeline.errors import WeightsError
from tps_pipeline.whole_file import whole_file

EXTRA = "tps-pipeline[onnx]"
"""The optional packages that this needs."""


def must_be_installed() -> None:
    """Make sure that the exporter's packages are there.

    Raises:
        WeightsError: One is missing.
    """
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise WeightsError(f"ONNX files are written with {' and '.join(missing)}: pip install '{EXTRA}'")


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
            output_names=list(gives),
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # the lines of our code, by their places on this machine
        node.doc_string = None
    program.model.metadata_props.clear()
    program.model.metadata_props.update(about)
    with whole_file(path) as partial:
        partial.write_bytes(program.model_proto.SerializeToString())
