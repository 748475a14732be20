"""Weight files: read without executing anything in them, check, load, save.

A ``.pt`` file is a pickle, which may name any Python callable to be called while it is read. Here PyTorch's restricted
reader is used, and the classes that published YOLOv7 files are known to name are all replaced by ``_Inert``, so that
nothing but the tensors is of interest and no code outside this module and PyTorch runs. A Caffe2 ``.pkl`` file is read
by a reader that knows arrays and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from tps_pipeline.errors import WeightsError


class _Inert:
    """Stands in for every class a file may name: keeps its attributes, does nothing."""

    def __init__(self, *_: Any) -> None:
        """Take and forget what the file would construct the object with."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


_KNOWN = [
    *(f"models.yolo.{name}" for name in ("Model", "Detect", "IDetect")),
    *(f"models.common.{name}" for name in ("Conv", "MP", "SP", "Concat", "SPPCSPC", "RepConv")),
    *(f"models.common.{name}" for name in ("ImplicitA", "ImplicitM")),
    *(f"torch.nn.modules.container.{name}" for name in ("ModuleList", "Sequential")),
    *(f"torch.nn.modules.activation.{name}" for name in ("LeakyReLU", "SiLU")),
    "torch.nn.modules.batchnorm.BatchNorm2d",
    "torch.nn.modules.conv.Conv2d",
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.upsampling.Upsample",
    "numpy.ndarray",
    "numpy.dtype",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
]
"""What YOLOv7's own training script puts into its files."""

_NESTED = ("ema", "model", "state_dict", "model_state")
"""Where training scripts put the weights in a file, the preferred place first."""


def read_weights(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a weight file under the names that its network gave them.

    Reads safetensors, PyTorch files holding a state dict, a training script's dictionary around one, or a whole YOLOv7
    model, and Caffe2's pickled arrays (``.pkl``). Nothing that the file names is imported or called.

    Args:
        path: A ``.safetensors`` file, a file written by ``torch.save``, or a ``.pkl`` file of PySlowFast's model zoo.
        sha256: The file's expected digest in hexadecimal.

    Raises:
        WeightsError: The file is missing, is another one than expected, cannot be read, or asks for code.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file")
    if sha256 is not None:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != sha256.lower():
            raise WeightsError(f"{path}: its SHA-256 is {actual}, not {sha256}; download it again")
    if path.suffix == ".safetensors":
        return load_checkpoint(path)[0]
    if path.suffix == ".pkl" and not zipfile.is_zipfile(path):
        return _read_caffe2(path)
    tensors = dict(_tensors(_innermost(_read_pickle(path))))
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors")
    if all(name.startswith("module.") for name in tensors):  # saved from a data-parallel wrapper
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def _read_pickle(path: Path) -> Any:
    with torch.serialization.safe_globals([(_Inert, name) for name in _KNOWN]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)  # of what is then refused
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            if not zipfile.is_zipfile(path):
                raise WeightsError(
                    f"{path}: damaged, not a weight file, or one from before PyTorch 1.6 that holds more than tensors; "
                    "if it is that and you trust it, load it and save its state dict again with a newer PyTorch"
                ) from error
            try:
                wanted = torch.serialization.get_unsafe_globals_in_checkpoint(path)
            except Exception:  # the scan fails on whatever made the reader fail
                wanted = []
            if wanted:
                names = ", ".join(sorted(wanted))
                raise WeightsError(f"{path}: wants code that is not allowed to run: {names}") from error
            raise WeightsError(f"{path}: damaged, or not a weight file ({error})") from error


class _ArraysOnly(pickle.Unpickler):
    """Reads arrays in plain containers; whatever else a file names is refused before it is imported."""

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for."""
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        if name == "_reconstruct" and module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            return _empty_array
        if (module, name) == ("_codecs", "encode"):  # bytes, as Python 3 writes them in old protocols
            return _latin1
        raise pickle.UnpicklingError(f"{module}.{name}")


def _empty_array(_: Any, shape: tuple[int, ...], kind: Any) -> np.ndarray:
    """An array that the file goes on to fill, as NumPy's ``_reconstruct`` makes it."""
    return np.ndarray.__new__(np.ndarray, shape, kind)


def _latin1(text: str, _: str) -> bytes:
    return text.encode("latin1")


def _read_caffe2(path: Path) -> dict[str, Tensor]:
    """The arrays of a Caffe2 model, but for the optimiser's."""
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: damaged, or wants code that is not allowed to run: {error}") from error
    except Exception as error:  # bytes that happen to be a pickle of something else
        raise WeightsError(f"{path}: damaged, or not a Caffe2 model ({error})") from error
    blobs = content.get("blobs") if isinstance(content, dict) else None
    named = blobs.items() if isinstance(blobs, dict) else ()
    arrays = {name: value for name, value in named if isinstance(value, np.ndarray)}
    weights = {name: a for name, a in arrays.items() if a.dtype.kind == "f" and not name.endswith("_momentum")}
    if not weights:
        raise WeightsError(f"{path}: not a Caffe2 model: no `blobs` with arrays in it")
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in weights.items()}


