"""No code changes without somebody saying whether results do; no default of a recipe changes unseen."""

import json
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from tests import versions
from tps_pipeline.recipe import Recipe
from tps_pipeline.recipe.section import Section

DEFAULTS = Path(__file__).parent / "golden" / "recipe_defaults.json"


def changes(now: dict[str, versions.Versioned], before: dict[str, versions.Versioned]) -> list[str]:
    """What somebody has to decide or to record, in sentences."""
    said = []
    for name in sorted(now.keys() | before.keys()):
        here, then = now.get(name), before.get(name)
        if here and then and here.fingerprint != then.fingerprint and here.version == then.version:
            said.append(
                f"{name}: the code that it reaches has changed, its version {here.version} has not. If it gives other "
                f"results now, bump the version there and run `make versions`; if it gives the same, `make versions`"
            )
        elif here != then:
            said.append(f"{name}: version {here.version if here else 'none'} is not recorded; run `make versions`")
    return said


def test_no_code_changes_without_a_decision():
    assert changes(versions.current(), versions.recorded()) == []


def test_a_change_is_told_with_what_to_do():
    before = {"a": versions.Versioned("1", "x"), "b": versions.Versioned("1", "y")}
    assert changes(before, before) == []
    (said,) = changes(before | {"a": versions.Versioned("1", "z")}, before)
    assert said.startswith("a: the code that it reaches has changed")
    assert "bump" in said
    (said,) = changes(before | {"b": versions.Versioned("2", "z")}, before)
    assert said == "b: version 2 is not recorded; run `make versions`"


@pytest.mark.whole
def test_a_bumped_version_is_recorded_and_other_changes_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions, "FILE", tmp_path / "versions.json")
    versions.record()
    names = sorted(versions.recorded())
    bumped, changed = names[0], names[1]
    then = {name: row._asdict() for name, row in versions.recorded().items()}
    then[bumped]["version"], then[changed]["fingerprint"] = "0", "other"
    versions.FILE.write_text(json.dumps(then))
    assert versions.record(only_bumped=True) == [bumped]
    (said,) = changes(versions.current(), versions.recorded())
    assert said.startswith(f"{changed}: the code")


def test_every_method_and_network_of_every_recipe_has_its_own_entry():
    names = set(versions.recorded())
    kinds = (
        "clips.video_level.VideoLevel",
        "people.instance_level.InstanceLevel",
        "part_state_detector.PartStateDetector",
    )
    for kind in kinds:
        assert {f"tps_pipeline.methods.{kind}.fit", f"tps_pipeline.methods.{kind}.predict"} <= names
    assert {"tps_pipeline.learners.detector.DetectorLearner.fit", "tps_pipeline.stages.source.frames"} <= names


def defaults() -> dict[str, dict[str, object]]:
    """Every section's defaults, by its class."""
    found: dict[str, dict[str, object]] = {}
    todo: list[type[BaseModel]] = [Recipe]
    while todo:
        section = todo.pop()
        if section.__name__ in found:
            continue
        found[section.__name__] = {
            name: json.loads(json.dumps(field.get_default(call_default_factory=True), default=plain))
            for name, field in sorted(section.model_fields.items())
            if not field.is_required()
        }
        todo += [inside for field in section.model_fields.values() for inside in sections_in(field.annotation)]
    return dict(sorted(found.items()))


def plain(value: object) -> object:
    assert isinstance(value, Section)
    return value.model_dump(mode="json")


def sections_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [section for argument in get_args(annotation) for section in sections_in(argument)]


@pytest.mark.parametrize("section", sorted(defaults()))
def test_a_default_is_what_digests_leave_out(section: str):
    """Digests leave defaults out: what was made with another default would count as made with this one.

    After a change here bump the versions of all that reads it, then write the new value down; a new setting is only
    written down.
    """
    assert defaults()[section] == json.loads(DEFAULTS.read_text()).get(section)
