"""Method `end_to_end` on small videos of several people: it finds them, their parts and their states by itself."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from tests.methods import several_people
from tps_pipeline import outputs, psc, recipe, tables
from tps_pipeline.clips.normalisation import Pixels, normalise
from tps_pipeline.errors import WeightsError
from tps_pipeline.evaluation import sampled
from tps_pipeline.labels import PARTS, parts_of, swapped
from tps_pipeline.learners.pretrained import SHIPPED
from tps_pipeline.methods import build
from tps_pipeline.methods.end_to_end import classifier, training
from tps_pipeline.methods.end_to_end.end_to_end import EndToEnd
from tps_pipeline.methods.end_to_end.key_frames import KeyFrame, key_frame_videos
from tps_pipeline.methods.end_to_end.loss import heat_loss, part_loss, places_of
from tps_pipeline.methods.part_states import LabelSpace
from tps_pipeline.models.end_to_end import Described, Maps, people_in
from tps_pipeline.models.heat_maps import Maps as PartMaps
from tps_pipeline.models.weights import load_checkpoint, load_into
from tps_pipeline.models.yolov7 import Body
from tps_pipeline.parsing import annotated, predicted
from tps_pipeline.reading import InMemory, frame_index
from tps_pipeline.training import loop
from tps_pipeline.video.frames import FrameFile, extract

pytestmark = pytest.mark.whole

PLAIN: dict[str, Any] = {
    "kind": "end_to_end",
    "network": {"depths": [1, 1, 1, 1], "stem": 8, "beta": 0.25, "lateral_kernel": 7, "from_last": True},
    "body": {"variant": "tiny", "width": 0.25},
    "width": 32,
    "part_width": 32,
    "person_width": 32,
    "relation_width": 32,
    "frames": 4,
    "image_size": 64,
    "loss": "softmax",
    "training": {
        "epochs": 10, "batch_size": 16, "optimizer": "adamw", "learning_rate": 0.005, "warmup": 0.2, "clip_norm": 1,
    },
    "clips_per_video": 2,
    "box_jitter": 0.05,
    "cache_megabytes": 16,
}  # fmt: skip


def settings(*, epochs: int = 10, learning_rate: float = 0.005, **changes: Any) -> recipe.EndToEnd:
    fitted = PLAIN["training"] | {"epochs": epochs, "learning_rate": learning_rate}
    return recipe.EndToEnd.model_validate(PLAIN | {"training": fitted} | changes)


def with_frames(source: InMemory) -> InMemory:
    """A source of which frames 1, 6, 11 are extracted, and of which no detections can be read."""
    videos = [str(video) for video in source(outputs.VIDEOS)["video_id"].to_pylist()]
    path = source.data / "frames.arrow"
    extract([(video, source.data / f"{video}.mp4", [1, 6, 11]) for video in videos], path)
    unseen = {output: table for output, table in source.tables.items() if output != outputs.DETECTIONS}
    return replace(source, tables=unseen, files=[FrameFile(path)])


def correctness(found: Any, source: InMemory) -> float:
    """The mean PSC of predictions of a source's frames."""
    truth = annotated(sampled(source(outputs.LABELLED_FRAMES), 5), source(outputs.PEOPLE), source(outputs.PARTS))
    return float(np.mean([*psc.part_state_correctness(truth, predicted(found, frame_index(source))).values()]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("end_to_end")
    sources = several_people.make(folder / "train", range(48)), several_people.make(folder / "val", range(100, 108))
    (folder / "checkpoint").mkdir()
    return folder / "checkpoint", build(settings()).fit(*sources, folder / "checkpoint", seed=0)


def test_people_parts_and_states_are_found_where_nobody_has_detected_any(
    trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    folder, metrics = trained
    assert metrics["part_correctness"] > 0.7  # where people and parts are found but states guessed it is 0.5
    test = with_frames(several_people.make(tmp_path, range(200, 212)))
    method = build(settings())
    assert outputs.DETECTIONS not in (*method.predict_reads, *method.fit_reads)
    found = method.predict(test, folder)
    assert found.schema.equals(tables.PREDICTIONS)
    assert correctness(found, test) > 0.7
    rows = found.to_pandas()
    assert (rows.groupby(["video_id", "frame", "person"], observed=True).size() == len(PARTS)).all()
    best_first = rows.drop_duplicates(["video_id", "frame", "person"]).groupby(["video_id", "frame"], observed=True)
    assert best_first.person_score.agg(lambda scores: scores.is_monotonic_decreasing).all()
    assert (best_first.person.max() == best_first.size() - 1).all()
    seen = (rows.part_score / rows.person_score)[rows.person_score > 0.5].groupby(rows.part, observed=True).mean()
    assert seen["head"] > 0.7 > 0.3 > seen["left_foot"]  # nobody's feet are ever annotated


def write_raw(path: Path, pictures: np.ndarray) -> None:
    """A video whose frames do not depend on each other: no compression."""
    with av.open(str(path), "w", format="nut") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = pictures.shape[2], pictures.shape[1], "rgb24"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def test_what_comes_later_changes_nothing_that_was_said(trained: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    network = classifier.load(trained[0], settings(inference={"person_threshold": 0.0}))
    pictures = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    video = several_people.make(tmp_path, range(200, 201))(outputs.VIDEOS).to_pandas()
    frames = pd.DataFrame({"video_id": video.video_id[0], "frame": [1, 6, 11]})
    said = []
    for name, shown in {"a.nut": pictures, "b.nut": np.concatenate([pictures[:6], pictures[5::-1]])}.items():
        write_raw(tmp_path / name, shown)
        videos = tables.conform(video.assign(path=name), tables.VIDEOS)
        table = pa.Table.from_pandas(frames)
        said.append(classifier.predict(network, EndToEnd(settings()).clips, table, videos, tmp_path).to_pandas())
    (one, other), columns = said, ["frame", "person_score", "part_score", "state_score"]
    earlier = [rows[rows.frame <= 6][columns].to_numpy() for rows in said]
    assert len(earlier[0]) >= 2 * len(PARTS)
    assert earlier[0] == pytest.approx(earlier[1], abs=1e-6)
    assert one[one.frame == 11].person_score.tolist() != other[other.frame == 11].person_score.tolist()


def test_everyone_keeps_their_states_whatever_the_order_of_the_videos(
    trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    source = with_frames(several_people.make(tmp_path, range(200, 206)))
    videos = source(outputs.VIDEOS)
    backwards = replace(source, tables={**source.tables, outputs.VIDEOS: videos.take([*range(len(videos))][::-1])})
    found, other = (build(settings()).predict(each, trained[0]) for each in (source, backwards))
    assert len(pc.unique(found["state"])) > 2
    assert found.equals(other)


def test_an_empty_picture_has_nobody_and_a_lost_video_says_nothing(
    trained: tuple[Path, dict[str, float]], tmp_path: Path
) -> None:
    source = with_frames(several_people.make(tmp_path, range(200, 202)))
    write_raw(tmp_path / "video_200.mp4", np.full((12, 64, 64, 3), 40, np.uint8))
    (tmp_path / "video_201.mp4").write_bytes(b"no video")
    sure = settings(inference={"person_threshold": 0.5})
    found = build(sure).predict(source, trained[0])
    assert (found.num_rows, found.schema) == (0, tables.PREDICTIONS)
    nothing = replace(source, tables={output: table.slice(0, 0) for output, table in source.tables.items()})
    assert build(sure).predict(nothing, trained[0]).num_rows == 0


def test_frames_without_people_are_learned_from_too(tmp_path: Path) -> None:
    source = several_people.make(tmp_path / "data", range(2))
    space = LabelSpace.of(source(outputs.STATE_LABELS), pairs="all")
    first = pc.field("video_id").cast(pa.string()) == "video_000"
    gone = {output: source(output).filter(~first) for output in (outputs.PEOPLE, outputs.PARTS)}
    videos = key_frame_videos(replace(source, tables={**source.tables, **gone}), space)
    assert [len(video.frames) for video in videos] == [6, 6]
    assert {len(key_frame.boxes) for key_frame in videos[0].key_frames} == {0}
    nobody = {output: source(output).slice(0, 0) for output in (outputs.PEOPLE, outputs.PARTS)}
    empty = replace(source, tables={**source.tables, **nobody})
    for loss in ("softmax", "bce"):
        (tmp_path / loss).mkdir()
        assert np.isfinite(build(settings(epochs=1, loss=loss)).fit(empty, empty, tmp_path / loss, seed=0)["loss"])


@pytest.mark.parametrize("parts", [PARTS, parts_of(["left_wing", "right_wing", "beak", "left_claw"])])
def test_in_the_mirror_left_parts_are_right_ones(parts: tuple[str, ...]) -> None:
    space = LabelSpace(tuple(sorted((part, state) for part in parts for state in ("a", "b"))))
    random = np.random.default_rng(0)
    boxes = np.sort(random.random((3, len(parts), 2, 2)), axis=2).reshape(3, len(parts), 4).astype(np.float32)
    boxes[1, 0] = np.nan
    targets = np.array([[random.choice(labels) for labels in space.of_part] for _ in boxes])
    frame = KeyFrame(boxes[:, 0].copy(), boxes, targets)
    other = training.mirrored(frame, space)
    for part, mirror in enumerate(swapped(parts)):
        assert other.parts[:, mirror, 0] == pytest.approx(1 - boxes[:, part, 2], nan_ok=True)
        assert other.parts[:, mirror, 3] == pytest.approx(boxes[:, part, 3], nan_ok=True)
        same = [space.pairs[label][1] for label in targets[:, part]]
        assert [space.pairs[label] for label in other.targets[:, mirror]] == [(parts[mirror], state) for state in same]
    for one, twice in zip(frame, training.mirrored(other, space), strict=True):
        assert one == pytest.approx(twice, nan_ok=True, abs=1e-6)


def test_what_is_moved_stays_on_what_it_is_of() -> None:
    space = LabelSpace(tuple(sorted((part, state) for part in PARTS for state in ("a", "b"))))
    entry = settings(augment={"rotation": 15, "scale": 0.2, "translate": 0.2, "flip": 0.5})
    picture = np.zeros((2, 60, 80, 3), np.uint8)
    picture[:, 18:42, 20:50] = 255
    box = np.array([20 / 80, 18 / 60, 50 / 80, 42 / 60], np.float32)
    targets = np.array([[labels[at % 2] for at, labels in enumerate(space.of_part)]])
    frame = KeyFrame(box[None], np.tile(box, (1, len(PARTS), 1)), targets)
    left = 0
    for seed in range(30):
        moved, found = training.moved(entry, space, picture, frame, np.random.default_rng(seed))
        rows, columns = np.nonzero(moved[0, ..., 0] > 127)
        seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / (80, 60, 80, 60)
        assert found.boxes[0] == pytest.approx(seen, abs=0.03)
        assert found.parts[0] == pytest.approx(np.tile(found.boxes[0], (len(PARTS), 1)), abs=1e-6)
        left += np.array_equal(found.targets, targets)
    assert 5 < left < 25
    away = settings(augment={"translate": 1.0, "flip": 0.0})
    sizes = {len(training.moved(away, space, picture, frame, np.random.default_rng(at))[1].boxes) for at in range(30)}
    assert sizes == {0, 1}


def test_people_are_peaks_the_best_first_and_nobody_is_there_twice() -> None:
    heat = torch.full((2, 8, 8), -9.0)
    heat[0, 2, 2], heat[0, 2, 3], heat[0, 6, 6], heat[0, 4, 2] = 2.0, 1.0, 3.0, 0.0
    boxes = torch.zeros(2, 8, 8, 4)
    boxes[..., 2:] = 0.1
    for row, column, shift in ((2, 2, 0.2), (4, 2, 0.21), (6, 6, 0.6)):
        boxes[0, row, column] = torch.tensor([shift, shift, shift + 0.2, shift + 0.2])
    maps = Maps(heat, boxes, torch.zeros(2, 1, 16, 16), torch.zeros(2, 1, 4, 4))
    found = people_in(maps, threshold=0.1, iou=0.5, most=10)
    # The neighbour of a higher place is no peak, and the one two below is the same person.
    assert found.people.clips.tolist() == [0, 0]
    assert found.scores.tolist() == pytest.approx(torch.tensor([3.0, 2.0]).sigmoid().tolist())
    assert found.people.boxes[:, 0].tolist() == pytest.approx([0.6, 0.2])
    assert len(people_in(maps, threshold=0.1, iou=1.0, most=10).scores) == 3
    assert people_in(maps, threshold=0.1, iou=1.0, most=1).scores.tolist() == found.scores[:1].tolist()


def test_places_learn_the_person_whose_middle_they_are() -> None:
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.9], [0.6, 0.2, 0.9, 0.8], [0.1, 0.1, 0.5, 0.9]])
    where = places_of(boxes, torch.tensor([0, 0, 2]), torch.Size([3, 20, 20]), spread=0.54)
    assert where.middle.tolist() == [[10, 6], [10, 15], [10, 6]]
    assert where.heat.amax((1, 2)).tolist() == [1.0, 0.0, 1.0]
    assert (where.heat == 1).sum() == 3
    assert torch.zeros(3).index_add(0, where.of, where.weight).tolist() == pytest.approx([1.0, 1.0, 1.0])
    assert (where.at[where.of == 0][:, 1] < 11).all()
    sure, wrong = (where.heat - 0.5) * 20, (0.5 - where.heat) * 20
    assert 10 * heat_loss(sure, where.heat) < heat_loss(wrong, where.heat)
    nobody = places_of(boxes[:0], torch.zeros(0, dtype=torch.long), torch.Size([1, 4, 4]), spread=0.54)
    assert heat_loss(torch.full((1, 4, 4), -9.0), nobody.heat) < 1e-3


def test_a_body_of_other_pixels_sees_what_the_detector_saw_whose_weights_it_has() -> None:
    pixels = Pixels((110.6, 103.2, 96.3), (38.8, 37.9, 40.0))
    detector, body = (Body("tiny", width=0.25, depth=1.0).eval() for _ in range(2))
    load_into(detector, load_checkpoint(SHIPPED["people"])[0])
    training.begin_body(body, SHIPPED["people"], pixels)
    picture = torch.randint(0, 256, (1, 1, 256, 256, 3), dtype=torch.uint8)
    with torch.inference_mode():
        before = detector.levels(picture[:, 0].permute(0, 3, 1, 2) / 255)[0]
        after = body.levels(normalise(picture, pixels)[:, :, 0])[0]
    inside = slice(8, -8)  # at the edges what is added around the picture is of another colour
    assert torch.allclose(before[..., inside, inside], after[..., inside, inside], atol=1e-3)
    assert not torch.allclose(before[..., inside, inside], torch.zeros(()), atol=0.1)


def test_weights_that_are_named_have_to_be_given(tmp_path: Path) -> None:
    source = several_people.make(tmp_path / "data", range(1))
    with pytest.raises(WeightsError, match="the weights people were not given"):
        build(settings(body={**PLAIN["body"], "weights": "people"})).fit(source, source, tmp_path, seed=0)


def test_a_training_begins_with_weights_of_one_network_and_places_fill_the_picture() -> None:
    with pytest.raises(ValueError, match="only one of them"):
        settings(network={**PLAIN["network"], "weights": "a"}, body={**PLAIN["body"], "weights": "b"})
    with pytest.raises(ValueError, match="100 is no multiple of 32"):
        settings(image_size=100)


def test_a_part_is_learned_where_it_is_of_its_own_person_and_nowhere_if_it_is_not_annotated() -> None:
    windows = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.4, 0.4, 0.8, 0.8]])
    parts = torch.full((2, 2, 4), torch.nan)
    parts[0, 0] = torch.tensor([0.1, 0.3, 0.2, 0.4])  # in the first window 0.2 to 0.4 and 0.6 to 0.8
    parts[1, 1] = torch.tensor([0.4, 0.4, 0.5, 0.5])  # in the second one its upper left quarter's quarter
    places = torch.zeros(2, 2, 20, 20, requires_grad=True)
    nowhere, boxes = torch.zeros(2, 2, requires_grad=True), torch.zeros(2, 2, 4, 20, 20)
    maps, sizes = PartMaps(places, nowhere, boxes), torch.full((2, 2), 40.0)
    part_loss(Described(windows, maps, sizes, parts, nowhere, nowhere), parts).backward()
    assert places.grad is not None
    assert nowhere.grad is not None
    assert (nowhere.grad < 0).tolist() == [[False, True], [True, False]]
    highest = [divmod(int(grad.argmin()), 20) for grad in (places.grad[0, 0], places.grad[1, 1])]
    assert highest[0] in [(13, 5), (13, 6), (14, 5), (14, 6)]
    assert highest[1] in [(2, 2), (2, 1), (1, 2), (1, 1), (3, 2), (2, 3)]


