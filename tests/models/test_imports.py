"""Networks are imported without torch's compiler and triton, and all work as ever."""

import subprocess
import sys

CODE = """
import sys
import tps_pipeline.detection.suppression, tps_pipeline.models.csn, tps_pipeline.models.end_to_end
import tps_pipeline.models.relations, tps_pipeline.models.video_swin, tps_pipeline.training.loop
assert "triton" not in sys.modules  # 70 MB
assert not [name for name in sys.modules if name.startswith("torch._dynamo")]
import torch
from torchvision.ops import roi_align
from torchvision.ops.roi_align import is_compile_supported
boxes = torch.tensor([[0, 1.0, 1.0, 8.0, 8.0]])
assert roi_align(torch.ones(1, 3, 16, 16), boxes, 4).eq(1).all()
assert is_compile_supported("cpu") is torch._dynamo.utils.is_compile_supported("cpu")
print("as ever")
"""


def test_torchvision_is_imported_without_the_compiler_which_is_there_when_it_is_asked():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.stdout == "as ever\n", done.stderr


MORE = """
import sys
from tps_pipeline.models.imports import without_compiler
with without_compiler():
    from torch._dynamo.utils import counters
assert "torch._dynamo.utils" in sys.modules
import torch._dynamo
assert torch._dynamo.utils.counters is counters
print("the compiler's")
"""


def test_what_else_is_asked_of_the_compiler_is_the_compilers():
    done = subprocess.run([sys.executable, "-c", MORE], capture_output=True, text=True, check=False)
    assert done.stdout == "the compiler's\n", done.stderr
