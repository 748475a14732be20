"""One file that predicts what its store predicts, and the files that are refused."""

import hashlib
import json
import re
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import tps_pipeline
from tests.predict.untrained import make_store
from tests.video.clips import write_clip
from tps_pipeline import outputs
from tps_pipeline.cli.app import app
from tps_pipeline.errors import BundleError, RecipeError, StoreError, TpsError
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.predict import bundle
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import WEIGHTS

pytestmark = pytest.mark.whole

METHODS = ["video_category", "part_trajectory", "voting", "by_category"]
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    crowded = {"person_threshold": 0.0, "people_per_frame": 3}
    return make_store(tmp_path_factory.mktemp("store"), two_stage=crowded)


@pytest.fixture(scope="module")
def sound(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tps_pipeline.load(store, method="video_category").bundle(path := tmp_path_factory.mktemp("sound") / "a.tps")
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where bundles are unpacked."""
    (tmp_path / "unpacked").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "unpacked"))
    return tmp_path / "unpacked"


@pytest.mark.parametrize("method", METHODS)
def test_a_bundle_predicts_what_its_store_predicts(method: str, store: Path, tmp_path: Path):
    clip = write_clip(tmp_path / "me.mp4", 13)
    of_store = tps_pipeline.load(store, method=method)
    of_store.bundle(tmp_path / "a.tps")
    of_bundle = tps_pipeline.load(tmp_path / "a.tps")
    assert (of_bundle.method, of_bundle.recipe) == (method, of_store.recipe)
    there, here = of_store(clip), of_bundle(clip)
    assert len(here.predictions) == 10 * 3 * 3
    assert here.predictions.to_pylist() == there.predictions.to_pylist()
    assert here.to_json() == there.to_json()


def test_only_what_the_method_needs_is_in_it_and_equal_stores_give_equal_bundles(store: Path, tmp_path: Path):
    parser = tps_pipeline.load(store, method="video_category")
    networks = parser.bundle(tmp_path / "a.tps")
    named = {network.name for network in networks if not network.name.startswith("checkpoints/video_action")}
    assert named == {f"checkpoints/{name}" for name in ("person_detector", "part_detector", "video_category")}
    with zipfile.ZipFile(tmp_path / "a.tps") as archive:
        assert not [name for name in archive.namelist() if "part_trajectory" in name or "ensemble" in name]
    parser.bundle(tmp_path / "b.tps")
    assert (tmp_path / "a.tps").read_bytes() == (tmp_path / "b.tps").read_bytes()
    with pytest.raises(StoreError, match="not in the bundle: checkpoints/part_trajectory; bundle the store with this"):
        tps_pipeline.load(tmp_path / "a.tps", method="part_trajectory")
    tps_pipeline.load(tmp_path / "a.tps").bundle(tmp_path / "c.tps")
    assert (tmp_path / "a.tps").read_bytes() == (tmp_path / "c.tps").read_bytes()


def test_the_command_tells_of_licences_and_what_it_wrote_is_predicted_with(tmp_path: Path, place: Path):
    store, clip = Store(make_store(tmp_path / "store")), write_clip(tmp_path / "me.mp4", 6)
    detector = outputs.checkpoint("person_detector")
    about = {"name": "yolov7_tiny_coco", "licence": "GPL-3.0", "file": "yolov7-tiny.pt"}
    _with_files(store, detector.key, {"weights.json": json.dumps(about), "log.csv": "", "metrics.json": '{"ap": 0.25}'})
    bundled = tps("bundle", store.root, tmp_path / "a.tps", "--method", "video_category")
    assert bundled.exit_code == 0, bundled.output
    assert bundled.stdout.splitlines()[0].endswith("bytes  began with yolov7_tiny_coco (GPL-3.0)")
    assert all(line.endswith("bytes  trained from scratch") for line in bundled.stdout.splitlines()[1:])
    assert "person_detector began with yolov7_tiny_coco (GPL-3.0): see what that licence asks" in bundled.stderr
    with zipfile.ZipFile(tmp_path / "a.tps") as archive:
        assert json.loads(archive.read("licences.json")) == [about | {"network": detector.key}]
        assert "| `checkpoints/person_detector` | ap 0.25 |" in archive.read("README.md").decode()
        assert not [name for name in archive.namelist() if name.endswith("log.csv")]
    done = tps("predict", clip, "--bundle", tmp_path / "a.tps", "--out", tmp_path, "--save", "json", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)[0]["files"] == [str(tmp_path / "me_video_category.json")]
    assert tps("bundle", store.root, tmp_path / "a.zip").exit_code == 2


def test_a_bundle_appears_whole_or_not_at_all(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    parser = tps_pipeline.load(store, method="video_category")
    (tmp_path / "a.tps").write_text("before")
    (tmp_path / "folder.tps").mkdir()
    with pytest.raises(BundleError, match=r"folder\.tps: cannot be written \(Is a directory\)"):
        parser.bundle(tmp_path / "folder.tps")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "_copy", full)
    with pytest.raises(BundleError, match=r"a\.tps: cannot be written \(No space left on device\)"):
        parser.bundle(tmp_path / "a.tps")
    assert (tmp_path / "a.tps").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tps", "folder.tps"]


def test_where_this_version_gives_other_results_it_says_so(sound: Path, caplog: pytest.LogCaptureFixture):
    tps_pipeline.load(sound)
    assert not caplog.messages
    tps_pipeline.load(_changed(sound, sound.with_name("older.tps"), _older))
    assert caplog.messages[0].endswith(f"this version ({tps_pipeline.__version__}) gives other results in: tracks")


def test_nothing_stays_behind_when_a_parser_is_gone(sound: Path, place: Path):
    parser = tps_pipeline.load(sound)
    assert len(list(place.iterdir())) == 1
    del parser
    assert not list(place.iterdir())


def _older(manifest: dict[str, Any], _: Members) -> None:
    manifest["steps"]["tracks"] = "0"


def _another_format(manifest: dict[str, Any], _: Members) -> None:
    manifest["format"] = 2


def _another_key(manifest: dict[str, Any], _: Members) -> None:
    manifest["run"] = "me"


def _a_number(manifest: dict[str, Any], _: Members) -> None:
    manifest["members"]["recipe.yaml"]["bytes"] = -1


def _other_digest(_: dict[str, Any], members: Members) -> None:
    members["README.md"] = members["README.md"].replace(b"Finds", b"finds")


def _other_size(_: dict[str, Any], members: Members) -> None:
    members["README.md"] += b"!"


def _missing(_: dict[str, Any], members: Members) -> None:
    del members["licences.json"]


def _not_named(_: dict[str, Any], members: Members) -> None:
    members["run.py"] = b"print()"


def _no_recipe(manifest: dict[str, Any], members: Members) -> None:
    del members["recipe.yaml"], manifest["members"]["recipe.yaml"]


def _read_outside(manifest: dict[str, Any], _: Members) -> None:
    manifest["reads"][0]["path"] = "../../elsewhere"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_another_format, r"is a bundle of format 2, and this version of tps_pipeline \(.*\) reads format 1; use the"),
        (_another_key, r"refused: manifest\.json: run: Extra inputs are not permitted"),
        (_a_number, r"refused: manifest\.json: members\.recipe\.yaml\.bytes: Input should be greater"),
        (_other_digest, r"refused: README\.md is not what manifest\.json says \(another SHA-256\)"),
        (_other_size, r"refused: README\.md has [\d,]+ bytes, not [\d,]+"),
        (_missing, r"refused: licences\.json is missing"),
        (_not_named, r"refused: run\.py is in it, and not in manifest\.json"),
        (_no_recipe, r"refused: recipe\.yaml is missing"),
        (_read_outside, r"refused: checkpoints/\w+ is said to be '\.\./\.\./elsewhere', which is not in it"),
    ],
)
def test_what_is_not_as_the_manifest_says_is_refused(
    change: Callable[[dict[str, Any], Members], None], said: str, sound: Path, tmp_path: Path, place: Path
):
    refused(_changed(sound, tmp_path / "bad.tps", change), said, place)


def test_a_recipe_that_asks_for_a_billion_channels_is_refused(sound: Path, tmp_path: Path, place: Path):
    def change(manifest: dict[str, Any], members: Members) -> None:
        text = re.sub(rb" width: [\d.]+", b" width: 1000000000", members["recipe.yaml"], count=1)
        members["recipe.yaml"] = text
        manifest["members"]["recipe.yaml"] = _member(text)

    bad = _changed(sound, tmp_path / "bad.tps", change)
    refused(bad, r"recipe\.yaml: .*width: .*less than or equal to 1000000", place, kind=RecipeError)


def test_a_network_that_says_it_is_larger_than_its_weights_is_refused(tmp_path: Path):
    store, network = Store(make_store(tmp_path / "store")), outputs.checkpoint("person_detector").key
    file = store.local(Lineage(store).latest().records[network, None].path) / WEIGHTS
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = re.sub(rb'(\\"width\\":)[\d.]+', rb"\g<1>900000", content[8 : 8 + size])
    assert header != content[8 : 8 + size]
    file.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])
    _with_files(store, network, {})
    tps_pipeline.load(store.root, method="video_category").bundle(tmp_path / "a.tps")
    with pytest.raises(TpsError, match="larger than the weights in it") as caught:
        tps_pipeline.load(tmp_path / "a.tps")(write_clip(tmp_path / "me.mp4", 2))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "said"), [("workers: 4", "workers: unknown key"), ("seed: [", "not YAML"), ("seed: me", "seed")]
)
def test_a_recipe_that_is_none_is_refused(line: str, said: str, sound: Path, tmp_path: Path, place: Path):
    def change(manifest: dict[str, Any], members: Members) -> None:
        text = members["recipe.yaml"].decode().replace("seed: 0", line)
        members["recipe.yaml"] = text.encode()
        manifest["members"]["recipe.yaml"] = _member(text.encode())

    refused(_changed(sound, tmp_path / "bad.tps", change), rf"recipe\.yaml: .*{said}", place, kind=RecipeError)


OUTSIDE = ["../out", "/etc/out", "a/../../out", "a\\out", "C:out", "a//b", "./a", "a/", ".hidden", "a\nb", "\u00e4"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_may_lead_outside_is_refused(name: str, sound: Path, tmp_path: Path, place: Path):
    path = _extended(sound, tmp_path, zipfile.ZipInfo(name))
    refused(path, r"refused: '.*' is no name of a bundle's member: it may lead outside", place)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["bad.tps", "unpacked"]


def _link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def _compressed() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("zeros")
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (_link(), "link is no file but a link or the like"),
        (_compressed(), "zeros is compressed or encrypted, and no bundle's member is"),
        (zipfile.ZipInfo("README.md"), r"README\.md is in it twice"),
        (zipfile.ZipInfo("readme.MD"), r"readme\.MD is in it twice"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_no_bundle_has_are_refused(
    entry: zipfile.ZipInfo, said: str, sound: Path, tmp_path: Path, place: Path
):
    refused(_extended(sound, tmp_path, entry), f"refused: {said}", place)


def test_members_that_say_they_are_more_than_the_file_are_refused(sound: Path, tmp_path: Path, place: Path):
    content = bytearray(sound.read_bytes())
    central = content.rindex(b"PK\x01\x02")
    content[central + 20 : central + 28] = struct.pack("<II", 4_000_000_000, 4_000_000_000)
    (tmp_path / "bad.tps").write_bytes(content)
    refused(tmp_path / "bad.tps", r"refused: its \d+ members say that they have 4,00\d,\d+,\d+ bytes", place)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + bytes(60), b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_refused(content: bytes, tmp_path: Path, place: Path):
    (tmp_path / "bad.tps").write_bytes(content)
    refused(tmp_path / "bad.tps", r"is no bundle, or is damaged or cut short|it has no manifest\.json", place)


def test_a_bundle_that_is_not_there_is_told_from_a_store(tmp_path: Path):
    with pytest.raises(TpsError, match=r"nowhere\.tps cannot be read now \(No such file or directory\)"):
        tps_pipeline.load(tmp_path / "nowhere.tps")


def test_cut_short_or_damaged_anywhere_a_bundle_is_refused_or_whole(sound: Path, tmp_path: Path, place: Path):
    content, rng = sound.read_bytes(), np.random.default_rng(0)
    ends = len(content) - np.unique(np.r_[1, 22, rng.integers(1, 4000, 5), rng.integers(4000, len(content), 5)])
    for end in ends:
        (tmp_path / "bad.tps").write_bytes(content[:end])
        refused(tmp_path / "bad.tps", "is no bundle, or is damaged or cut short", place)
    for at in rng.integers(len(content) - 3000, len(content), 40):
        damaged = bytearray(content)
        damaged[at] ^= 1 << rng.integers(8)
        (tmp_path / "bad.tps").write_bytes(damaged)
        try:
            bundle.unpack(tmp_path / "bad.tps", folder := place / str(at))
        except TpsError as error:
            said = str(error)
        else:
            said = (folder / "README.md").read_text()
        assert said.startswith((f"{tmp_path / 'bad.tps'}: ", "# video_category"))


def refused(path: Path, said: str, place: Path, *, kind: type[TpsError] = BundleError) -> None:
    """A bundle is refused in one line that names it, and leaves nothing."""
    with pytest.raises(kind, match=said) as caught:
        tps_pipeline.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert kind is RecipeError or len(str(caught.value).splitlines()) == 1
    assert not list(place.iterdir())


def tps(*arguments: object) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)])


def _member(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _changed(sound: Path, path: Path, change: Callable[[dict[str, Any], Members], None]) -> Path:
    """A bundle with another manifest, or other members than that says."""
    with zipfile.ZipFile(sound) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop(bundle.MANIFEST))
    change(manifest, members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {bundle.MANIFEST: json.dumps(manifest).encode()}).items():
            archive.writestr(name, content)
    return path


def _extended(sound: Path, folder: Path, entry: zipfile.ZipInfo) -> Path:
    """A bundle with one more member."""
    path = folder / "bad.tps"
    path.write_bytes(sound.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, bytes(99) if entry.compress_type else b"")
    return path


def _with_files(store: Store, asset: str, texts: dict[str, str]) -> None:
    """Put files beside a network and record it again."""
    lineage = Lineage(store)
    record = lineage.latest().records[asset, None]
    for name, text in texts.items():
        (store.local(record.path) / name).write_text(text)
    with store.scratch() as folder:
        copy = folder / "network"
        copy.mkdir()
        for file in store.local(record.path).iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        written = store.keep(copy, f"{asset}/begun", unversioned={"log.csv", "metrics.json"})
    lineage.record(Work(asset, None, (), (), ""), written, run_id="test")
