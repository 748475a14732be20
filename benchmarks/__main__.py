"""Every benchmark, one after the other: `make bench`."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        print(f"## {path.stem}", file=sys.stderr, flush=True)
        runpy.run_module(f"benchmarks.{path.stem}", run_name="__main__")
