"""Importing torchvision without torch's compiler, which it asks for one function and seldom calls.

The compiler, `torch._dynamo`, takes longer to import than torchvision and all of ours: 1.4 s of every process that
looks at pictures. torchvision, too, means to leave it for later (`lazy_compile` in `torchvision.ops.roi_align`, 0.27).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

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
    compiler, asked = ModuleType(_COMPILER), ModuleType(_ASKED)
    compiler.__path__ = []
    vars(asked)["is_compile_supported"] = _is_compile_supported
    sys.modules |= {_COMPILER: compiler, _ASKED: asked}
    try:
        yield
    finally:
        del sys.modules[_COMPILER], sys.modules[_ASKED]
