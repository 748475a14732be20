"""From a YAML file to a checked recipe."""

from __future__ import annotations

import difflib
import functools
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from tps_pipeline.errors import RecipeError
from tps_pipeline.recipe.detection import HEAT_MAPS, YOLOV7
from tps_pipeline.recipe.methods import is_ours
from tps_pipeline.recipe.own import OwnMethod, settings_of
from tps_pipeline.recipe.schema import TRAINED, USED, Recipe

RECIPES = Path(__file__).parent.parent / "recipes"
"""The folder of the recipes that come with the package."""

KINDS = TRAINED, USED, YOLOV7, HEAT_MAPS
"""Steps of a place in a recipe that people do not write: of which kind a section is."""

LONGEST = 1_000_000
"""Characters of a recipe. `paper.yaml` has some 20,000."""

MOST_VALUES = 100_000
"""Values of a recipe with its aliases written out: a few lines of them can stand for billions."""


def load(name: str | Path) -> Recipe:
    """Load a recipe by name (`demo`, `paper`) or from a YAML file.

    Args:
        name: A name in `tps_pipeline/recipes`, or a path that ends in `.yaml`.

    Returns:
        The checked recipe.

    Raises:
        RecipeError: No such recipe, broken YAML, an unknown key (the nearest known one is named), or a bad value.
    """
    return parse(read_text(name), path_of(name))


def path_of(name: str | Path) -> Path:
    """Where the recipe of a name is."""
    return Path(name) if str(name).endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"


def read_text(name: str | Path) -> str:
    """A recipe's text, as it is now.

    Raises:
        RecipeError: It cannot be read.
    """
    path = path_of(name)
    try:
        if path.exists() and not path.is_file():
            raise RecipeError(f"{path}: is not a file")
        if path.stat().st_size > LONGEST:
            raise RecipeError(f"{path}: is no recipe: longer than {LONGEST:,} bytes")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.yaml")))
        raise RecipeError(f"{path}: cannot be read ({error.strerror}); recipes by name: {known}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error


@functools.lru_cache(maxsize=16)
def parse(text: str, path: Path) -> Recipe:
    """Check a recipe's text.

    Args:
        text: YAML.
        path: Where it came from, for messages.

    Raises:
        RecipeError: Broken YAML, an unknown key, or a bad value.
    """
    try:
        written_out = _values(yaml.compose(text, yaml.SafeLoader), {})
        content = yaml.safe_load(text) if written_out <= MOST_VALUES else None
    except (yaml.YAMLError, ValueError) as error:  # the latter: a date or number that is none
        raise RecipeError(f"{path}: not YAML: {error}") from error
    except RecursionError as error:
        raise RecipeError(f"{path}: is no recipe: nested too deeply") from error
    if written_out > MOST_VALUES:
        raise RecipeError(f"{path}: is no recipe: more than {MOST_VALUES:,} values with its aliases written out")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError("\n".join(f"{path}: {line}" for line in _explain(error, content))) from error


def reported() -> dict[str, float]:
    """The challenge paper's scores on the challenge's test set, by the name of the method or ensemble."""
    return dict(load("paper").reported)


def _values(node: yaml.Node | None, counted: dict[int, float]) -> float:
    """How many values a document has with its aliases written out; endless if one is inside of itself."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in counted:
        counted[id(node)] = float("inf")  # until it is counted: whoever meets it before that is inside of it
        parts = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
        counted[id(node)] = 1 + sum(_values(part, counted) for part in parts)
    return counted[id(node)]


def _explain(error: ValidationError, content: Any) -> list[str]:
    """One line a problem, with the nearest known key for an unknown one."""
    lines = []
    for problem in error.errors():
        steps = (str(step).replace("\n", "\\n") for step in problem["loc"] if step not in KINDS)
        where = ".".join(steps)
        if problem["type"] == "extra_forbidden":
            known = _fields(problem["loc"][:-1], content)
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.0)
            lines.append(f"{where}: unknown key; did you mean {near[0]!r}?")
        else:
            lines.append(f"{where or 'recipe'}: {problem['msg']}")
    return lines


def _fields(location: tuple[int | str, ...], content: Any) -> set[str]:
    """Names that the section at a location takes, found by walking there from the root.

    Where a section may be of several kinds, the kind is a step of the location; a method that is not in this package
    has its own, by what the content there says.
    """
    models: set[Any] = {Recipe}
    for step in location:
        found = [m.model_fields[step].annotation for m in models if isinstance(step, str) and step in m.model_fields]
        chosen = {m for m in models if "kind" in m.model_fields and step in get_args(m.model_fields["kind"].annotation)}
        models = {model for annotation in found for model in _models(annotation)} or chosen or models
        content = content.get(step, content) if isinstance(content, dict) else None
        if OwnMethod in models and isinstance(content, dict) and (kind := content.get("kind")) and not is_ours(kind):
            models = {settings_of(kind)}
    return {name for model in models for name in model.model_fields}


def _models(annotation: Any) -> set[Any]:
    """The section classes inside an annotation: an optional one's, a dictionary's values', a union's members'."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for argument in get_args(annotation) for model in _models(argument)}
