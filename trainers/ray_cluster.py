"""A Ray cluster: its address, what a run takes of it, and how the run gets there as a job.

Owns the cluster's settings, kept as `cluster.json` in the run folder, and all that is sent: plan, rows, our own
packages and, where the run begins from an adapter, that. Refuses to follow the job (that is `on_ray`). Imports ray
inside its functions alone.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field

from prompts.errors import RunError
from trainers.launching import kept as kept_launch
from trainers.paths import size_of, write_atomically
from trainers.status import RunFolder
from trainers.strategies import ImportedStrategy, MetaLoraStrategy

_FILE = "cluster.json"
_OURS = ("prompts", "trainers")
_MOST_SHIPPED = 400e6  # bytes; Ray takes packages of up to 500 MiB
_NOT_OF_A_PARENT = {"checkpoints", "begun", "data", "worker.log", "predictions.jsonl"}


class Cluster(BaseModel):
    """A Ray cluster, and what a run takes of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(description="ray://host:10001, http://host:8265, or host:port of the dashboard")
    cpus: float = Field(1, gt=0)
    gpus: float | None = Field(None, ge=0, description="None: one a process where the cluster has GPUs, else none")
    python: str = Field("python", description="The Python there that has torch, transformers, trl and peft")
    packages: tuple[str, ...] = Field((), description="What Ray installs there for the run, as pip takes it")
    submission: str = Field("", description="The job, once there is one")


def read_cluster(address: str) -> Cluster | None:
    """What a person typed; None for nothing. Raises `RunError`."""
    if not address:
        return None
    dashboard(address)
    return Cluster(address=address)


def keep(run: RunFolder, cluster: Cluster) -> None:
    """Have a run carried out there from now on. Raises `RunError` for an address that is none."""
    dashboard(cluster.address)
    write_atomically(run.path / _FILE, cluster.model_dump_json(indent=1))


def kept(run: RunFolder) -> Cluster | None:
    """The cluster that a run is carried out on; None for this machine."""
    try:
        return Cluster.model_validate_json((run.path / _FILE).read_text("utf-8"))
    except FileNotFoundError:
        return None


def dashboard(address: str) -> str:
    """The dashboard's URL, to which jobs are submitted. Raises `RunError`."""
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme in ("http", "https") and parts.hostname:
        return f"{parts.scheme}://{parts.netloc}"
    if parts.scheme == "ray" and parts.hostname:
        return f"http://{parts.hostname}:8265"
    raise RunError(f"{address!r} is no address of a Ray cluster.", hint="Use ray://HOST:10001 or http://HOST:8265.")


# Submitting


@contextmanager
def bundle(run: RunFolder) -> Iterator[Path]:
    """A folder with all that a run needs on another machine: plan, rows, and the adapter that it begins from, if any.

    Raises `RunError` where that is too much to send.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copytree(run.path / "data", folder / "data")
        if not kept_launch(run).plain:
            shutil.copy(run.path / "launch.json", folder)
        if run.trial.is_file():
            shutil.copy(run.trial, folder)
        plan = run.plan()
        if plan.parent is not None:
            _ship_parent(RunFolder(plan.parent), folder / "parent")
            plan = plan.model_copy(update={"parent": Path("parent")})  # counts from the plan's folder
        if isinstance(plan.strategy, ImportedStrategy):
            shutil.copytree(plan.strategy.adapter, folder / "imported")
            plan = plan.model_copy(update={"strategy": ImportedStrategy(adapter=Path("imported"))})
        if isinstance(plan.strategy, MetaLoraStrategy):
            plan = plan.model_copy(update={"strategy": _ship_pool(plan.strategy, folder / "pool")})
        write_atomically(folder / "plan.yaml", yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=False))
        size = size_of(folder)
        if size > _MOST_SHIPPED:
            told = f"The run takes {size / 1e6:.0f} MB to the cluster, and Ray takes {_MOST_SHIPPED / 1e6:.0f} MB."
            raise RunError(told, hint="Use fewer rows, or a parent that is an adapter rather than a whole model.")
        yield folder


def _ship_pool(strategy: MetaLoraStrategy, target: Path) -> MetaLoraStrategy:
    """The files of the tasks that are learnt from; each keeps the name by which the person knows it."""
    target.mkdir()
    moved = []
    for number, task in enumerate(strategy.pool):
        name = f"{number}-{task.path.name}"
        shutil.copy(task.path, target / name)
        moved.append(task.model_copy(update={"path": Path("pool") / name, "name": task.told}))
    return strategy.model_copy(update={"pool": tuple(moved)})


def _ship_parent(parent: RunFolder, target: Path) -> None:
    shutil.copytree(parent.path, target, ignore=lambda folder, names: {n for n in names if n in _NOT_OF_A_PARENT})


def submit(run: RunFolder, client: Any, cluster: Cluster) -> Cluster:
    """Submit the run; the cluster's settings with the job's name, which are kept. Raises `RunError`."""
    submitted = cluster.model_copy(update={"submission": f"{run.id}-{time.time_ns():x}"})
    keep(run, submitted)  # before there is such a job: whoever is cut off in between must not lose it
    with bundle(run) as folder:
        environment: dict[str, Any] = {
            "working_dir": str(folder),
            "py_modules": [str(_package(name)) for name in _OURS],
            "excludes": ["__pycache__"],
            **({"pip": list(cluster.packages)} if cluster.packages else {}),
        }
        client.submit_job(
            entrypoint=f"{cluster.python} -m trainers.ray_there {run.id}",
            submission_id=submitted.submission,
            runtime_env=environment,
            metadata={"tunewright_run": run.id},
            entrypoint_num_cpus=cluster.cpus,
            entrypoint_num_gpus=_gpus(client, cluster, kept_launch(run).processes),
        )
    return submitted


def _package(name: str) -> Path:
    found = find_spec(name)
    assert found and found.origin
    return Path(found.origin).parent


def _gpus(client: Any, cluster: Cluster, processes: int) -> float:
    if cluster.gpus is not None:
        return cluster.gpus
    nodes = get(client, "/api/v0/nodes?detail=1").json()["data"]["result"]["result"]
    has = any(node.get("resources_total", {}).get("GPU") for node in nodes if node.get("state") == "ALIVE")
    return processes if has else 0


def connect(cluster: Cluster) -> Any:
    """A client of the cluster's jobs. Raises `RunError` where ray is not installed or no cluster answers."""
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise RunError("Ray is not installed here.", hint='`pip install "ray[default]"`.') from error
    url = dashboard(cluster.address)
    try:
        return JobSubmissionClient(url)
    except (ConnectionError, OSError, RuntimeError) as error:
        told = f"No Ray cluster answers at {url}."
        raise RunError(told, hint="Check the address, and that the dashboard's port (8265) can be reached.") from error


def get(client: Any, endpoint: str, **more: Any) -> Any:
    """An answer of the dashboard. By the client's own way, since it knows tokens, headers and certificates."""
    answer = client._do_request("GET", endpoint, **more)
    if answer.status_code != 200:
        raise NotThere(f"{endpoint}: {answer.text[:300]}")
    return answer


class NotThere(Exception):
    """The dashboard answers that there is no such thing."""
