"""Networks that stay loaded from one video to the next, for who says so; a step of the graph loads its own and goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_kept: ContextVar[dict[str, Any] | None] = ContextVar("kept", default=None)


@contextmanager
def keeping(networks: dict[str, Any]) -> Iterator[None]:
    """Have every network that is loaded here stay in a dictionary, and not be loaded again if it is there.

    Args:
        networks: What stays; the same dictionary the next time. It is for one place of checkpoints only: files that
            change meanwhile are not read again.
    """
    token = _kept.set(networks)
    try:
        yield
    finally:
        _kept.reset(token)


def kept(load: Callable[P, T]) -> Callable[P, T]:
    """Make a function that loads a network from a file heed `keeping`; its arguments say which network it is."""

    @wraps(load)
    def loaded(*args: P.args, **kwargs: P.kwargs) -> T:
        networks = _kept.get()
        if networks is None:
            return load(*args, **kwargs)
        key = f"{load.__module__}.{load.__qualname__} {args!r} {kwargs!r}"
        if key not in networks:
            networks[key] = load(*args, **kwargs)
        return networks[key]

    return loaded
