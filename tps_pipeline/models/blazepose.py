"""BlazePose's two networks: a detector of people, and the landmarks of one person (arXiv 2006.10204).

They are published as TFLite files in the wheel `mediapipe==0.10.14` (Apache-2.0) and run by `ai-edge-litert`; nothing
else of MediaPipe is used. Here is what goes into the networks and what comes out, and how the files become weights;
where in a picture to look, and who is found there, stands in `detection/`. What the numbers mean (scales, the order of
the anchors and of the points) are facts of the files, found by trial on pictures.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tps_pipeline.errors import WeightsError
from tps_pipeline.models.kept import kept
from tps_pipeline.models.weights import load_checkpoint
from tps_pipeline.plain_file import NotPlainError, content

EXTRA = "tps-pipeline[pose]"
"""What brings the runtime along."""

FETCH = "pip download --no-deps --only-binary :all: --python-version 3.11 mediapipe==0.10.14"
"""The command that fetches the wheel, which is not installed."""

DETECTOR, LANDMARKER = "pose_detection", "pose_landmark_full"

FILES: dict[str, tuple[str, str]] = {
    DETECTOR: (
        "mediapipe/modules/pose_detection/pose_detection.tflite",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    ),
    LANDMARKER: (
        "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
}
"""The networks by name: where each is in the wheel, and its SHA-256."""

LARGEST = 200 << 20
"""Bytes of a wheel or a network; the wheel has 36 million, the networks have 3 and 6."""

DETECTOR_SIDE, LANDMARK_SIDE = 224, 256
"""Pixels of the square pictures that the networks see."""

GRIDS = ((28, 2), (14, 2), (7, 6))
"""The detector's anchors: for each grid its cells a side, and the anchors in each cell."""

LANDMARK_COUNT = 33
"""Of the body; the network gives six more points, for its own use."""


class Suspects(NamedTuple):
    """Whom the detector sees in a picture.

    Attributes:
        scores: 0 to 1, (N,).
        boxes: Edges x1 y1 x2 y2 of the face in pixels, (N, 4).
        centres: x and y of the middle of the hips, (N, 2).
        tops: x and y of the point on the circle around the body that is above its middle, as the person is turned.
    """

    scores: NDArray[np.float32]
    boxes: NDArray[np.float32]
    centres: NDArray[np.float32]
    tops: NDArray[np.float32]


class Landmarks(NamedTuple):
    """What the landmark network says of the square that it sees.

    Attributes:
        points: x and y of the landmarks in the square's pixels, (33, 2).
        visibility: How sure it is that each is seen, 0 to 1, (33,).
        presence: How sure it is that a person is there, 0 to 1.
        centre: x and y of the middle of the hips, (2,).
        top: x and y of the point on the circle around the body, (2,).
    """

    points: NDArray[np.float32]
    visibility: NDArray[np.float32]
    presence: float
    centre: NDArray[np.float32]
    top: NDArray[np.float32]


@dataclass(frozen=True)
class BlazePose:
    """The two networks, ready for pictures.

    Attributes:
        detector: Runs the detector; None where the landmark network was imported alone.
        landmarker: Runs the landmark network.
    """

    detector: Any | None
    landmarker: Any

    def suspect(self, picture: NDArray[np.uint8]) -> Suspects:
        """Everybody whom the detector may see, one for each anchor: nothing is suppressed.

        Args:
            picture: RGB, (H, W, 3); it is letterboxed.
        """
        height, width = picture.shape[:2]
        scale = DETECTOR_SIDE / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        canvas = np.zeros((DETECTOR_SIDE, DETECTOR_SIDE, 3), np.uint8)
        left, top = (DETECTOR_SIDE - size[0]) // 2, (DETECTOR_SIDE - size[1]) // 2
        shrunk = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        canvas[top : top + size[1], left : left + size[0]] = shrunk
        raw, logits = _run(self.detector, (canvas / 127.5 - 1).astype(np.float32))
        scores, points = decode(raw[0], logits[0, :, 0])
        points[:, [0, 2, 3, 4, 5]] -= (left, top)
        points *= (width / size[0], height / size[1])
        middle, half = points[:, 0], points[:, 1] / 2
        faces = np.concatenate((middle - half, middle + half), 1).astype(np.float32)
        return Suspects(scores, faces, points[:, 2], points[:, 3])

    def landmarks(self, square: NDArray[np.uint8]) -> Landmarks:
        """The landmarks of the person in a square.

        Args:
            square: RGB, (256, 256, 3), the person upright and in the middle.
        """
        raw, presence = _run(self.landmarker, (square / 255).astype(np.float32))[:2]
        return read_landmarks(raw[0], float(presence[0, 0]))


def anchors() -> NDArray[np.float32]:
    """The middles of the detector's anchors, as shares of its picture, (2254, 2)."""
    middles = []
    for side, each in GRIDS:
        at = (np.arange(side, dtype=np.float32) + 0.5) / side
        rows, columns = np.meshgrid(at, at, indexing="ij")
        middles.append(np.repeat(np.stack((columns, rows), -1).reshape(-1, 2), each, 0))
    return np.concatenate(middles)


