"""The wheel, built from the checkout and used without it: an environment of its own, and a folder elsewhere.

Nothing is downloaded. The new environment holds the wheel alone; a `.pth` file lends it the libraries of this one,
but not this one's own `.pth` files, and so not the checkout.
"""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

import tps_pipeline
from tests.predict.untrained import make_store
from tests.video.clips import write_clip

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).with_name("uv")


def run(*command: str | Path, cwd: Path) -> str:
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--wheel", "--offline", "--no-build-isolation", "--python", sys.executable, "-o", out, cwd=ROOT)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def tps(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere") / "env"
    run(UV, "venv", "--offline", "--python", sys.executable, folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    run(UV, "pip", "install", "--offline", "--no-deps", "--python", python, wheel, cwd=folder.parent)
    ours = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    Path(ours, "libraries.pth").write_text("\n".join(libraries()))
    return folder / "bin" / "tps"


def libraries() -> list[str]:
    return [path for path in dict.fromkeys([sysconfig.get_path("purelib"), *sys.path]) if path.endswith("-packages")]


def test_it_holds_what_is_no_code_as_well(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    brought = ("py.typed", "recipes/paper.yaml", "recipes/demo.yaml", "weights/people.safetensors")
    assert {f"tps_pipeline/{name}" for name in brought} <= names
    assert not [name for name in names if not name.startswith(("tps_pipeline/", "tps_pipeline-"))]
    assert wheel.name.startswith(f"tps_pipeline-{tps_pipeline.__version__}-")
    written = {p.relative_to(ROOT).as_posix() for p in (ROOT / "tps_pipeline").rglob("*") if p.is_file()}
    assert {name for name in written if "__pycache__" not in name} <= names


def test_the_command_line_works_outside_the_checkout(tps: Path, tmp_path: Path):
    where = run(tps.with_name("python"), "-c", "import tps_pipeline; print(tps_pipeline.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(tps.parent.parent)
    assert "Part-level action parsing" in run(tps, "--help", cwd=tmp_path)
    shown = yaml.safe_load(run(tps, "recipe", "show", "paper", cwd=tmp_path))
    assert shown["person_detector"]["network"]["weights"] == "yolov7x_coco"

    size = ("--videos", "8", "--seed", "1", "--width", "96", "--height", "64", "--frames", "12", "--classes", "2")
    run(tps, "data", "synth", "made", *size, cwd=tmp_path)
    assert len([*(tmp_path / "made").rglob("*.mp4")]) == 8
    run(tps, "data", "validate", "made", cwd=tmp_path)

    (tmp_path / "predicted").mkdir()
    parts = json.loads((tmp_path / "made" / "gt" / "gt_part_result.json").read_text())
    people = [person for video in parts.values() for frame in video.values() for person in frame["humans"]]
    for part in (part for person in people for part in person["parts"].values()):
        part |= {"box": [part["box"]], "verb": [part["verb"]]}
    (tmp_path / "predicted" / "pred_part_result.json").write_text(json.dumps(parts))
    actions = (tmp_path / "made" / "gt" / "gt_vid_result.json").read_text()
    (tmp_path / "predicted" / "pred_vid_result.json").write_text(actions)
    scored = json.loads(run(tps, "evaluate", "--gt", "made/gt", "--pred", "predicted", "--json", cwd=tmp_path))
    assert scored["score"] > 0.99


def test_a_video_is_predicted_outside_the_checkout(tps: Path, tmp_path: Path):
    make_store(tmp_path / "store")
    write_clip(tmp_path / "me.mp4", 6)
    run(tps, "predict", "me.mp4", "--store", "store", cwd=tmp_path)
    assert {path.name for path in (tmp_path / "predictions").iterdir()} == {"me_voting.json", "me_voting.mp4"}
