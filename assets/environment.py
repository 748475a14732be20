"""What the environment says in `TPS_` variables; an empty one is as one that is not set."""

import os


def text(name: str, default: str) -> str:
    """What a variable says."""
    return os.environ.get(name, "").strip() or default


def number(name: str, default: float, *, least: float, whole: bool = True) -> float:
    """The number that a variable gives.

    Args:
        name: The variable.
        default: Without it.
        least: The smallest there can be.
        whole: Whether fractions are none.

    Raises:
        SystemExit: It is no number, or none that can be: one line, as modules read their variables when imported.
    """
    given = text(name, str(default))
    try:
        value = float(given)
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf") or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise SystemExit(f"{name}={given}: expected {kind}, {least:g} or more")
    return value
