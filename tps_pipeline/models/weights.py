"""Weight files: read without executing anything in them, check, load, save.

A `.pt` file is a pickle, which may name any Python callable to be called while it is read. Here PyTorch's restricted
reader is used, and the classes that published YOLOv7 files are known to name are all replaced by `_Inert`, so that
nothing but the tensors is of interest and no code outside this module and PyTorch runs. A Caffe2 `.pkl` file is read
by a reader that knows arrays and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import warnings
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

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

MOST_TENSORS = 100_000
"""Entries of a weight file. Published networks have a few thousand; a small file can name billions."""

DEEPEST = 64
"""Containers within containers of a weight file; a module's are some ten."""

_NESTED = ("ema", "model", "state_dict", "model_state")
"""Where training scripts put the weights in a file, the preferred place first."""


def read_weights(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a weight file under the names that its network gave them.

    Reads safetensors, PyTorch files holding a state dict, a training script's dictionary around one, or a whole YOLOv7
    model, and Caffe2's pickled arrays (`.pkl`). Nothing that the file names is imported or called.

    Args:
        path: A `.safetensors` file, a file written by `torch.save`, or a `.pkl` file of PySlowFast's model zoo.
        sha256: The file's expected digest in hexadecimal.

    Raises:
        WeightsError: The file is missing, is another one than expected, cannot be read, asks for code, would take more
            memory than its size explains, or holds numbers that are none.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file")
    if sha256 is not None:
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != sha256.lower():
            raise WeightsError(f"{path}: its SHA-256 is {actual}, not {sha256}; download it again")
    try:
        tensors = _read(path)
    except (MemoryError, RecursionError) as error:
        raise WeightsError(f"{path}: damaged, or made to take all memory ({type(error).__name__})") from error
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors")
    for name, tensor in tensors.items():
        if wrong := _unusable(tensor):
            raise WeightsError(f"{path}: {name} {wrong}; fetch the file again, or use another one")
    if all(name.startswith("module.") for name in tensors):  # saved from a data-parallel wrapper
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


class Described(dict[str, Tensor]):
    """Tensors by name, with the strings that a checkpoint of ours has beside them.

    Attributes:
        described: The strings.
    """

    described: Mapping[str, str]


def read_described(path: Path, *, sha256: str | None = None) -> Described:
    """Read a checkpoint of ours from a stranger.

    Args:
        path: A `.safetensors` file.
        sha256: The file's expected digest in hexadecimal.

    Raises:
        WeightsError: As `read_weights`.
    """
    tensors = Described(read_weights(path, sha256=sha256))
    tensors.described = load_checkpoint(path)[1]
    return tensors


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_checkpoint(path)[0]
    if path.suffix == ".pkl" and not zipfile.is_zipfile(path):
        return _read_caffe2(path)
    try:
        return dict(_tensors(_innermost(_read_pickle(path))))
    except _BoundsError as error:
        raise WeightsError(f"{path}: is no weight file: {error}") from error


class _BoundsError(Exception):
    """A file's containers are more, or deeper, than any network's."""


def _unusable(tensor: Tensor) -> str | None:
    """What is wrong with a tensor of a file, if anything is."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        return f"is not a plain tensor ({tensor.layout})"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"says it is {tuple(tensor.shape)} and has {tensor.untyped_storage().nbytes()} bytes"
    if tensor.is_complex():
        return f"is complex ({tensor.dtype})"
    if tensor.is_floating_point() and not torch.isfinite(tensor.float()).all():
        return "holds NaN or infinity"
    return None


def _read_pickle(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        unpacked = sum(member.file_size for member in zipfile.ZipFile(path).infolist())
        if unpacked > 2 * path.stat().st_size:  # `torch.save` stores, and never compresses
            raise WeightsError(f"{path}: not written by PyTorch: unpacks to {unpacked:,} bytes")
    with torch.serialization.safe_globals([(_Inert, name) for name in _KNOWN]), warnings.catch_warnings():
        for of_what_is_then_refused in ("Detected pickle protocol", "Sparse "):
            warnings.filterwarnings("ignore", of_what_is_then_refused, UserWarning)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a decoder of damaged bytes raises
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
    """Reads arrays in plain containers; whatever else a file names is refused before it is imported.

    Args:
        file: The pickle.
        size: Its bytes; no array in it can be larger.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__(file, encoding="latin1")
        self._size = size

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the file stands for."""
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        if name == "_reconstruct" and module in {"numpy.core.multiarray", "numpy._core.multiarray"}:
            return self._empty_array
        if (module, name) == ("_codecs", "encode"):  # bytes, as Python 3 writes them in old protocols
            return _latin1
        raise pickle.UnpicklingError(f"{module}.{name}")

    def _empty_array(self, _: Any, shape: tuple[int, ...], kind: Any) -> np.ndarray:
        """An array that the file goes on to fill, as NumPy's `_reconstruct` makes it."""
        if math.prod(shape) * np.dtype(kind).itemsize > self._size:
            raise pickle.UnpicklingError(f"an array of shape {shape} in {self._size} bytes")
        return np.ndarray.__new__(np.ndarray, shape, kind)


def _latin1(text: str, _: str) -> bytes:
    return text.encode("latin1")


def _read_caffe2(path: Path) -> dict[str, Tensor]:
    """The arrays of a Caffe2 model, but for the optimiser's."""
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, path.stat().st_size).load()
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
    for _ in range(DEEPEST):
        if not isinstance(content, dict):
            return content
        nested = (content[key] for key in _NESTED if isinstance(content.get(key), dict | _Inert))
        inner = next(nested, None)
        if inner is None:
            return content
        content = inner
    raise _BoundsError(f"more than {DEEPEST} dictionaries in one another")


def _tensors(
    content: Any, prefix: str = "", depth: int = 0, seen: Iterator[int] | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Tensors of a (nested) dictionary or of a pickled module, under dotted names."""
    seen = seen or count(1)
    if depth > DEEPEST:
        raise _BoundsError(f"more than {DEEPEST} containers in one another")
    if isinstance(content, _Inert):
        fields = vars(content)
        content = {k: v for part in ("_parameters", "_buffers", "_modules") for k, v in fields.get(part, {}).items()}
    for name, value in content.items() if isinstance(content, dict) else ():
        if next(seen) > MOST_TENSORS:
            raise _BoundsError(f"more than {MOST_TENSORS:,} entries")
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value.detach()
        else:
            yield from _tensors(value, f"{prefix}{name}.", depth + 1, seen)


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
        keep: Entries to leave alone, such as `head.anchors` when they were fitted to other boxes.

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
    must_fit(model, state_dict)
    model.load_state_dict(state_dict)


def must_fit(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Make sure that a network has the weights' entries, in their shapes and no others.

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
    """Read weights written by `save_checkpoint`, and the strings beside them.

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
