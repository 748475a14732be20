"""`tps evaluate` as a user runs it against the challenge's metric in plain Python: whole processes, four JSON files.

The plain one loads the files with `json`, goes through the frames as the published evaluator does, and imports what
that does. Prints one JSON line: processor time, their ratio, and the peak memory of ours. `--videos 932` is the whole
test set's size.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.psc import generate

PLAIN = """
import json, sys
from pathlib import Path
from tests.plain_psc import plain_psc, plain_score
gt, pred = ([json.loads((Path(folder) / f"{name}_{of}_result.json").read_text()) for of in ("part", "vid")]
            for folder, name in ((sys.argv[1], "gt"), (sys.argv[1], "pred")))
values = plain_psc(gt[0], pred[0])
print(plain_score(values, {video: pred[1][video] == action for video, action in gt[1].items()}))
"""
OURS = "import sys; from tps_pipeline.cli.app import app; sys.exit(app())"


def measured(code: str, *arguments: str) -> tuple[float, int, str]:
    """Seconds of processor time, kilobytes of memory at the most, and the last thing said by a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        said = process.stdout.read().decode()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {arguments}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss, said.split()[-1]


def write(folder: Path, videos: int) -> None:
    """The four files, with the challenge's 52 frames a video."""
    rng = np.random.default_rng(0)
    truth, submission = generate(rng, videos=videos, frames=52, people=3)
    actions = {video: f"action_{i % 24}" for i, video in enumerate(truth)}
    guesses = {video: action if rng.random() < 0.9 else "action_0" for video, action in actions.items()}
    for name, content in (("gt_part", truth), ("pred_part", submission), ("gt_vid", actions), ("pred_vid", guesses)):
        (folder / f"{name}_result.json").write_text(json.dumps(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=93)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # Elsewhere: a process that is started has its parent's memory among its own peak.
        writing = multiprocessing.get_context("spawn").Process(target=write, args=(Path(folder), given.videos))
        writing.start()
        writing.join()
        rounds = [
            (measured(PLAIN, folder), measured(OURS, "evaluate", "--gt", folder, "--pred", folder))
            for _ in range(given.rounds)
        ]
    plain, ours = ([one[side] for one in rounds] for side in (0, 1))
    seconds = [statistics.median(one[0] for one in side) for side in (plain, ours)]
    print(
        json.dumps(
            {
                "benchmark": "evaluate",
                "videos": given.videos,
                "equal": f"{float(plain[0][2]):.6f}" == ours[0][2],
                "cpu_seconds": {"plain": round(seconds[0], 2), "ours": round(seconds[1], 2)},
                "ratio": round(seconds[0] / seconds[1], 1),
                "peak_mb": max(one[1] for one in ours) // 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
