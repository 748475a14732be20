"""Methods that are not in this package: an entry's `kind` names the class, and that says what its settings are.

What is named is imported from this machine's Python; a recipe brings no code. How such a class is asked stands in
`tps_pipeline.methods.own`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import re
from typing import Any, get_type_hints

from pydantic_core import PydanticCustomError

from tps_pipeline.recipe.section import Section

GROUP = "tps_pipeline.methods"
"""The entry points by which an installed package gives its methods short names."""

NEEDED = ("fit", "predict", "fit_reads", "predict_reads")
"""What a class has to have, beside `settings` (see `tps_pipeline.methods.Method`)."""

_KIND = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


class OwnMethod(Section):
    """Method: one that is not in this package. Its class names its own settings, which extend this."""

    kind: str
    """Chooses the method: `package.module:Class`, or the name that an installed package gives it (`GROUP`)."""


def named() -> dict[str, str]:
    """The methods that installed packages have given names, `package.module:Class` each."""
    return {each.name: each.value for each in importlib.metadata.entry_points(group=GROUP)}


@functools.cache
def class_of(kind: str) -> type[Any]:
    """The class that an entry's `kind` names.

    Raises:
        PydanticCustomError: There is none, or it is no method; says so in one line.
    """
    place = kind if _KIND.fullmatch(kind) else named().get(kind, "")
    if not _KIND.fullmatch(place):
        raise _refused(f"{kind!r} is no package.module:Class")
    module, _, name = place.partition(":")
    found = getattr(_imported(module), name, None)
    if not inspect.isclass(found):
        there = [each for each, value in vars(_imported(module)).items() if inspect.isclass(value)]
        own = [each for each in there if getattr(_imported(module), each).__module__ == module]
        raise _refused(f"{module} has no class {name}; it has {', '.join(own) or 'none'}")
    if missing := [each for each in NEEDED if not hasattr(found, each)]:
        raise _refused(f"{place} is no method: it has no {' and no '.join(missing)}")
    _settings(found, place)
    return found


def settings_of(kind: str) -> type[OwnMethod]:
    """What the entry of a method that is not in this package is read as.

    Raises:
        PydanticCustomError: There is no such method; says so in one line.
    """
    found = class_of(kind)
    return _settings(found, kind)


def _settings(found: type[Any], place: str) -> type[OwnMethod]:
    """What the class says that its `settings` are."""
    try:
        settings = get_type_hints(found).get("settings")
    except (NameError, TypeError) as error:
        raise _refused(f"what {place} says of the type of `settings` cannot be read: {error}") from error
    if not (inspect.isclass(settings) and issubclass(settings, OwnMethod)):
        raise _refused(f"{place} does not say `settings: Settings`, a class that extends tps_pipeline.recipe.OwnMethod")
    return settings


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise _refused(f"{module} imports {error.name}, which is not installed") from error
        raise _refused(f"there is no module {module}; install it, or put its folder on PYTHONPATH") from error
    except (Exception, SystemExit) as error:
        first = (str(error).splitlines() or [""])[0]
        raise _refused(f"{module} cannot be imported ({type(error).__name__}: {first})") from error


def _refused(why: str) -> PydanticCustomError:
    return PydanticCustomError("method", "{why}", {"why": why})
