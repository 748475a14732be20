"""Every stored file of a finished store, damaged in turn: whoever reads it next says so in one line."""

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
    files = [(file, read_again) for file, read_again in readings(finished) if not LOGS.intersection(file.parts)]
    tried, unsaid = 0, []
    for file, read_again in files:
        content = file.read_bytes()
        same = (path for path, _ in files if path.suffix == file.suffix)
        nearest = sorted(same, key=lambda path: path.parent != file.parent)
        alike = (path.read_bytes() for path in nearest)
        damaged = damage(content, next((other for other in alike if other != content), content[::-1]))
        if damaged == content:
            continue
        tried += 1
        file.write_bytes(damaged)
        try:
            read_again()
            unsaid.append(f"{file.relative_to(finished)}: nothing")
        except StoreError as error:
            if "\n" in str(error) or str(finished / "store") not in str(error):
                unsaid.append(f"{file.relative_to(finished)}: {error}")
        except Exception as error:  # a traceback is not a line
            unsaid.append(f"{file.relative_to(finished)}: {error!r}")
        finally:
            file.write_bytes(content)
    print(f"{damage.__name__}: {tried} tried, {tried - len(unsaid)} held")
    assert tried > 30
    assert not unsaid
