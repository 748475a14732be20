"""The losses of an epoch, looked at now and then.

To ask for one makes the processor wait until the device has computed it, and the device then for more to do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from tps_pipeline.errors import TpsError

LOGGED_EVERY = 0.5
"""Seconds between two looks at the losses."""


class Losses:
    """An epoch's losses, which stay on the device until it is time to look at them.

    Args:
        epoch: The epoch, from 0.
        show: Is told the last loss.
    """

    def __init__(self, epoch: int, show: Callable[[float], None]) -> None:
        self._epoch, self._show = epoch, show
        self._waiting: list[dict[str, Tensor]] = []
        self._sums: dict[str, float] = {}
        self._seen, self._looked = 0, time.monotonic()

    def add(self, parts: dict[str, Tensor]) -> None:
        """Take in a batch's."""
        self._waiting.append(parts)
        if time.monotonic() - self._looked >= LOGGED_EVERY:
            self.read()

    def read(self) -> dict[str, float]:
        """The sums so far.

        Raises:
            TpsError: A loss is not a finite number.
        """
        if self._waiting:
            names = list(self._waiting[0])
            device = self._waiting[-1]["loss"].device
            rows = torch.stack([torch.stack([parts[name].to(device) for name in names]) for parts in self._waiting])
            for values in rows.tolist():  # one after the other: the last digit does not depend on when it was looked
                self._take(dict(zip(names, values, strict=True)))
            self._waiting, self._looked = [], time.monotonic()
        return self._sums

    def _take(self, parts: dict[str, float]) -> None:
        self._seen += 1
        if not math.isfinite(parts["loss"]):
            raise TpsError(
                f"the loss is {parts['loss']} at epoch {self._epoch + 1}, batch {self._seen}: lower `learning_rate`, "
                f"set `clip_norm` (1.0 is common) or use `precision: 32-true`; then train again"
            )
        self._sums = {name: self._sums.get(name, 0.0) + value for name, value in parts.items()}
        self._show(parts["loss"])
