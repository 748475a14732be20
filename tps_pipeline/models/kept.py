"""Networks that stay loaded from one video to the next, for who says so, and what runs them.

A step of the graph loads its own and goes, and PyTorch runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar

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
            networks.loaded[key] = load(*args, **kwargs)
        return networks.loaded[key]

    return loaded
