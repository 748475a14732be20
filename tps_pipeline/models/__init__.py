"""The networks, and how published checkpoints become them. Importing this package does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tps_pipeline.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

REFERENCES = ("yolov7x", "yolov7_tiny", "video_swin", "ir_csn", "slowfast_acar", "slowfast_pyslowfast")
"""The published networks that are rebuilt here from tensors under their own names."""


def from_reference(kind: str, state_dict: Mapping[str, Tensor], **config: Any) -> nn.Module:
    """Our network for a published checkpoint, loaded strictly, in evaluation mode.

    Args:
        kind: Which published network, one of `REFERENCES`.
        state_dict: Its tensors under the reference's own names.
        **config: What the tensors do not tell, as the network's own `from_reference` takes it.

    Raises:
        WeightsError: An unknown kind, or tensors that do not fit; names them.
    """
    match kind:
        case "yolov7x" | "yolov7_tiny":
            from tps_pipeline.models import yolov7

            return yolov7.from_reference(state_dict, variant="x" if kind == "yolov7x" else "tiny", **config)
        case "video_swin":
            from tps_pipeline.models import video_swin

            return video_swin.from_reference(state_dict, **config)
        case "ir_csn":
            from tps_pipeline.models import csn

            return csn.from_reference(state_dict, **config)
        case "slowfast_acar" | "slowfast_pyslowfast":
            from tps_pipeline.models import slowfast

            read = slowfast.from_acar if kind == "slowfast_acar" else slowfast.from_pyslowfast
            return read(state_dict, **config)
        case _:
            raise WeightsError(f"unknown kind of checkpoint {kind!r}; known: {', '.join(REFERENCES)}")
