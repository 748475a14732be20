"""A data folder that is away for a moment: what could not be read then is no result, and is read when it is back."""

from pathlib import Path

import pytest

from tests.disturbed import contents, copy, different, versions
from tests.faults.steps import TO_FRAMES, finish, small
from tps_pipeline.errors import TpsError


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small(tmp_path_factory.mktemp("undisturbed"))
    assert len(finish(folder, only=TO_FRAMES)) == 28
    return folder


@pytest.mark.parametrize("step", TO_FRAMES)
@pytest.mark.parametrize("part", ["folder", "split", "video"])
def test_what_is_away_for_a_moment_is_read_later(undisturbed: Path, tmp_path: Path, step: str, part: str) -> None:
    folder = copy(undisturbed, tmp_path / "disturbed")
    kind = "annotations" if step == "annotations" else "videos"
    path = next(folder.glob({"folder": "data", "split": f"data/train_{kind}", "video": f"data/train_{kind}/*/*"}[part]))
    away = tmp_path / "away"

    def goes(name: str) -> None:
        if name == step:
            path.rename(away)

    with pytest.raises((TpsError, OSError)) as said:
        finish(folder, only=TO_FRAMES, before=goes)
    assert "\n" not in str(said.value)
    away.rename(path)
    finish(folder, only=TO_FRAMES)
    assert different(versions(folder), versions(undisturbed)) == []
    assert different(contents(folder), contents(undisturbed)) == []
