"""Video in, frames and pictures out."""

from tps_pipeline.clips.sampling import dense_sample, sampled_frames, uniform_sample
from tps_pipeline.drawing.frame import draw
from tps_pipeline.drawing.video import write_video
from tps_pipeline.video.decode import Decoder, read_frames
from tps_pipeline.video.frames import FrameFile, export, extract, read_jpegs
from tps_pipeline.video.probe import Probe, probe

__all__ = [
    "Decoder",
    "FrameFile",
    "Probe",
    "dense_sample",
    "draw",
    "export",
    "extract",
    "probe",
    "read_frames",
    "read_jpegs",
    "sampled_frames",
    "uniform_sample",
    "write_video",
]
