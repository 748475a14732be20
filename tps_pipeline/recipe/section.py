"""What a recipe's sections have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST = 1_000_000
"""The greatest count or amount: far beyond what any network or machine takes, so more is a slip of the keyboard."""

Fraction = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""

Share = Annotated[float, Field(gt=0, le=1)]
"""A number above 0, to 1."""

Positive = Annotated[int, Field(gt=0, le=MOST)]
"""A whole number from 1."""

Count = Annotated[int, Field(ge=0, le=MOST)]
"""A whole number from 0."""

Amount = Annotated[float, Field(ge=0, le=MOST)]
"""A number from 0."""

Size = Annotated[float, Field(gt=0, le=MOST)]
"""A number above 0."""

Side = Annotated[int, Field(gt=0, le=4096)]
"""Pixels of the longer side of a picture that a network sees: published detectors' are 1,280 at most."""

ClipSide = Annotated[int, Field(gt=0, le=1024)]
"""Pixels of the side of a clip that a network sees: published networks' are 320 at most."""

ClipLength = Annotated[int, Field(gt=0, le=512)]
"""Frames of a clip that a network sees: published networks' are 64 at most."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""A name that may be part of a path: small letters, digits and underscores, a letter first."""

INFERENCE = "inference"
"""The part of a section that says how what was trained is used; training never reads it."""


class Section(BaseModel):
    """A frozen part of a recipe; unknown keys are refused, and numbers that are none (`.nan`, `.inf`)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _inference_settings_in_their_place(cls, content: Any) -> Any:
        """Recipes and checkpoints of version 0.1 have the settings of `inference` beside those of training."""
        inference = cls.model_fields.get(INFERENCE)
        if inference is None or not isinstance(content, dict):
            return content
        known = getattr(inference.annotation, "model_fields", {})
        beside = {name: value for name, value in content.items() if name in known}
        if not beside:
            return content
        within = content.get(INFERENCE) or {}
        if twice := sorted(beside.keys() & dict(within).keys()):
            raise ValueError(f"{', '.join(twice)}: given beside `inference` and in it; keep the one in it")
        rest = {name: value for name, value in content.items() if name not in beside}
        return rest | {INFERENCE: {**dict(within), **beside}}
