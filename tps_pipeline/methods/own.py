"""A method that is not in this package, asked as those in it are: its versions follow from its source.

Which class a recipe's entry names stands in `tps_pipeline.recipe.own`.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from tps_pipeline import tables
from tps_pipeline.errors import RecipeError, StoreError
from tps_pipeline.fingerprints import Code
from tps_pipeline.outputs import Output
from tps_pipeline.reading import Reads
from tps_pipeline.recipe.own import OwnMethod, class_of


@dataclass(frozen=True)
class Own:
    """A method by the class that a recipe's entry names (a `Method`)."""

    method: Any
    """An object of that class."""
    kind: str
    """What names it."""
    fit_reads: tuple[Output, ...]
    """See `Method`."""
    predict_reads: tuple[Output, ...]
    """See `Method`."""
    fit_version: ClassVar[str]
    """The fingerprint of all that `fit` reaches in the class's package, after a `fit_version` that the class has."""
    predict_version: ClassVar[str]
    """The same of `predict`."""

    @property
    def alone(self) -> bool:
        """Whether it learns in one process, however many there are; classes that do not say `alone = False` do."""
        return getattr(self.method, "alone", True)

    def fit(
        self, train: Reads, val: Reads, folder: Path, *, seed: int, weights: Path | None = None
    ) -> dict[str, float]:
        """See `Method`."""
        return dict(self.method.fit(train, val, folder, seed=seed, weights=weights) or {})

    def predict(self, shard: Reads, checkpoint: Path) -> pa.Table:
        """See `Method`.

        Raises:
            StoreError: What it gives is no table of `tables.PREDICTIONS`.
        """
        try:
            return tables.conform(self.method.predict(shard, checkpoint), tables.PREDICTIONS)
        except StoreError as error:
            raise StoreError(f"{self.kind}: predict gives no table of tables.PREDICTIONS: {error}") from error


def of(settings: OwnMethod) -> Own:
    """The method that an entry describes.

    Raises:
        RecipeError: It cannot be made of its settings, reads what is no output, or has no source.
    """
    kind = settings.kind
    try:
        found = class_of(kind)
        method = found(settings)
        fit_reads, predict_reads = tuple[Any, ...](method.fit_reads), tuple[Any, ...](method.predict_reads)
    except Exception as error:
        raise RecipeError(f"{kind} cannot be made of its settings: {type(error).__name__}: {error}") from error
    if strange := [each for each in (*fit_reads, *predict_reads) if not isinstance(each, Output)]:
        raise RecipeError(f"{kind} reads {strange[0]!r}, which is no output; name those of tps_pipeline.outputs")
    return _class_of(found)(method, kind, fit_reads, predict_reads)


@functools.cache
def _class_of(method: type[Any]) -> type[Own]:
    """`Own` with the versions of a class: of its source as it is when this process first asks."""
    return type("Own", (Own,), {f"{name}_version": _version(method, name) for name in ("fit", "predict")})


def _version(method: type[Any], name: str) -> str:
    module, itself = method.__module__, f"{method.__module__}.{method.__qualname__}"
    try:
        file = Path(inspect.getfile(method))
        depth = module.count(".") + (file.stem == "__init__")
        fingerprint = _code(file.parents[depth - 1] if depth else file).fingerprint(
            [f"{itself}.{name}" if name in vars(method) else itself]
        )
    except (OSError, TypeError, LookupError) as error:
        fix = "define it in a .py file, in no function"
        raise RecipeError(f"the source of {itself} cannot be read ({error}); {fix}") from error
    declared = getattr(method, f"{name}_version", "")
    return f"{declared}-{fingerprint}" if declared else fingerprint


@functools.cache
def _code(root: Path) -> Code:
    return Code(root)
