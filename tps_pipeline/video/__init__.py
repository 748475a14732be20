"""Video in, frames out: probing, decoding, extraction."""

from tps_pipeline.video.decode import Decoder, read_frames
from tps_pipeline.video.frames import FrameFile, export, extract, read_jpegs, sampled_frames
from tps_pipeline.video.probe import Probe, probe

__all__ = [
    "Decoder",
    "FrameFile",
    "Probe",
    "export",
    "extract",
    "probe",
    "read_frames",
    "read_jpegs",
    "sampled_frames",
]
