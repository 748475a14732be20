"""The images and the compose file, as far as they can be checked without an engine."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from benchmarks.orchestration.ray_head import free_port
from tests.orchestration.workplace import BIN, ROOT, Workplace

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    lint = [BIN / "hadolint", "--failure-threshold", "warning", ROOT / "docker" / "Dockerfile"]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_all_that_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    for line in DOCKERFILE.splitlines():
        if line.startswith("COPY"):
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists()
                assert f"!{source.split('/')[0]}" in ignored


def test_the_compose_files_follow_the_compose_specification() -> None:
    files = (ROOT / "docker").glob("compose*.yaml")
    check = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_service_can_write_to_its_root() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"], name
        assert "/tmp" in service["tmpfs"], name


def test_what_the_dockerfile_copies_and_installs_loads_the_definitions(tmp_path: Path) -> None:
    extras = DOCKERFILE.partition("ARG EXTRAS=")[2].partition("\n")[0]
    there = {"VIRTUAL_ENV": f"{tmp_path}/.venv", "PATH": f"{tmp_path}/.venv/bin:{BIN}:{os.environ['PATH']}"}
    env = os.environ | there | {"EXTRAS": extras, "TORCH_BACKEND": "", "TPS_RECIPE": "paper", "PYTHONPATH": ""}
    env.pop("DAGSTER_HOME", None)  # make's, which is there once something was run

    def run(line: str) -> None:
        subprocess.run(line.split(), cwd=tmp_path, env=env, check=True)

    for line in DOCKERFILE.splitlines():
        match line.split():
            case ["COPY", *sources, target]:
                copy(sources, tmp_path / target)
            case ["RUN", "docker/install.sh"]:
                run("docker/install.sh")
            case _:
                pass
    run("uv pip install --quiet --no-deps --editable .")
    run("tps --help")
    run("dagster definitions validate -m assets.definitions")


def copy(sources: list[str], target: Path) -> None:
    """What `COPY` does: of a folder, it copies what is in it."""
    target.mkdir(exist_ok=True)
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / source, target)


def command(service: str, instead: dict[str, str]) -> list[str]:
    """What a service of the compose file runs, some words replaced (ports, paths)."""
    default = yaml.safe_load(DOCKERFILE.rpartition("CMD ")[2])
    words: list[str] = COMPOSE["services"][service].get("command", default)
    return [instead.get(word, word) for word in words]


def answer(url: str, seconds: float = 120) -> bytes:
    begin = time.monotonic()
    while True:
        try:
            with urlopen(url) as response:
                return response.read()
        except URLError:
            if time.monotonic() - begin > seconds:
                raise
            time.sleep(1)


def test_the_services_of_the_compose_file_find_one_another(workplace: Workplace, postgres: str, started: Any) -> None:
    code, web = free_port(), free_port()
    home = workplace.folder / "home"
    (home / "dagster.yaml").write_text((ROOT / "docker" / "dagster.yaml").read_text())
    workspace = (ROOT / "docker" / "workspace.yaml").read_text()
    here = workspace.replace("host: code", "host: localhost").replace("4000", str(code))
    Path(home / "workspace.yaml").write_text(here)
    workplace.env["TPS_POSTGRES"] = postgres
    instead = {"4000": str(code), "3000": str(web), "0.0.0.0": "127.0.0.1"}
    instead["/opt/dagster/workspace.yaml"] = str(home / "workspace.yaml")
    started(command("code", instead))
    started(command("webserver", instead))
    daemon = started(command("daemon", instead))
    query = "%7BrepositoriesOrError%7B...on%20RepositoryConnection%7Bnodes%7Blocation%7Bname%7D%7D%7D%7D%7D"
    begin = time.monotonic()
    while b'"tps"' not in (found := answer(f"http://127.0.0.1:{web}/graphql?query={query}")):
        assert time.monotonic() - begin < 120, found
        time.sleep(2)
    assert daemon.poll() is None
