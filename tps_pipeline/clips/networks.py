"""The networks that see clips, as the sections of a recipe describe them (`tps_pipeline.recipe.networks`).

The networks themselves stand in `tps_pipeline.models` and know no recipe. Weights are random here.
"""

from __future__ import annotations

from tps_pipeline import recipe
from tps_pipeline.models.csn import Csn
from tps_pipeline.models.slowfast import SlowFast
from tps_pipeline.models.video_swin import VideoSwin


def video_swin(section: recipe.VideoSwin, classes: int | None = None) -> VideoSwin:
    """A Video Swin Transformer with so many outputs, or one that gives features."""
    return VideoSwin(
        patch=section.patch,
        embed=section.embed,
        depths=section.depths,
        heads=section.heads,
        window=section.window,
        stochastic_depth=section.stochastic_depth,
        gradients=section.input == "gradients",
        classes=classes,
    )


def csn(section: recipe.Csn, classes: int | None = None) -> Csn:
    """An ir-CSN with so many outputs, or one that gives features."""
    return Csn(
        depths=section.depths,
        stem=section.stem,
        dropout=section.dropout,
        frozen_norms=section.frozen_norms,
        classes=classes,
    )


def slowfast(section: recipe.SlowFast) -> SlowFast:
    """A SlowFast, which gives features."""
    return SlowFast(
        depths=section.depths,
        stem=section.stem,
        alpha=section.alpha,
        beta=section.beta,
        lateral_kernel=section.lateral_kernel,
        lateral_norms=section.lateral_norms,
        temporal_blocks=section.temporal_blocks,
        non_local=section.non_local,
        full_span=section.full_span,
        from_last=section.from_last,
        frozen_norms=section.frozen_norms,
    )
