"""Weight files that were made to do harm, or came apart: a message in a second, whatever they say they are."""

import io
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tps_pipeline.errors import WeightsError
from tps_pipeline.models.weights import read_weights


def saved(content: Any) -> bytes:
    torch.save(content, file := io.BytesIO())
    return file.getvalue()


def inside_of_itself() -> bytes:
    content: dict[str, Any] = {"a": torch.zeros(2)}
    content["state_dict"] = content
    return saved(content)


def inside_of_itself_elsewhere() -> bytes:
    content: dict[str, Any] = {"a": torch.zeros(2)}
    content["layer"] = content
    return saved(content)


def shared_dictionaries(levels: int = 40) -> bytes:
    """Forty levels of two references each: a trillion tensors by their names."""
    content: dict[str, Any] = {"a": torch.zeros(2)}
    for _ in range(levels):
        content = {"l": content, "r": content}
    return saved(content)


def deep(levels: int = 400) -> bytes:
    content: dict[str, Any] = {"a": torch.zeros(2)}
    for _ in range(levels):
        content = {"model": content}
    return saved(content)


def many() -> bytes:
    zero = torch.zeros(1)
    return saved({f"t{at}": zero for at in range(120_000)})


def compressed() -> bytes:
    """A file of PyTorch's whose zeros are deflated to a thousandth."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"a": torch.zeros(4_000_000)}))) as source,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    return file.getvalue()


def cut_off() -> bytes:
    whole = saved({"a": torch.zeros(4_000)})
    return whole[: len(whole) // 2]


def caffe2(shape: tuple[int, ...]) -> bytes:
    """A pickled array that says it is of another shape than its bytes are."""

    class Lie:
        def __reduce__(self) -> tuple[Any, ...]:
            return np.zeros(1).__reduce__()[0], (np.ndarray, shape, b"f4")

    return pickle.dumps({"blobs": {"w": Lie()}}, protocol=2)


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (inside_of_itself, "a.pt", "more than 64 dictionaries in one another"),
        (inside_of_itself_elsewhere, "a.pt", "more than 64 containers in one another"),
        (shared_dictionaries, "a.pt", "more than 100,000 entries"),
        (deep, "a.pt", "more than 64 dictionaries in one another"),
        (many, "a.pt", "more than 100,000 entries"),
        (compressed, "a.pth", "not written by PyTorch: unpacks to 16,0"),
        (cut_off, "a.pth.tar", "damaged"),
        (lambda: saved({"a": torch.zeros(1).expand(1 << 40)}), "a.pt", r"a says it is \(1099511627776,\) and has 4 b"),
        (lambda: saved({"b": torch.zeros(1).expand(9, 9, 9)}), "a.pt", r"b says it is \(9, 9, 9\) and has 4 bytes"),
        (lambda: saved({"a": torch.tensor([1.0, float("nan")])}), "a.pt", "a holds NaN or infinity"),
        (lambda: saved({"a": torch.tensor([float("-inf")]).half()}), "a.pt", "a holds NaN or infinity"),
        (lambda: saved({"a": torch.zeros(2, dtype=torch.complex64)}), "a.pt", "a is complex"),
        (lambda: saved({"a": torch.eye(3).to_sparse()}), "a.pt", "a is not a plain tensor|damaged"),
        (lambda: caffe2((1 << 40,)), "a.pkl", "an array of shape"),
        (lambda: caffe2((1 << 31, 1 << 31)), "a.pkl", "an array of shape"),
        (lambda: struct.pack("<Q", 1 << 62) + b"{}", "a.safetensors", "damaged, or not a safetensors file"),
        (lambda: struct.pack("<Q", 40) + b'{"a":{"dtype":"F32","shape":[1', "a.safetensors", "damaged, or not"),
        (lambda: b"", "a.pt", "damaged|no tensors"),
    ],
    ids=lambda value: getattr(value, "__name__", None) if callable(value) else None,
)  # fmt: skip
def test_a_hostile_file_is_refused_in_time_and_by_its_name(
    tmp_path: Path, make: Callable[[], bytes], name: str, message: str
) -> None:
    (tmp_path / name).write_bytes(make())
    before = time.perf_counter()
    with pytest.raises(WeightsError, match=message) as error:
        read_weights(tmp_path / name)
    assert time.perf_counter() - before < 10
    assert str(error.value).startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_safetensors_of_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    save_file({"kernel": torch.full((3, 3), value)}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="kernel holds NaN or infinity; fetch the file again"):
        read_weights(tmp_path / "a.safetensors")


def test_shared_and_sliced_tensors_of_an_honest_file_are_read(tmp_path: Path) -> None:
    table = torch.arange(12.0).reshape(3, 4)
    torch.save({"tied": table, "again": table, "part": table[1:], "turned": table.T}, tmp_path / "a.pt")
    read = read_weights(tmp_path / "a.pt")
    assert torch.equal(read["turned"], table.T)
    assert torch.equal(read["part"], table[1:])
