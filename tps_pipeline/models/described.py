"""Networks as their checkpoints describe them: built with what the file says, and never larger than what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from tps_pipeline.errors import TpsError, WeightsError
from tps_pipeline.models.weights import MOST_TENSORS, must_fit

Network = TypeVar("Network", bound=nn.Module)


def built_as_described(path: Path, build: Callable[[], Network], state_dict: Mapping[str, Tensor]) -> Network:
    """The network that a checkpoint describes, with its weights; one that these do not fill takes no memory.

    What a file says of its network may come from a stranger: a few digits can ask for a terabyte.

    Args:
        path: The checkpoint, for messages.
        build: Builds the network as described, without memory for its tensors; called once more if it has tensors that
            are not in the checkpoint.
        state_dict: The checkpoint's weights, which must fit exactly.

    Raises:
        WeightsError: The description is none, or of another network than the weights are of.
    """
    with description_of(path):
        with torch.device("meta"), _Unfilled(), _no_larger_than(state_dict):
            model = build()
            must_fit(model, state_dict)
        kinds = {name: own.dtype for name, own in model.state_dict().items()}  # shipped weights have half the bits
        model.load_state_dict({name: each.to(kinds[name], copy=True) for name, each in state_dict.items()}, assign=True)
        if any(tensor.is_meta for tensor in chain(model.parameters(), model.buffers())):
            model = build()
            model.load_state_dict(state_dict)
    return model


@contextmanager
def description_of(path: Path) -> Iterator[None]:
    """Make of whatever is raised in reading what a checkpoint says of itself one line that names it.

    Raises:
        WeightsError: Something was raised.
    """
    try:
        yield
    except TpsError as error:
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:  # whatever a wrong number makes of a network's parts
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise WeightsError(f"{path}: does not say which network it is ({reason}); train it again") from error


class _Unfilled(TorchFunctionMode):
    """Has no initial weights drawn: of tensors without memory that takes long and comes to nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.uniform_, Tensor.normal_):
            return args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def _no_larger_than(state_dict: Mapping[str, Tensor]) -> Iterator[None]:
    """Have no module made whose parameters are more than some weights are."""
    most = 2 * sum(tensor.numel() for tensor in state_dict.values()) + MOST_TENSORS  # some are replaced in building
    registered = 0

    def count_in(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal registered
        registered += 0 if parameter is None else parameter.numel()
        if registered > most:
            raise WeightsError("describes a network that is larger than the weights in it; train it again")

    hook = register_module_parameter_registration_hook(count_in)
    try:
        yield
    finally:
        hook.remove()