def _innermost(content: Any) -> Any:
    while isinstance(content, dict):
        nested = (content[key] for key in _NESTED if isinstance(content.get(key), dict | _Inert))
        inner = next(nested, None)
        if inner is None:
            return content
        content = inner
    return content


def _tensors(content: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors of a (nested) dictionary or of a pickled module, under dotted names."""
    if isinstance(content, _Inert):
        fields = vars(content)
        content = {k: v for part in ("_parameters", "_buffers", "_modules") for k, v in fields.get(part, {}).items()}
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value.detach()
        else:
            yield from _tensors(value, f"{prefix}{name}.")


@dataclass(frozen=True)
class Fit:
    """How a state dict fitted a network.

    Attributes:
        loaded: Entries taken over.
        missing: Entries that only the network has; they keep their initial values.
        unexpected: Entries that only the state dict has.
        reshaped: Entries of another shape, such as a head of another class count; they keep their initial values.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]


def load_into(model: nn.Module, state_dict: Mapping[str, Tensor], *, keep: Collection[str] = ()) -> Fit:
    """Take over what fits; the rest of the network stays as initialised.

    Args:
        model: The network to fine-tune.
        state_dict: Weights under the network's own names.
        keep: Entries to leave alone, such as ``head.anchors`` when they were fitted to other boxes.

    Raises:
        WeightsError: Nothing fits.
    """
    own = model.state_dict()
    offered = {name: tensor for name, tensor in state_dict.items() if name not in keep}
    common = [name for name in own if name in offered]
    fitting = [name for name in common if own[name].shape == offered[name].shape]
    if not fitting:
        raise WeightsError(
            misfit(type(model).__name__, missing=own.keys() - offered.keys(), unexpected=offered.keys() - own.keys())
        )
    model.load_state_dict({name: offered[name] for name in fitting}, strict=False)
    return Fit(
        loaded=tuple(fitting),
        missing=tuple(name for name in own if name not in offered and name not in keep),
        unexpected=tuple(name for name in offered if name not in own),
        reshaped=tuple(name for name in common if name not in fitting),
    )


def load_strictly(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load weights that must fit exactly.

    Raises:
        WeightsError: Names the missing, unexpected and differently shaped entries.
    """
    own = model.state_dict()
    missing, unexpected = own.keys() - state_dict.keys(), state_dict.keys() - own.keys()
    reshaped = [
        f"{name}: {tuple(state_dict[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own.keys() & state_dict.keys()
        if own[name].shape != state_dict[name].shape
    ]
    if missing or unexpected or reshaped:
        raise WeightsError(misfit(type(model).__name__, missing=missing, unexpected=unexpected, reshaped=reshaped))
    model.load_state_dict(state_dict)


def misfit(
    what: str, *, missing: Iterable[str] = (), unexpected: Iterable[str] = (), reshaped: Iterable[str] = ()
) -> str:
    """One sentence on why tensors do not fit a network, naming the first few of each kind."""
    reasons = []
    for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped)):
        if found := sorted(names):
            shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
            reasons.append(f"{len(found)} {kind} ({shown})")
    return f"these are not the weights of {what}: " + "; ".join(reasons)


def save_checkpoint(path: Path, state_dict: Mapping[str, Tensor], *, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights as safetensors, on the CPU, with a few strings beside them."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state_dict.items()}
    path.write_bytes(_in_order(save(tensors, metadata=dict(metadata or {}))))


def _in_order(content: bytes) -> bytes:
    """The same safetensors file with sorted strings; they come in random order, and equal weights would differ."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the tensors so
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read weights written by ``save_checkpoint``, and the strings beside them.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{path}: damaged, or not a safetensors file ({error})") from error
