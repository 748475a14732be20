"""Questions to a store of 100,000 lineage records, each asked of a new process's `Lineage`, the loading counted.

Ninety-nine shards, forty outputs over them and twenty-five over all shards, made again and again: about 26 versions of
each, compacted into one file as `make run` leaves it, and a hundred small files that came after. Prints one line
of JSON: wall seconds of each question (best of some rounds), and what turning every record into Python objects first,
the plain way, takes as a ratio to the slowest question.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from tps_pipeline import recipe
from tps_pipeline.graph import Graph, Run, Step
from tps_pipeline.graph.plan import plan
from tps_pipeline.lineage import SCHEMA, Lineage, differences
from tps_pipeline.outputs import Output
from tps_pipeline.store import Store

SHARDS = [f"train-{i:03}" for i in range(64)] + [f"val-{i:03}" for i in range(15)] + [f"test-{i:03}" for i in range(20)]
PER_SHARD = ["shards", *(f"stage_{i:02}" for i in range(39))]
WHOLE = [f"table_{i:02}" for i in range(24)] + ["submission"]
LATER = 100
"""Records that were written after the last compaction."""
RECIPE = recipe.load("demo")
SECTIONS = ("seed",)
"""What every step depends on."""


def generate(root: Path, records: int) -> int:
    """Write the lineage of a store in which everything is up to date; returns how many outputs it has."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    outputs, digest = len(SHARDS) * len(PER_SHARD) + len(WHOLE), RECIPE.digest_of(SECTIONS)
    rows = []
    for n, (generation, asset, shard, reads) in enumerate(_writes(records)):
        inputs = [(name, of, _version(name, of, generation), f"{name}/{of}.parquet") for name, of in reads]
        rows.append(
            {
                "record": hashlib.md5(str(n).encode()).hexdigest(),
                "asset": asset,
                "partition": shard,
                "run_id": f"run-{generation}",
                "data_version": _version(asset, shard, generation),
                "code_version": "1",
                "recipe_sections": list(SECTIONS),
                "recipe_digest": digest,
                "git_sha": _version(generation)[:40],
                "path": f"{asset}/{shard}.parquet",
                "rows": n,
                "bytes": 10 * n,
                "started_at": begin + timedelta(seconds=n),
                "finished_at": begin + timedelta(seconds=n, milliseconds=500),
                "sequence": n + 1,
                "device": "cpu",
                "packages": [("numpy", "2.4"), ("torch", "2.12"), ("pyarrow", "26.0")],
                "metrics": [("score", 0.5)] if shard is None else [],
                "inputs": [dict(zip(("asset", "partition", "data_version", "path"), i, strict=True)) for i in inputs],
            }
        )
    store = Store(root)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    store.write("lineage/0.parquet", table.slice(0, records - LATER))
    for n in range(records - LATER, records):
        store.write(f"lineage/{n}.parquet", table.slice(n, 1))
    for asset in (*PER_SHARD, *WHOLE):
        (root / asset).mkdir()
        for shard in SHARDS if asset in PER_SHARD else [None]:
            (root / asset / f"{shard}.parquet").touch()
    return outputs


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=100_000)
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    graph = graph_of_all()
    with tempfile.TemporaryDirectory() as folder:
        outputs = generate(Path(folder), given.records)

        def fresh() -> Lineage:
            return Lineage(Store(folder))

        def diff() -> int:
            lineage, key = fresh(), ("submission", None)
            versions = (lineage.version_before(key), None)
            before, after = ([r for _, r in lineage.trace(key, v)] for v in versions)
            return len(list(differences(before, after)))

        questions: dict[str, Callable[[], int]] = {
            "latest": lambda: len(fresh().latest().records),
            "trace": lambda: len(list(fresh().trace(("submission", None)))),
            "plan": lambda: plan(Run(RECIPE, Path(folder), fresh()), graph).keep,
            "diff": diff,
            "all_as_objects": lambda: len(fresh().records()),
        }
        best = dict.fromkeys(questions, float("inf"))
        answers = {}
        for _ in range(given.rounds):
            for name, ask in questions.items():
                start = time.perf_counter()
                answers[name] = ask()
                best[name] = min(best[name], time.perf_counter() - start)
    planned = outputs - len(SHARDS)  # ingestion is no step
    if (answers["latest"], answers["plan"], answers["all_as_objects"]) != (outputs, planned, given.records):
        raise SystemExit(f"wrong answers: {answers}")
    plain = best.pop("all_as_objects")
    seconds = {f"{name}_s": round(value, 3) for name, value in best.items()}
    print(json.dumps({"records": given.records, "outputs": outputs, "answers": answers, **seconds,
                      "ratio": round(plain / max(best.values()), 1)}))  # fmt: skip


def graph_of_all() -> Graph:
    """The steps that would have made such a store."""
    made = {name: Output(name, sharded=name in PER_SHARD) for name in (*PER_SHARD, *WHOLE)}

    def step(name: str) -> Step:
        read = dict.fromkeys(other for other, _ in _reads(name, "train-000"))
        return Step((made[name],), lambda _: b"", reads=tuple(made[other] for other in read), sections=SECTIONS)

    return Graph([step(name) for name in (*PER_SHARD[1:], *WHOLE)])


def _reads(asset: str, shard: str | None) -> list[tuple[str, str]]:
    """What an output, or its part of a shard, is made from."""
    if asset in WHOLE:
        return [(PER_SHARD[-1 - WHOLE.index(asset)], of) for of in SHARDS]
    at = PER_SHARD.index(asset)
    return [(other, shard) for other in PER_SHARD[max(0, at - 3) : at] if shard]


def _writes(records: int) -> Iterator[tuple[int, str, str | None, list[tuple[str, str]]]]:
    """Generation, asset, shard and what it reads; the last generation is whole."""
    every = [
        *((asset, shard, _reads(asset, shard)) for asset in PER_SHARD for shard in SHARDS),
        *((asset, None, _reads(asset, None)) for asset in WHOLE),
    ]  # fmt: skip
    first = -records % len(every)
    for n in range(first, first + records):
        asset, shard, reads = every[n % len(every)]
        yield n // len(every), asset, shard, reads


def _version(*of: object) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()


if __name__ == "__main__":
    main()
