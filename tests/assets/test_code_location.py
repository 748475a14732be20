"""The code location as it is found: by `dg`, by a bare `dagster dev`, and by what names `workspace.yaml`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from dagster._core.remote_origin import ManagedGrpcPythonEnvCodeLocationOrigin
from dagster._core.workspace.load_target import PyProjectFileTarget, WorkspaceFileTarget

from assets.definitions import definitions
from tests.workplace import ROOT, environment, make


def test_pyproject_and_workspace_name_the_same_location(monkeypatch: pytest.MonkeyPatch):
    """With `[tool.dg]` a bare `dagster dev` no longer looks at `workspace.yaml`."""
    monkeypatch.chdir(ROOT)
    found = []
    for target in (PyProjectFileTarget("pyproject.toml"), WorkspaceFileTarget(paths=["workspace.yaml"])):
        (origin,) = target.create_origins()
        assert isinstance(origin, ManagedGrpcPythonEnvCodeLocationOrigin)
        loaded = origin.loadable_target_origin
        assert Path(loaded.working_directory or "").resolve() == ROOT
        found.append((origin.location_name, loaded.module_name, loaded.attribute))
    assert found == [("tps", "assets.definitions", None)] * 2


@pytest.mark.whole
def test_dg_lists_every_asset(tmp_path: Path):
    command = [Path(sys.executable).with_name("dg"), "list", "defs", "--json"]
    listed = subprocess.run(
        command, cwd=ROOT, env=environment(make(tmp_path)), capture_output=True, text=True, check=True
    )
    keys = {asset["asset_key"] for asset in json.loads(listed.stdout)["assets"]}
    assert keys == {key.to_user_string() for key in definitions().resolve_asset_graph().get_all_asset_keys()}
