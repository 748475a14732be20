"""What the modules of the command line share: options that mean the same everywhere, and how results are printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tps_pipeline.data.encoding import printable

DEMO_DATA = Path("demo/data")
"""The data folder where none is named: that of `make demo`."""

DEMO_STORE = "demo/store"
"""The store where none is named: that of `make demo`."""

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
"""The option `--json` of commands that show something."""

Root = Annotated[str, typer.Option("--store", envvar="TPS_STORE", help="The store: a folder or a URL.")]
"""The option `--store` of commands that need a store."""


def example(command: str) -> str:
    """What a command's help ends with: a line that runs as it stands, where `make demo` was run."""
    return f"Example: tps {command}"


def print_json(value: Any) -> None:
    """Print a value for machines."""
    typer.echo(json.dumps(value, indent=1, default=str))


def print_table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table for people, plainly: rich takes most of a millisecond a row, and there may be a thousand."""
    from rich.cells import cell_len

    cells = [[f"{cell:.4g}" if isinstance(cell, float) else printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    lines = [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (columns, ["-" * width for width in widths], *cells)
    ]
    typer.echo("\n".join([title, *lines]))
