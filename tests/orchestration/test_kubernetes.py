"""Kubernetes: the manifests of `docker/k8s`, and the jobs that Dagster makes for our steps.

No cluster is needed: a server answers for its API, checks each job against Kubernetes' published schema, keeps it, and
runs its command on this machine.
"""

import json
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.orchestration.workplace import ROOT, Workplace

validate = pytest.importorskip("kubernetes_validate", reason="make test-orchestration installs it")
VERSION = "1.34"
MANIFESTS = list(yaml.safe_load_all((ROOT / "docker" / "k8s" / "tps.yaml").read_text()))
CONFIG = {each["metadata"]["name"]: each["data"] for each in MANIFESTS if each["kind"] == "ConfigMap"}
IMAGE = CONFIG["tps"]["DAGSTER_CURRENT_IMAGE"]
LAUNCH = """mutation {launchRun(executionParams: {selector: {
    repositoryLocationName: "assets.definitions", repositoryName: "__repository__",
    jobName: "__ASSET_JOB", assetSelection: [{path: ["vocabulary", "actions"]}],
}}) {__typename}}"""
STATUS = "{runsOrError {... on Runs {results {status}}}}"


class Cluster(ThreadingHTTPServer):
    """The API of jobs, in memory; a job's pod is a process in `environment`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Api)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.environment: dict[str, str] = {}

    def start(self, job: dict[str, Any]) -> None:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        variables = {each["name"]: each["value"] for each in container["env"] if "value" in each}
        env = self.environment | variables | {"DAGSTER_HOME": self.environment["DAGSTER_HOME"]}
        process = subprocess.Popen(container["args"], cwd=ROOT, env=env)
        self.jobs[job["metadata"]["name"]] = job

        def wait() -> None:
            job["status"] = {"failed": 1} if process.wait() else {"succeeded": 1}

        threading.Thread(target=wait, daemon=True).start()


class _Api(BaseHTTPRequestHandler):
    @property
    def cluster(self) -> Cluster:
        assert isinstance(self.server, Cluster)
        return self.server

    def do_POST(self) -> None:
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        job.setdefault("apiVersion", "batch/v1")
        job.setdefault("kind", "Job")
        try:
            validate.validate(job, VERSION, strict=True)
        except validate.ValidationError as error:
            return self.answer(422, {"message": str(error)})
        job["status"] = {"active": 1}
        self.cluster.start(job)
        return self.answer(201, job)

    def do_GET(self) -> None:
        job = self.cluster.jobs.get(self.path.partition("/jobs/")[2].partition("/")[0].partition("?")[0])
        self.answer(200, job) if job else self.answer(404, {"message": self.path})

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def kubeconfig(cluster: Cluster, path: Path) -> str:
    """Write how a client reaches the cluster."""
    address = {"server": f"http://127.0.0.1:{cluster.server_address[1]}"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": address}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_manifests_are_valid(manifest: dict[str, Any]) -> None:
    validate.validate(manifest, VERSION, strict=True)


def test_no_container_can_write_to_its_root() -> None:
    pods = [each["spec"]["template"]["spec"] for each in MANIFESTS if each["kind"] == "Deployment"]
    assert len(pods) == 3
    for pod in pods:
        empty = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"]
            places = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in empty}
            assert places == {"/tmp", "/home/tps", "/opt/dagster/storage"}


@pytest.fixture
def deployed(workplace: Workplace, postgres: str, cluster: Cluster) -> Workplace:
    """A workplace with the instance and the environment of the manifests."""
    instance = yaml.safe_load(CONFIG["dagster-instance"]["dagster.yaml"])
    outside = {"load_incluster_config": False, "kubeconfig_file": kubeconfig(cluster, workplace.folder / "kubeconfig")}
    instance["run_launcher"]["config"] |= outside
    (workplace.folder / "home" / "dagster.yaml").write_text(yaml.safe_dump(instance))
    workplace.env |= {"TPS_POSTGRES": postgres, "DAGSTER_CURRENT_IMAGE": IMAGE, "TPS_PROCESSES": "1"}
    cluster.environment = workplace.environment
    return workplace


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    """The container of a job, whose pod is as the manifests configure all runs and steps."""
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/data", "/dev/shm", "/tmp", "/home/tps"}
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "tps-data"}} in pod["volumes"]
    assert {"configMapRef": {"name": "tps"}} in container["envFrom"]
    assert {"secretRef": {"name": "tps"}} in container["envFrom"]
    assert pod["serviceAccountName"] == "dagster"
    assert pod["securityContext"]["fsGroup"] == 1000
    assert container["securityContext"]["readOnlyRootFilesystem"]
    return container


def test_a_step_is_a_job_with_image_volumes_and_gpus(deployed: Workplace, cluster: Cluster) -> None:
    deployed.materialize("shards")
    deployed.materialize("checkpoints/video_action", TPS_EXECUTOR="k8s")
    assert ("checkpoints/video_action", None) in deployed.lineage.latest().records
    (job,) = cluster.jobs.values()
    container = container_of(job)
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert "execute_step" in shlex.join(container["args"])


def test_a_launched_run_is_a_job_that_makes_jobs_of_its_steps(
    deployed: Workplace, cluster: Cluster, started: Callable[[list[str]], subprocess.Popen[bytes]]
) -> None:
    deployed.env["TPS_EXECUTOR"] = "k8s"
    cluster.environment = deployed.environment
    assert "LaunchRunSuccess" in deployed.run("dagster-graphql", "-t", LAUNCH)
    started(["dagster-daemon", "run", "-m", "assets.definitions"])
    begin = time.monotonic()
    while '"SUCCESS"' not in (runs := deployed.run("dagster-graphql", "-t", STATUS)):
        assert time.monotonic() - begin < 120, runs
    run, step = map(container_of, cluster.jobs.values())
    assert "execute_run" in shlex.join(run["args"])
    assert "execute_step" in shlex.join(step["args"])
