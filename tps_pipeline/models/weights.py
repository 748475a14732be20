"""Weight files: read without executing anything in them, check, load, save."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from tps_pipeline.errors import WeightsError


def misfit(
    what: str, *, missing: Iterable[str] = (), unexpected: Iterable[str] = (), reshaped: Iterable[str] = ()
) -> str:
    """One sentence on why tensors do not fit, naming the first few of each kind."""
    parts = []
    for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped)):
        if found := sorted(names):
            shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
            parts.append(f"{len(found)} {kind} ({shown})")
    return f"these are not the weights of {what}: " + "; ".join(parts)


def load_strictly(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load weights that must fit exactly.

    Raises:
        WeightsError: Names the missing, unexpected and differently shaped entries.
    """
    own = model.state_dict()
    missing, unexpected = own.keys() - state_dict.keys(), state_dict.keys() - own.keys()
    reshaped = [
        f"{k}: {tuple(state_dict[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own.keys() & state_dict.keys()
        if own[k].shape != state_dict[k].shape
    ]
    if missing or unexpected or reshaped:
        raise WeightsError(misfit(type(model).__name__, missing=missing, unexpected=unexpected, reshaped=reshaped))
    model.load_state_dict(state_dict)
