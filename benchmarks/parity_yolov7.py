"""Our YOLOv7-X against the original, where it is checked out: the same random weights and picture, outputs and time.

The original is GPL-3.0 and none of it is in this repository: `third_party/yolov7` only links to a commit of it. Both
run in a process of their own, in which the original's folder comes first on the path, taking turns. Prints JSON: the
largest difference of each output as a share of the output's largest value, seconds a picture, and how many times faster
ours is.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tps_pipeline.models import from_reference
from tps_pipeline.models.yolov7 import YOLOv7

ORIGINAL = Path(__file__).parent.parent / "third_party" / "yolov7"
CHECK_OUT = "git submodule update --init third_party/yolov7"
SIZE = 640
ROUNDS = 5
TOLERANCE = 1e-4


def main(original: Path = ORIGINAL) -> None:
    """Compare in a process of its own; say how to check the original out if it is not there.

    Raises:
        SystemExit: The original cannot be run, or our outputs are not its.
    """
    if not (original / "models").is_dir():
        where = f"the original YOLOv7 is not checked out in {original}, so there is nothing to compare with"
        print(f"{where}; fetch it (GPL-3.0) with: {CHECK_OUT}", file=sys.stderr)
        return
    command = [sys.executable, "-P", str(Path(__file__).resolve()), "compare"]
    # Its packages are called models and utils.
    path = {"PYTHONPATH": os.pathsep.join(filter(None, (str(original.resolve()), os.environ.get("PYTHONPATH"))))}
    ran = subprocess.run(command, cwd=original, env=os.environ | path, capture_output=True, text=True, check=False)
    if ran.returncode:
        needs = "install a module that it lacks by name (its requirements.txt would replace newer versions of ours)"
        raise SystemExit(f"{ran.stderr}\nthe original does not run; {needs}")
    print(line := ran.stdout.splitlines()[-1])  # the original prints lines of its own before
    if max(json.loads(line)["difference"].values()) > TOLERANCE:
        raise SystemExit(f"our outputs are not the original's: more than {TOLERANCE} apart")


@torch.no_grad()
def compare() -> dict[str, Any]:
    """Both networks, as trained and fused for inference."""
    from models.yolo import Model  # pyright: ignore[reportMissingImports]  # the original's

    torch.manual_seed(0)
    original = Model("cfg/training/yolov7x.yaml").float().eval()
    for module in original.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    ours = from_reference("yolov7x", original.state_dict())
    assert isinstance(ours, YOLOv7)
    picture = torch.rand(1, 3, SIZE, SIZE)
    difference, seconds = take_turns(ours, original, picture)
    fused = take_turns(ours.fuse(), original.fuse().eval(), picture)
    difference |= {f"fused_{name}": value for name, value in fused[0].items()}
    seconds |= {f"fused_{name}": value for name, value in fused[1].items()}
    return {
        "difference": difference,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "ratio": round(seconds["original"] / seconds["ours"], 3),
        "fused_ratio": round(seconds["fused_original"] / seconds["fused_ours"], 3),
        "threads": torch.get_num_threads(),
    }


def take_turns(
    ours: Callable[[Tensor], Any], original: Callable[[Tensor], Any], picture: Tensor
) -> tuple[dict[str, float], dict[str, float]]:
    """The largest relative difference of each output, and the shortest of a few runs in seconds."""
    networks = {"ours": ours, "original": original}
    outputs, best = {}, dict.fromkeys(networks, float("inf"))
    for _ in range(ROUNDS):
        for name, network in networks.items():
            start = time.perf_counter()
            decoded, raw = network(picture)
            best[name] = min(best[name], time.perf_counter() - start)
            outputs[name] = [decoded, *raw]
    pairs = zip(("decoded", "raw0", "raw1", "raw2"), outputs["ours"], outputs["original"], strict=True)
    return {name: float((a - b).abs().max() / b.abs().max()) for name, a, b in pairs}, best


if __name__ == "__main__":
    if sys.argv[1:] == ["compare"]:
        print(json.dumps(compare()))
    else:
        main()
