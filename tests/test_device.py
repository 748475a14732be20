"""Which device computes."""

import subprocess
import sys

import torch

from tps_pipeline.device import has_gpu

WITHOUT_DRIVER = """
import ctypes, pathlib, sys
from tps_pipeline.device import has_gpu

def missing(name):
    raise OSError(f"{name}: cannot open shared object file")

sys.platform, ctypes.CDLL, pathlib.Path.exists = "linux", missing, lambda path: False
print(has_gpu(), "torch" in sys.modules)
"""


def test_whether_there_is_a_gpu_is_what_pytorch_says() -> None:
    assert has_gpu() is torch.cuda.is_available()


def test_where_no_driver_is_pytorch_is_not_asked() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_DRIVER], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
