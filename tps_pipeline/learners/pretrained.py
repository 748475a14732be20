"""Pre-trained weights: which published files we know, how one becomes ours, and whether a recipe's are there.

Nothing is ever downloaded. A file is imported once into the store, as `weights/<name>/model.safetensors`, and a
recipe names it (`person_detector.network.weights: yolov7x_coco`); what comes with the package is imported when a recipe
names it. A name stays what it is: it is never imported again from another file, so a recipe that names it means the
same weights for as long as the store lasts. Importing this module does not import torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tps_pipeline import outputs, recipe
from tps_pipeline.errors import WeightsError
from tps_pipeline.lineage import Lineage, Work
from tps_pipeline.models.conversion import KINDS, OURS, Converted
from tps_pipeline.store import Store
from tps_pipeline.training.checkpoint import WEIGHTS


@dataclass(frozen=True)
class Pretrained:
    """A published file that recipes may start from.

    Attributes:
        name: What recipes call it.
        kind: One of `KINDS`.
        what: The network, and what it was trained on.
        file: The file's name where it is published.
        source: Where that is.
        licence: Of the weights, as their publisher states it.
        sha256: The file's digest in hexadecimal, where the publisher gives it.
    """

    name: str
    kind: str
    what: str
    file: str
    source: str
    licence: str
    sha256: str | None = None


SHIPPED = {name: Path(__file__).parent.parent / "weights" / f"{name}.safetensors" for name in ("people", "parts")}
"""The weights that come with the package, by name: they need no import."""

MANIFEST = (
    Pretrained(
        "people",
        "detector",
        "YOLOv7-tiny of a quarter of the channels for people, trained on generated pictures alone",
        "people.safetensors",
        "comes with this package; `make people` makes one like it",
        "Apache-2.0",
    ),
    Pretrained(
        "parts",
        "detector",
        "heat maps of the ten parts, with a body as that of `people`, trained on generated pictures alone",
        "parts.safetensors",
        "comes with this package; `make parts` makes it",
        "Apache-2.0",
    ),
    Pretrained(
        "yolov7x_coco",
        "yolov7x",
        "YOLOv7-X trained on COCO, 80 classes; the training model, not the re-parameterised one",
        "yolov7x_training.pt",
        "https://github.com/WongKinYiu/yolov7/releases/download/v0.1/yolov7x_training.pt",
        "GPL-3.0",
    ),
    Pretrained(
        "yolov7_tiny_coco",
        "yolov7_tiny",
        "YOLOv7-tiny trained on COCO, 80 classes",
        "yolov7-tiny.pt",
        "https://github.com/WongKinYiu/yolov7/releases/download/v0.1/yolov7-tiny.pt",
        "GPL-3.0",
    ),
    Pretrained(
        "blazepose",
        "blazepose",
        "BlazePose full: a detector of people, and 33 landmarks of one (read out of MediaPipe's wheel)",
        "mediapipe-0.10.14-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "https://pypi.org/project/mediapipe/0.10.14/",
        "Apache-2.0",
    ),
    Pretrained(
        "swin_base_imagenet",
        "swin_imagenet",
        "Swin-B trained on ImageNet-22K at 224 px, inflated to video",
        "model.safetensors",
        "https://huggingface.co/timm/swin_base_patch4_window7_224.ms_in22k",
        "MIT",
    ),
    Pretrained(
        "video_swin_base_ssv2",
        "video_swin",
        "Video Swin-B, window (16, 7, 7), trained on Something-Something v2, 174 classes",
        "swin_base_patch244_window1677_sthv2.pth",
        "https://github.com/SwinTransformer/storage/releases/download/v1.0.4/swin_base_patch244_window1677_sthv2.pth",
        "Apache-2.0",
    ),
    Pretrained(
        "video_swin_tiny_k400",
        "video_swin",
        "Video Swin-T, window (8, 7, 7), trained on Kinetics-400, 400 classes",
        "swin_tiny_patch244_window877_kinetics400_1k.pth",
        "https://github.com/SwinTransformer/storage/releases/download/v1.0.4/swin_tiny_patch244_window877_kinetics400_1k.pth",
        "Apache-2.0",
    ),
    Pretrained(
        "ir_csn_152_ig65m",
        "ir_csn",
        "ir-CSN-152 trained on IG-65M (MMAction2's conversion), without a classifier",
        "ircsn_from_scratch_r152_ig65m_20200807-771c4135.pth",
        "https://download.openmmlab.com/mmaction/recognition/csn/ircsn_from_scratch_r152_ig65m_20200807-771c4135.pth",
        "Apache-2.0",
    ),
    Pretrained(
        "ir_csn_50_k400",
        "ir_csn",
        "ir-CSN-50 trained on IG-65M, then on Kinetics-400 with frozen norms (MMAction2), 400 classes",
        "ircsn_ig65m-pretrained-r50-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb_20220811-44395bae.pth",
        "https://download.openmmlab.com/mmaction/v1.0/recognition/csn/"
        "ircsn_ig65m-pretrained-r50-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb/"
        "ircsn_ig65m-pretrained-r50-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb_20220811-44395bae.pth",
        "Apache-2.0",
    ),
    Pretrained(
        "slowfast_101_ava",
        "slowfast_acar",
        "SlowFast-R101 trained on Kinetics-700, then on AVA 2.2 with ACAR-Net's head, which is left out",
        "AVA_SLOWFAST_R101_ACAR_HR2O_DEPTH1.pth.tar",
        "https://drive.google.com/file/d/1d9UdvwS0HR-h84j_z4JbRWwEbITSt_FN",
        "Apache-2.0",
    ),
    Pretrained(
        "slowfast_101_ava_pyslowfast",
        "slowfast_pyslowfast",
        "SlowFast-R101 with non-local blocks trained on Kinetics-600, then on AVA 2.2, whose head is left out",
        "SLOWFAST_32x2_R101_50_50.pkl",
        "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/ava/SLOWFAST_32x2_R101_50_50.pkl",
        "Apache-2.0",
    ),
    Pretrained(
        "slowfast_50_k400",
        "slowfast_pyslowfast",
        "SlowFast-R50 8x8 trained on Kinetics-400 (PySlowFast), whose head is left out",
        "SLOWFAST_8x8_R50.pkl",
        "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/kinetics400/SLOWFAST_8x8_R50.pkl",
        "Apache-2.0",
    ),
)
"""The published weights that can be imported: where each is, its licence, and the digest of the file."""


LICENCES = {"blazepose": "Apache-2.0"}
"""Of kinds of which there is one file only, under whatever name it is imported."""

LONGEST_HEAD = 100_000_000
"""Bytes of a safetensors file's head, as the format limits it; a damaged file's first eight bytes say anything."""


def path_of(name: str) -> str:
    """Where weights are, relative to the store's root."""
    return f"{outputs.weights(name).path()}/{WEIGHTS}"


