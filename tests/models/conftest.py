"""The classes of an official YOLOv7 file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from torch import nn


@pytest.fixture
def official() -> Iterator[dict[str, type[nn.Module]]]:
    """The classes an official file names, importable while it is written and gone when it is read."""
    yolo, common = ModuleType("models.yolo"), ModuleType("models.common")
    names = {"Model": yolo, "IDetect": yolo, "Conv": common, "ImplicitA": common, "ImplicitM": common}
    for name, module in names.items():
        setattr(module, name, type(name, (nn.Module,), {"__module__": module.__name__}))
    modules = {"models": ModuleType("models"), "models.yolo": yolo, "models.common": common}
    sys.modules.update(modules)
    yield {name: getattr(module, name) for name, module in names.items()}
    for name in modules:
        sys.modules.pop(name, None)