class Fixed:
    """Four clips of one to three people whom nothing but pixels tell apart, with random states."""

    def __init__(self, space: LabelSpace) -> None:
        self.space = space

    def __len__(self) -> int:
        return 4

    def frame(self, index: int) -> tuple[np.ndarray, KeyFrame]:
        random, count = np.random.default_rng(index), 1 + index % 3
        clip = np.full((4, 64, 64, 3), 40, np.uint8)
        boxes = np.array([[4, 6, 28, 50], [36, 10, 60, 60], [20, 30, 44, 62]], np.float32)[:count] / 64
        for x1, y1, x2, y2 in (boxes * 64).astype(int):
            clip[:, y1:y2, x1:x2] = random.integers(60, 255, (y2 - y1, x2 - x1, 3))
        corner, size = np.tile(boxes[:, None, :2], 2), np.tile(boxes[:, None, 2:] - boxes[:, None, :2], 2)
        inside = np.array([[x / 5, y / 2, (x + 1) / 5, (y + 1) / 2] for y in range(2) for x in range(5)], np.float32)
        targets = np.array([[random.choice(labels) for labels in self.space.of_part] for _ in boxes])
        return clip, KeyFrame(boxes, corner + inside * size, targets)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        clip, frame = self.frame(index)
        own = rng.random(len(frame.boxes)) < 0.5
        return {"clip": clip, "key_frame": frame, "own": own, "people": frame.boxes, "rough": frame.parts}


def test_one_batch_is_learned_by_heart(tmp_path: Path) -> None:
    entry = settings(epochs=40, learning_rate=0.01, relation_dropout=0.0)
    space = LabelSpace(tuple((part, state) for part in sorted(PARTS) for state in ("a", "b", "c")))
    torch.manual_seed(0)
    network, data = classifier.build(entry, space), Fixed(space)
    task = loop.Task(
        network, data, partial(training.loss, entry, space, torch.ones(len(space))), collate=training.collate
    )
    loop.fit(task, entry.training, folder=tmp_path, seed=0)
    clips, frames = zip(*(data.frame(index) for index in range(len(data))), strict=True)
    network.train()  # forty batches are too few for their statistics to be known
    with torch.inference_mode():
        found = classifier.find(network, torch.from_numpy(np.stack(clips)), entry, space)
    right = [training.right_parts(found.some(found.clip_of == at), frame, space) for at, frame in enumerate(frames)]
    assert sum(right) >= 0.95 * sum(frame.targets.size for frame in frames)
    sure = found.some(found.scores > 0.5)
    assert np.bincount(sure.clip_of).tolist() == [len(frame.boxes) for frame in frames]
