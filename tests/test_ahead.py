"""What is worked on before it is asked for: by whom, how much, and what becomes of errors."""

import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from tps_pipeline.ahead import AHEAD, ahead, drawn_ahead


def test_work_is_done_ahead_in_another_thread_and_items_are_drawn_in_the_caller_s() -> None:
    drawn: list[int] = []
    threads: set[int] = set()

    def items() -> Iterator[int]:
        for item in range(6):
            threads.add(threading.get_ident())
            drawn.append(item)
            yield item

    results = ahead(lambda item: (item, threading.get_ident()), items())
    first, worker = next(results)
    assert first == 0
    assert len(drawn) == 3
    assert [item for item, _ in results] == [1, 2, 3, 4, 5]
    assert threads == {threading.get_ident()}
    assert worker not in threads


def test_items_are_drawn_while_the_caller_is_busy_but_few() -> None:
    drawn: list[int] = []
    beyond = threading.Event()

    def items() -> Iterator[int]:
        for item in range(9):
            drawn.append(item)
            if item == AHEAD:
                beyond.set()
            yield item

    results = drawn_ahead(items())
    assert next(results) == 0
    assert beyond.wait(10)  # while nobody asks for anything
    assert next(results) == 1
    results.close()
    assert len(drawn) <= 2 + AHEAD


def test_an_error_comes_in_its_turn_and_after_it_nothing() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("the third")

    results = drawn_ahead(items())
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(results)
    assert list(results) == []


def test_what_the_caller_has_set_holds_for_what_is_drawn() -> None:
    at_hand: ContextVar[str] = ContextVar("at_hand", default="nothing")

    def items() -> Iterator[str]:
        yield at_hand.get()
        yield at_hand.get()

    token = at_hand.set("a stream's pictures")
    try:
        assert list(drawn_ahead(items())) == ["a stream's pictures"] * 2
    finally:
        at_hand.reset(token)
