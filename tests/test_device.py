"""Which device computes."""

import subprocess
import sys

import pytest
import torch

from tps_pipeline.device import has_gpu

ASKED = "import sys; from tps_pipeline.device import has_gpu; print(has_gpu(), 'torch' in sys.modules)"


def test_whether_there_is_a_gpu_is_what_pytorch_says() -> None:
    assert has_gpu() is torch.cuda.is_available()


@pytest.mark.skipif(torch.cuda.is_available() or sys.platform != "linux", reason="only PyTorch knows")
def test_where_no_driver_is_pytorch_is_not_asked() -> None:
    done = subprocess.run([sys.executable, "-c", ASKED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