def import_weights(file: Path, name: str, *, kind: str, store: Store, sha256: str | None = None) -> Converted:
    """Turn a published file into ours and keep it in the store.

    Args:
        file: The file, read without executing anything in it.
        name: What recipes will call it.
        kind: One of `KINDS`.
        store: Where it goes, with a lineage record.
        sha256: The file's expected digest; by default the manifest's, if it has one for this name.

    Returns:
        The network, and what was missing or unexpected.

    Raises:
        WeightsError: The file cannot be read, is another one than expected or of another kind, or the name is taken.
    """
    from tps_pipeline.models.weights import read_weights, save_checkpoint

    known = next((each for each in MANIFEST if each.name == name), None)
    if kind not in KINDS:
        raise WeightsError(f"unknown kind of weights {kind!r}; known: {', '.join(KINDS)}")
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name):
        raise WeightsError(f"{name!r}: choose a name of letters, digits, - and _ for the weights")
    if known is not None and known.kind != kind:
        raise WeightsError(
            f"{file}: {name} is the name of {known.file} ({known.kind}); choose another for a {kind} file"
        )
    try:
        expected = sha256 or (known and known.sha256)
        read = KINDS[kind].read
        state = read(file, expected) if read else read_weights(file, sha256=expected)
        converted = KINDS[kind].convert(state)
    except WeightsError as error:
        where = "" if str(file) in str(error) else f"{file}: "
        raise WeightsError(f"{where}{error}; imported as {kind}, kinds: {', '.join(KINDS)}") from error
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:  # dimensions are the file's
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise WeightsError(f"{file}: its layers make no {kind} ({reason}); kinds: {', '.join(KINDS)}") from error
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    already = metadata_of(name, store)
    if already is not None and already["sha256"] != digest:
        raise WeightsError(
            f"{file}: {name} is already in {store.root}, from {already['file']} (SHA-256 {already['sha256']}); choose "
            f"another name, or delete {store.full(f'weights/{name}')} and what was trained from it"
        )
    metadata = {
        "name": name,
        "kind": kind,
        "file": file.name,
        "sha256": digest,
        "licence": known.licence if known else LICENCES.get(kind, "unknown"),
        "normalisation": KINDS[kind].normalisation,
        "classes": json.dumps(converted.classes),
        "settings": json.dumps(converted.settings),
        "source_tensors": str(len(state)),
        **converted.described,
    }
    if already is None:
        _keep(store, name, lambda path: save_checkpoint(path, converted.network.state_dict(), metadata=metadata))
    return converted


def take_shipped(name: str, store: Store) -> dict[str, str] | None:
    """Put weights that come with the package into the store, and say what they are; None for other names."""
    if name not in SHIPPED:
        return None
    import_weights(SHIPPED[name], name, kind=next(each.kind for each in MANIFEST if each.name == name), store=store)
    return metadata_of(name, store)


def _keep(store: Store, name: str, write: Callable[[Path], None]) -> None:
    """Put a file into the store, whole or not at all, and record it as what checkpoints may be made from."""
    digest = recipe.Recipe.model_construct().digest_of(())  # it depends on no section of any recipe
    work = Work(outputs.weights(name).key, None, (), (), digest)
    with store.scratch() as folder:
        (folder / name).mkdir()
        write(folder / name / WEIGHTS)
        written = store.keep(folder / name, outputs.weights(name).path())
    Lineage(store).record(work, written, run_id="tps weights import")


