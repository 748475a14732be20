"""Every stored file of a finished store, damaged in turn: whoever reads it next says so, and nothing is read wrongly."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.steps import finish, run_of, small
from tps_pipeline.errors import StoreError
from tps_pipeline.graph.work import keys_read
from tps_pipeline.lineage import Input
from tps_pipeline.outputs import FRAMES, Output
from tps_pipeline.training.checkpoint import LOGS


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workplace whose store is whole."""
    folder = small(tmp_path_factory.mktemp("finished"))
    finish(folder)
    return folder


def readings(folder: Path) -> Iterator[tuple[Path, Callable[[], object]]]:
    """Each file that some step reads, and how a new process would read it."""
    run, graph = run_of(folder)
    latest, seen = run.lineage.latest(), set()
    for step in graph.steps:
        for shard in latest.shards(*graph.splits[step.name]) if step.sharded else [None]:
            inputs = latest.inputs(keys_read(step, shard, latest))
            for output in step.reads:
                for one in (i for i in inputs if i.asset == output.key and (i.asset, i.partition) not in seen):
                    seen.add((one.asset, one.partition))
                    place = folder / "store" / one.path
                    for file in [place] if place.is_file() else sorted(p for p in place.iterdir() if p.is_file()):
                        yield file, lambda at=(step.name, shard, output, one): read(folder, *at)


def read(folder: Path, name: str, shard: str | None, output: Output, one: Input) -> object:
    """Read one thing as a step does, in a run that has read nothing yet."""
    run, graph = run_of(folder)
    reader = graph.step(name).reader(run, (one,), shard)
    if output == FRAMES:
        return [frame for file in reader.frames() for frame in file]
    return reader(output) if output.schema is not None else reader.path(output)


def truncated(content: bytes, other: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes, other: bytes) -> bytes:
    return b""


def swapped(content: bytes, other: bytes) -> bytes:
    return other


def edited(content: bytes, other: bytes) -> bytes:
    """The same size, one byte in the middle another."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [truncated, emptied, swapped, edited])
def test_the_next_reader_says_so(finished: Path, damage: Callable[[bytes, bytes], bytes]) -> None:
    files = list(readings(finished))
    assert len({file for file, _ in files}) > 30
    silent = []
    for file, read_again in files:
        content = file.read_bytes()
        siblings = (path for path, _ in files if path.suffix == file.suffix and path.read_bytes() != content)
        sibling = next(siblings, None)
        other = sibling.read_bytes() if sibling else content[::-1]
        if damage(content, other) == content or LOGS.intersection(file.parts):
            continue
        file.write_bytes(damage(content, other))
        try:
            read_again()
            silent.append(file.relative_to(finished / "store").as_posix())
        except StoreError as error:
            assert "\n" not in str(error)
            assert str(finished / "store") in str(error)
        finally:
            file.write_bytes(content)
    assert not silent