def decode(raw: NDArray[np.float32], logits: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the detector's outputs mean.

    Args:
        raw: For each anchor a box (centre, then width and height) and four points, from the anchor on, (N, 12).
        logits: Of the scores, (N,).

    Returns:
        Scores (N,), and in the pixels of the detector's picture (N, 6, 2): the box's centre, its width and height, and
        the points. The first is the middle of the hips, the second lies on the circle around the body.
    """
    points = raw.reshape(-1, 6, 2).copy()
    points[:, [0, 2, 3, 4, 5]] += (anchors() * DETECTOR_SIDE)[:, None]
    return _sigmoid(logits), points


def read_landmarks(raw: NDArray[np.float32], presence: float) -> Landmarks:
    """What the landmark network's outputs mean.

    Args:
        raw: For each of 39 points x, y, z, and the logits of visibility and of lying in the picture, (195,).
        presence: 0 to 1.
    """
    rows = raw.reshape(-1, 5)
    body = rows[:LANDMARK_COUNT]
    seen = _sigmoid(body[:, 3]) * _sigmoid(body[:, 4])
    return Landmarks(body[:, :2].copy(), seen, presence, rows[33, :2].copy(), rows[34, :2].copy())


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return (1 / (1 + np.exp(-logits.clip(-80, 80)))).astype(np.float32)


class PublishedFiles(nn.Module):
    """The networks' files as they are, as what is kept of imported weights: bytes by the networks' names.

    Args:
        files: From `read_published`.
    """

    def __init__(self, files: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, file in files.items():
            self.register_buffer(name, file)


def read_published(path: Path, *, sha256: str | None = None) -> dict[str, Tensor]:
    """Take the networks out of the wheel that they are published in; nothing in it is executed.

    Args:
        path: The wheel, or the file of the landmark network alone (people then have to come from a person detector).
        sha256: The file's expected digest in hexadecimal.

    Returns:
        The networks' files by name, as bytes.

    Raises:
        WeightsError: It is another file, or a network in it is another one than is expected.
        UnreachableError: It cannot be read now.
    """
    try:
        whole = content(path, limit=LARGEST)
    except NotPlainError as error:
        raise WeightsError(f"{path}: {error}; name the wheel of `{FETCH}`") from error
    if sha256 is not None and (actual := hashlib.sha256(whole).hexdigest()) != sha256.lower():
        raise WeightsError(f"{path}: its SHA-256 is {actual}, not {sha256}; download it again")
    files = _of_wheel(path, whole) if zipfile.is_zipfile(io.BytesIO(whole)) else {LANDMARKER: whole}
    for name, file in files.items():
        if (actual := hashlib.sha256(file).hexdigest()) != FILES[name][1]:
            other = next((each for each, (_, known) in FILES.items() if known == actual), None)
            what = f"is {other}, which finds no landmarks" if other else f"is not {name}.tflite (SHA-256 {actual})"
            raise WeightsError(f"{path}: {what}; import the wheel of `{FETCH}`")
    return {name: torch.frombuffer(bytearray(file), dtype=torch.uint8) for name, file in files.items()}


def _of_wheel(path: Path, whole: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(whole)) as wheel:
        try:
            members = {name: wheel.getinfo(member) for name, (member, _) in FILES.items()}
            if max(member.file_size for member in members.values()) > LARGEST:
                raise WeightsError(f"{path}: its networks are larger than {LARGEST >> 20} MiB; fetch it with `{FETCH}`")
            return {name: wheel.read(member) for name, member in members.items()}
        except KeyError as error:
            raise WeightsError(
                f"{path}: is not the wheel that has BlazePose ({error}); fetch it with `{FETCH}`"
            ) from error
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise WeightsError(f"{path}: is damaged ({error}); fetch it again with `{FETCH}`") from error


@kept
def load(path: Path, *, threads: int = 1) -> BlazePose:
    """Make imported networks ready.

    Args:
        path: Imported weights of the kind `blazepose`.
        threads: That a network computes with.

    Raises:
        WeightsError: The file is missing or damaged, has other weights, or the runtime is not installed.
    """
    files, _ = load_checkpoint(path)
    if LANDMARKER not in files:
        raise WeightsError(f"{path}: these are not BlazePose's networks; `tps weights import --as blazepose`")
    networks = {name: _interpreter(path, files[name].numpy().tobytes(), threads) for name in FILES if name in files}
    return BlazePose(networks.get(DETECTOR), networks[LANDMARKER])


def _interpreter(path: Path, file: bytes, threads: int) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise WeightsError(
            f"{path}: to run BlazePose ai-edge-litert is missing ({error}); run `pip install '{EXTRA}'`"
        ) from error
    with _quiet():
        try:
            interpreter: Any = Interpreter(model_content=file, num_threads=threads)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise WeightsError(f"{path}: damaged, or no TFLite file ({error}); import the wheel again") from error
    return interpreter


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the runtime, which writes to the process's own stderr, from saying what it runs on."""
    sys.stderr.flush()
    kept_stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept_stderr, 2)
        os.close(kept_stderr)
        os.close(nowhere)


def _run(interpreter: Any, picture: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The outputs of a network for one picture, (H, W, 3)."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture[None])
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]