def metadata_of(name: str, store: Store) -> dict[str, str] | None:
    """What imported weights say about themselves; None if they are not in the store.

    Only the file's head is read (safetensors: eight bytes of length, then JSON).

    Raises:
        WeightsError: The file was not written by `import_weights`.
    """
    if not store.exists(path_of(name)):
        return None
    with store.fs.open(store.full(path_of(name)), "rb") as file:
        head = file.read(min(int.from_bytes(file.read(8), "little"), LONGEST_HEAD))
    try:
        about = json.loads(head).get("__metadata__", {})
    except ValueError:
        about = {}
    if about.get("name") != name:
        raise WeightsError(f"{store.full(path_of(name))}: not imported by `tps weights import`; delete it and do that")
    return about


def listing(store: Store) -> list[dict[str, Any]]:
    """The manifest, and what else was imported: a row for each, with `imported` telling what is in the store."""
    known = {each.name: asdict(each) for each in MANIFEST}
    folder = store.full("weights")
    names = [Path(path).name for path in store.fs.ls(folder, detail=False)] if store.exists("weights") else []
    for name in sorted(names):
        about = metadata_of(name, store)
        if about is not None and name not in known:
            row = {key: about[key] for key in ("name", "kind", "file", "licence", "sha256")}
            known[name] = row | {"what": "imported from a file of one's own", "source": None}
    return [
        row
        | {
            "normalisation": KINDS[row["kind"]].normalisation,
            "imported": row["name"] in SHIPPED or store.exists(path_of(row["name"])),
        }
        for row in known.values()
    ]


def import_command(known: Pretrained, store: Store) -> str:
    """The shell command that imports a file of the manifest."""
    return f"tps weights import --as {known.kind} {known.file} {known.name} --store {store.root}"


def check(settings: Mapping[str, Any], store: Store, *, where: str = "") -> None:
    """Make sure that the weights named in a recipe, or in a section of one, are there and fit.

    Those that come with the package are put there.

    Args:
        settings: Plain values, as `Recipe.model_dump` or `Recipe.section` gives them.
        store: Where weights were imported to.
        where: The section's dotted name, for the message.

    Raises:
        WeightsError: Names all weights that are missing, once each, with what to fetch from where, the command that
            imports it and the networks it is for; and the networks for which weights are of other dimensions.
    """
    missing: dict[str, list[str]] = {}
    wrong: list[str] = []
    for place, network in _named(settings, where):
        about = metadata_of(network["weights"], store) or take_shipped(network["weights"], store)
        if about is None:
            missing.setdefault(network["weights"], []).append(place)
        elif problem := _misfit(place, network, about):
            wrong.append(problem)
    if missing:
        wrong += [
            f"not in {store.root}: these weights; import them, or set `weights: null` to train from scratch",
            *(_to_fetch(name, places, store) for name, places in missing.items()),
        ]
    if wrong:
        raise WeightsError("\n".join(wrong))


def _named(settings: Mapping[str, Any], where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every network that starts from imported weights, with its place in the recipe."""
    if isinstance(settings.get("weights"), str):
        yield where, settings
    elif isinstance(settings.get("use"), str):
        yield where, {"weights": settings["use"], **settings}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _named(value, f"{where}.{key}".lstrip("."))


def weights_named(settings: Mapping[str, Any]) -> str | None:
    """The imported weights that the network of a section starts from, if any."""
    return next((str(network["weights"]) for _, network in _named(settings, "")), None)


def _to_fetch(name: str, places: Sequence[str], store: Store) -> str:
    """What is missing, for which networks, and how it is got."""
    known = next((each for each in MANIFEST if each.name == name), None)
    if known is None:
        what = "not a name that we know"
        command = f"tps weights import --as KIND FILE {name} --store {store.root}"
    else:
        what = f"{known.what}; {known.licence}\n    fetch {known.file} from {known.source}"
        command = import_command(known, store)
    return f"  {name}: {what}\n    run `{command}`\n    for {', '.join(places)}"


PEOPLE_KINDS = ("yolov7x", "yolov7_tiny", OURS)
"""The kinds of weights that a person detector can be, as they are."""


def _misfit(place: str, network: Mapping[str, Any], about: Mapping[str, str]) -> str | None:
    """What a network asks for and the weights that it names are not."""
    used, is_pose = "use" in network, "own_detector" in network
    if used or is_pose or about["kind"] == "blazepose":
        kinds = PEOPLE_KINDS if used else ("blazepose",) if is_pose else ()
        wanted = f"a {place} is {' or '.join(kinds)}" if kinds else "only `pose` takes them"
        return None if about["kind"] in kinds else f"{place}: {about['name']} is of the kind {about['kind']}; {wanted}"
    other = {key: value for key, value in json.loads(about["settings"]).items() if network.get(key) != value}
    if not other:
        return None
    asked = {key: network.get(key) for key in other}
    return f"{place}: {about['name']} ({about['kind']}) is for {other}, not {asked}; set that, or name other weights"
