"""Importing torchvision without torch's compiler, which it asks for one function and seldom calls.

The compiler, `torch._dynamo`, takes longer to import than torchvision and all of ours: 1.4 s of every process that
looks at pictures. torchvision, too, means to leave it for later (`lazy_compile` in `torchvision.ops.roi_align`, 0.27).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_COMPILER, _ASKED = "torch._dynamo", "torch._dynamo.utils"


def _is_compile_supported(device_type: str) -> bool:
    from torch._dynamo.utils import is_compile_supported  # pyright: ignore[reportPrivateImportUsage]

    return bool(is_compile_supported(device_type))


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let torchvision be imported meanwhile, by whatever module, and be answered; if the compiler is there, by that."""
    if _COMPILER in sys.modules:
        yield
        return
    stand_ins = {name: ModuleType(name) for name in (_COMPILER, _ASKED)}
    stand_ins[_COMPILER].__path__ = []

    def step_aside() -> None:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]

    def of_the_compiler(name: str) -> Any:  # another torchvision may ask for more
        if name.startswith("__"):  # `inspect` asks every module for its file
            raise AttributeError(name)
        step_aside()
        return getattr(importlib.import_module(_ASKED), name)

    vars(stand_ins[_ASKED]).update(is_compile_supported=_is_compile_supported, __getattr__=of_the_compiler)
    sys.modules |= stand_ins
    try:
        yield
    finally:
        step_aside()
