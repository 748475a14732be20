"""What a thread does before it is asked for: reading and decoding while a network is busy with what came before.

Decoders and networks leave Python to itself, so both go on at once; more than one thread gains nothing here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from tps_pipeline.cpu import share_freed_memory

AHEAD = 2
"""Items that are worked on before they are asked for."""

T = TypeVar("T")
R = TypeVar("R")


def ahead(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Like `map`, but a thread works on the next items while the caller is busy with a result.

    Items are drawn in the caller's thread: where they come from a network, it never has to share its cores with
    another one.

    >>> list(ahead(str, range(3)))
    ['0', '1', '2']
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for item in items:
            waiting.append(thread.submit(function, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def drawn_ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items, but a thread draws the next ones while the caller is busy with one.

    What drawing them raises is raised in its turn. Context variables are those of the caller at the first item.

    >>> list(drawn_ahead(range(3)))
    [0, 1, 2]
    """
    share_freed_memory()  # else what decoding frees stays with its thread: 0.15 GB of a 720p video's clips
    drawing, end, context = iter(items), object(), copy_context()
    with ThreadPoolExecutor(1) as thread:

        def draw() -> Future[T | object]:
            return thread.submit(context.run, next, drawing, end)

        waiting = deque(draw() for _ in range(AHEAD))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(draw())
            yield item  # pyright: ignore[reportReturnType] -- all but the end are items
