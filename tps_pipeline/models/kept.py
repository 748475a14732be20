"""Networks that stay loaded from one video to the next, for who says so, and what runs them.

A step of the graph loads its own and goes, and PyTorch runs them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, ParamSpec, TypeVar

from tps_pipeline.training.checkpoint import WEIGHTS

_P = ParamSpec("_P")
T = TypeVar("T")

Runtime = Literal["torch", "onnx"]
"""What runs networks that see pictures or clips: PyTorch, or ONNX Runtime (`models.onnx`)."""


@dataclass
class Networks:
    """Networks that stay loaded; of one place of checkpoints, as files that change meanwhile are not read again."""

    runtime: Runtime = "torch"
    """What runs them."""
    loaded: dict[str, Any] = field(default_factory=dict[str, Any])
    """Each by how it was loaded."""


_kept: ContextVar[Networks | None] = ContextVar("kept", default=None)
_loading: ContextVar[tuple[object, ...] | None] = ContextVar("loading", default=None)
"""The function that loads a network just now, and its arguments."""


@contextmanager
def keeping(networks: Networks) -> Iterator[None]:
    """Have every network that is loaded here stay, run as is asked there, and not be loaded again.

    Args:
        networks: What stays; the same the next time.
    """
    token = _kept.set(networks)
    try:
        yield
    finally:
        _kept.reset(token)


def runtime() -> Runtime:
    """What is to run the networks that are loaded here."""
    networks = _kept.get()
    return "torch" if networks is None else networks.runtime


def kept(load: Callable[_P, T]) -> Callable[_P, T]:
    """Make a function that loads a network from a file heed `keeping`; its arguments say which network it is."""

    @wraps(load)
    def loaded(*args: _P.args, **kwargs: _P.kwargs) -> T:
        networks = _kept.get()
        if networks is None:
            return load(*args, **kwargs)
        key = f"{load.__module__}.{load.__qualname__} {args!r} {kwargs!r}"
        if key not in networks.loaded:
            token = _loading.set((load, *args, *sorted(kwargs.items())))
            try:
                networks.loaded[key] = load(*args, **kwargs)
            finally:
                _loading.reset(token)
        return networks.loaded[key]

    return loaded


def loading() -> str | None:
    """A hash that says which network is loaded just now: how, and the content of its file; None if none is."""
    said = _loading.get()
    return None if said is None else hashlib.sha256("\0".join(map(_content, said)).encode()).hexdigest()


def _content(said: object) -> str:
    if isinstance(said, Path):
        return hashlib.sha256((said / WEIGHTS if said.is_dir() else said).read_bytes()).hexdigest()
    if isinstance(said, tuple):
        return "\0".join(map(_content, said))
    return f"{said.__module__}.{said.__qualname__}" if isinstance(said, FunctionType) else repr(said)
