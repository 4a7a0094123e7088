"""Runs on a real Ray cluster of one node, started here. Nothing passes between the two but the dashboard's address."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from prompts.errors import RunError
from tests.trainers.runs import Started, wait_for, wait_until_ended
from trainers import launching, on_ray
from trainers.data import Mapping
from trainers.jobs import cancel, create_run, resume, start, status, stop
from trainers.paths import Paths
from trainers.plan import TrainingPlan
from trainers.ray_cluster import Cluster, bundle, dashboard, keep, kept
from trainers.ray_there import FILES, made, place
from trainers.status import ENDED, RunFolder, RunStatus
from trainers.strategies import ImportedStrategy, LoraStrategy, MetaLoraStrategy, PromptStrategy
from trainers.strategies.meta import PoolTask
from trainers.trials import life
from trainers.trials.folder import TrialsFolder
from trainers.trials.records import Candidate, TrialOrder
from trainers.trials.runs import runs_of
from trainers.trials.worker import Round, _carried_out

Plans = Callable[..., TrainingPlan]
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")


@dataclass(frozen=True)
class Ray:
    address: str
    folder: Path

    def there(self, run: RunFolder) -> Path:
        """Where a run lies on the node."""
        return self.folder / "session_latest" / "logs" / place(run.id)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def ray(measured: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ray]:
    """A cluster whose node has a home, a cache and a working directory of its own."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # sockets lie in it, whose paths must be short
    home = tmp_path_factory.mktemp("node")
    shutil.copytree(measured, home / "cache")
    port = free_port()
    ports = {"port": free_port(), "ray-client-server-port": free_port(), "dashboard-port": port}
    few = {"num-cpus": 2, "num-gpus": 0, "object-store-memory": 80_000_000}
    any_free = {"min-worker-port": 0, "max-worker-port": 0, "dashboard-agent-listen-port": 0}
    told = [f"--{name}={value}" for name, value in {**ports, **few, **any_free}.items()]
    told += ["--dashboard-host=127.0.0.1", f"--temp-dir={folder}", "--disable-usage-stats", "--block"]
    binaries = Path(sys.executable).parent
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    env |= {"PATH": f"{binaries}:{env['PATH']}", "RAY_USAGE_STATS_ENABLED": "0"}
    env |= {"TUNEWRIGHT_HOME": str(home / "home"), "TUNEWRIGHT_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    with (home / "ray.log").open("wb") as log:
        head = subprocess.Popen(
            [str(binaries / "ray"), "start", "--head", *told], cwd=home, env=env, stdout=log, stderr=log
        )
    try:
        wait_for(lambda: answers(port), f"cluster: {(home / 'ray.log').read_text()[-2000:]}", 180)
        yield Ray(f"http://127.0.0.1:{port}", folder)
    finally:
        started = psutil.Process(head.pid).children(recursive=True)
        head.terminate()
        with suppress(subprocess.TimeoutExpired):
            head.wait(20)
        for process in started:  # not `ray stop`, which ends every Ray on the machine
            with suppress(psutil.NoSuchProcess):
                process.kill()
        head.kill()
        shutil.rmtree(folder, ignore_errors=True)


def answers(port: int) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/api/v0/nodes").is_success
    return False


def submitted(run: RunFolder) -> str:
    cluster = kept(run)
    assert cluster is not None
    return cluster.submission


def job_status(ray: Ray, name: str) -> str:
    return str(httpx.get(f"{ray.address}/api/jobs/{name}").json()["status"])


def started(plan: TrainingPlan, paths: Paths, ray: Ray, **more: Any) -> RunFolder:
    run = create_run(plan, paths)
    keep(run, Cluster(address=ray.address, **more))
    start(run)
    return run


@needs_ray
def test_a_run_is_carried_out_there_and_everything_comes_back(
    ray: Ray, tiny_plan: Plans, measured_paths: Paths
) -> None:
    run = started(tiny_plan(epochs=20, patience=100), measured_paths, ray)
    wait_for(lambda: status(run).step >= 1 or status(run).state == "failed", "step")
    seen = status(run)
    assert (seen.state, seen.phase, seen.total_steps) == ("running", "training", 240), run.log_tail()
    assert 0 < len(run.metrics()) < 260, "metrics arrive while it runs"
    assert job_status(ray, submitted(run)) == "RUNNING"
    assert "loss" in run.log_tail(), "and so does the log"
    there = ray.there(run)
    assert (there / "status.json").is_file()
    ended = wait_until_ended(run)
    assert (ended.state, ended.phase, ended.fraction) == ("done", "finished", 1.0), (ended, run.log_tail())
    losses = [line for line in run.metrics() if "loss" in line]
    assert [line["step"] for line in losses] == list(range(1, 241))
    assert run.artefact == run.adapter and (run.adapter / "adapter_model.safetensors").stat().st_size > 100_000
    report = run.report()
    assert report is not None and report.tuned.value > 0.9 > report.base.value
    assert [p.row for p in run.predictions()] == [e.row for e in run.split("test")]
    assert report.train_tokens == ended.tokens == losses[-1]["tokens"]
    assert not list(run.path.rglob(".*.tmp")), "nothing half is left behind"
    wait_for(lambda: not there.exists(), "end of what lies there", 60)


@needs_ray
def test_cancel_stops_the_job(ray: Ray, tiny_plan: Plans, measured_paths: Paths) -> None:
    run = started(tiny_plan(epochs=100, patience=100, checkpoint_minutes=0.0), measured_paths, ray)
    wait_for(lambda: status(run).step >= 1 or status(run).state == "failed", "step")
    cancel(run)
    ended = wait_until_ended(run, 30)
    assert (ended.state, ended.message) == ("cancelled", "Cancelled."), run.log_tail()
    assert job_status(ray, submitted(run)) == "STOPPED"
    assert run.metrics(), "what it logged so far stays"
    assert run.artefact is None
    # It goes on there from its checkpoint.
    reached = status(run).step
    stop_at = submitted(run)
    resume(run)
    wait_for(lambda: status(run).step > reached or status(run).state == "failed", "further step")
    assert submitted(run) != stop_at, "another job"
    stop(run)  # and what it has learned is kept
    ended = wait_until_ended(run, 120)
    assert ended.state == "done" and "Stopped as you asked" in ended.message, (ended, run.log_tail())
    steps = [line["step"] for line in run.metrics() if "loss" in line]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) < 1200
    assert run.artefact == run.adapter and run.report() is not None


@needs_ray
def test_a_run_whose_follower_was_killed_is_found_again(ray: Ray, tiny_plan: Plans, measured_paths: Paths) -> None:
    run = started(tiny_plan(epochs=40, patience=100), measured_paths, ray)
    wait_for(lambda: status(run).step >= 1 or status(run).state == "failed", "step")
    job = submitted(run)
    os.kill(json.loads((run.path / "worker.json").read_text())["pid"], signal.SIGKILL)
    assert wait_until_ended(run, 20).state == "failed"
    resume(run)
    assert wait_until_ended(run).state == "done", run.log_tail()
    assert submitted(run) == job, "the job went on meanwhile, and is not submitted twice"
    assert run.report() is not None


@needs_ray
@pytest.mark.parametrize(
    ("base", "more", "words"),
    [
        ("/no/such/model", {}, "On the Ray cluster: There is no base model '/no/such/model'"),
        ("", {"python": "no-such-python"}, "The job on the Ray cluster failed: "),
    ],
)
def test_a_job_that_fails_says_why_in_one_sentence(
    ray: Ray, tiny_plan: Plans, measured_paths: Paths, base: str, more: dict[str, Any], words: str
) -> None:
    run = started(tiny_plan(**({"base_model": base} if base else {})), measured_paths, ray, **more)
    ended = wait_until_ended(run)
    assert ended.state == "failed"
    assert words in ended.message and "\n" not in ended.message
    assert "no-such-python" in ended.message or base
    assert ended.hint
    assert run.log_tail(), "the log is here too"


@needs_ray
def test_several_processes_train_together_there(ray: Ray, tiny_plan: Plans, measured_paths: Paths) -> None:
    run = create_run(tiny_plan(), measured_paths)
    launching.keep(run, launching.Launch(processes=2))
    keep(run, Cluster(address=ray.address, cpus=2))
    start(run)
    assert wait_until_ended(run).state == "done", (status(run), run.log_tail(60))
    assert [line["step"] for line in run.metrics() if "loss" in line] == list(range(1, 37))
    assert run.log_tail(10_000).count("'train_runtime'") == 1, "one process speaks"
    assert run.report() is not None and run.artefact == run.adapter
    assert not (run.path / "trouble.json").exists()


@needs_ray
def test_tries_go_on_side_by_side_there(ray: Ray, tiny_plan: Plans, measured_paths: Paths) -> None:
    plan = tiny_plan(epochs=12)
    strategies = (PromptStrategy(), LoraStrategy(r=2), LoraStrategy(r=4))
    candidates = tuple(
        Candidate(key=str(n), title=strategy.brief, plan=plan.model_copy(update={"strategy": strategy}), price=n)
        for n, strategy in enumerate(strategies)
    )
    cluster = Cluster(address=ray.address, cpus=0.5)
    folder = life.create(TrialOrder(candidates=candidates, budget_minutes=20, cluster=cluster), measured_paths)
    life.start(folder)
    wait_for(lambda: folder.tried() or life.status(folder).state != "running", "first try", 180)
    wait_for(lambda: life.status(folder).state in ENDED or at_work(folder, measured_paths) > 1, "two at once", 180)
    assert at_work(folder, measured_paths) > 1, (life.status(folder), folder.tried(), folder.log_tail(40))
    os.kill(json.loads(folder.worker_file.read_text())["pid"], signal.SIGKILL)  # the jobs go on meanwhile
    wait_for(lambda: life.status(folder).state == "failed", "word of the killed", 20)
    sent = {run.id for run, _ in runs_of(folder.id, measured_paths)}
    life.resume(folder)
    wait_for(lambda: len(folder.tried()) >= 3 or life.status(folder).state in ENDED, "three tries", 180)
    life.stop(folder) if life.status(folder).state not in ENDED else None
    wait_for(lambda: life.status(folder).state in ENDED, "end of the trials", 60)
    tried = folder.tried()
    assert {one.tried.key for one in tried} == {"0", "1", "2"} and not any(one.failed for one in tried), tried
    assert {one.run for one in tried[:3]} == sent, "none was sent twice"
    for one in tried:
        run = RunFolder(measured_paths.runs / one.run)
        assert one.scores.keys() == {row.row for row in run.split("asked")} and one.seconds > 0
        assert run.has_result and status(run).state == "done" and kept(run) is not None
    assert folder.decision() is not None


def at_work(folder: TrialsFolder, paths: Paths) -> int:
    """How many tries train or are asked on the cluster at this moment."""
    return sum(status(run).state == "running" for run, _ in runs_of(folder.id, paths))


@needs_ray
def test_where_no_cluster_answers_the_run_fails_at_once(tiny_plan: Plans, measured_paths: Paths) -> None:
    run = create_run(tiny_plan(), measured_paths)
    keep(run, Cluster(address=f"http://127.0.0.1:{free_port()}"))
    start(run)
    ended = wait_until_ended(run, 60)
    assert ended.state == "failed"
    assert ended.message.startswith("No Ray cluster answers at http://127.0.0.1:"), ended
    assert "8265" in ended.hint


@needs_ray
def test_trials_that_nobody_can_carry_out_fail_with_the_reason(
    tiny_plan: Plans, measured_paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.trials.worker.signal.signal", lambda *given: None)  # this process is no worker
    plan = tiny_plan().model_copy(update={"strategy": PromptStrategy()})
    candidate = Candidate(key="prompt", title="Prompt alone", plan=plan, price=1)
    nobody = Cluster(address=f"http://127.0.0.1:{free_port()}")
    folder = life.create(TrialOrder(candidates=(candidate,), budget_minutes=5, cluster=nobody), measured_paths)
    with pytest.raises(RunError, match="No option could be tried: No Ray cluster answers at http"):
        _carried_out(Round(folder, measured_paths))
    [found] = folder.tried()
    assert found.failed and RunFolder(measured_paths.runs / found.run).written_status().state == "failed"


# Without a cluster


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("ray://head:10001", "http://head:8265"),
        ("ray://head", "http://head:8265"),
        ("http://head:9000", "http://head:9000"),
        ("https://head/", "https://head"),
        ("head:8265", "http://head:8265"),
    ],
)
def test_where_jobs_are_submitted(address: str, url: str) -> None:
    assert dashboard(address) == url


@pytest.mark.parametrize("address", ["", "ftp://head", "ray://"])
def test_what_is_no_address_is_refused(address: str, tiny_plan: Plans, paths: Paths) -> None:
    run = create_run(tiny_plan(), paths)
    with pytest.raises(RunError, match="no address of a Ray cluster"):
        keep(run, Cluster(address=address))
    assert kept(run) is None


def test_a_parent_and_an_imported_adapter_go_along(tiny_plan: Plans, trained: Started, paths: Paths) -> None:
    plan = tiny_plan().model_copy(update={"parent": trained.run.path})
    with bundle(create_run(plan, paths)) as folder:
        again = RunFolder(folder).plan()
        assert again.parent == folder.resolve() / "parent"
        assert RunFolder(again.parent).artefact == again.parent / "adapter"
        assert not (again.parent / "data").exists() and not (folder / "status.json").exists()
        assert again.model_copy(update={"parent": plan.parent}) == plan
    plan = tiny_plan().model_copy(update={"strategy": ImportedStrategy(adapter=trained.run.adapter)})
    with bundle(create_run(plan, paths)) as folder:
        shipped = RunFolder(folder).plan().strategy
        assert isinstance(shipped, ImportedStrategy)
        assert (shipped.adapter / "adapter_model.safetensors").is_file()
        assert shipped.adapter.is_relative_to(folder.resolve())


def test_the_files_of_a_pool_go_along(tiny_plan: Plans, tickets: Path, paths: Paths) -> None:
    columns = Mapping(input="text", output="label")
    pool = (PoolTask(path=tickets, columns=columns), PoolTask(path=tickets, columns=columns, name="again"))
    plan = tiny_plan().model_copy(update={"strategy": MetaLoraStrategy(pool=pool)})
    with bundle(create_run(plan, paths)) as folder:
        shipped = RunFolder(folder).plan().strategy
        assert isinstance(shipped, MetaLoraStrategy)
        assert [task.told for task in shipped.pool] == ["tickets", "again"]
        assert all(task.path.is_relative_to(folder.resolve()) and task.path.is_file() for task in shipped.pool)


def test_a_bundle_that_is_too_large_is_refused(tiny_plan: Plans, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.ray_cluster._MOST_SHIPPED", 1000)
    with pytest.raises(RunError, match="to the cluster"), bundle(create_run(tiny_plan(), paths)):
        pass


class Answer:
    def __init__(self, body: bytes | None) -> None:
        self.body, self.status_code, self.text = body, 200 if body is not None else 500, "no such file"

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def iter_content(self, chunk_size: int) -> Iterator[bytes]:
        assert self.body is not None
        yield self.body


class Client:
    """A cluster whose job has ended and whose files are these, whatever lies behind them."""

    def __init__(self, run: RunFolder, files: dict[str, bytes], fails: int = 0) -> None:
        self.files = {f"{place(run.id)}/{name}": body for name, body in files.items()}
        self.fails = fails
        self.jobs: list[str] = []

    def get_job_status(self, name: str) -> Any:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("no route to host")
        return type("State", (), {"value": "SUCCEEDED"})

    def get_job_info(self, name: str) -> Any:
        return type("Info", (), {"driver_node_id": "n", "status": self.get_job_status(name), "message": ""})

    def submit_job(self, *, entrypoint: str, **more: Any) -> None:
        self.jobs.append(entrypoint)

    def _do_request(self, method: str, endpoint: str, **more: Any) -> Answer:
        name = httpx.URL(endpoint).params["filename"]
        return Answer(self.files.get(name, b"log" if name.endswith(".log") else None))


def done(tmp_path: Path, more: dict[str, bytes], listed: dict[str, Any] | None = None) -> tuple[RunFolder, Client]:
    """A run here, and a client that has its result there."""
    run = RunFolder(tmp_path / "mine")
    run.write_status(RunStatus())
    (source := tmp_path / "source").mkdir()
    for name, body in more.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(body)
    ended = RunStatus(state="done", phase="finished").model_dump_json().encode()
    found = json.dumps(listed if listed is not None else made(source)).encode()
    return run, Client(run, {**more, "status.json": ended, FILES: found})


def followed(run: RunFolder, client: Client) -> on_ray.Followed:
    return on_ray.Followed(run, client, Cluster(address="head:8265", submission="job"))


def test_what_was_made_is_brought_whole(tmp_path: Path) -> None:
    files = {"adapter/a.bin": bytes(range(256)), "adapter/deep/b": b"", "evaluation.json": b"{}", "data/x": b"1"}
    run, client = done(tmp_path, files)
    run.adapter.mkdir()
    (run.adapter / "stale").write_text("from an earlier try")
    followed(run, client).until_ended()
    assert run.written_status().state == "done"
    names = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    assert names == {"status.json", "worker.log", "adapter/a.bin", "adapter/deep/b", "evaluation.json"}
    assert (run.adapter / "a.bin").read_bytes() == files["adapter/a.bin"]
    assert len(client.jobs) == 1 and "rmtree" in client.jobs[0], "and nothing is left there"


def test_a_file_that_comes_damaged_is_no_artefact(tmp_path: Path) -> None:
    run, client = done(tmp_path, {"adapter/a.bin": b"whole"})
    client.files[f"{place(run.id)}/adapter/a.bin"] = b"who"
    with pytest.raises(RunError, match="damaged"):
        followed(run, client).until_ended()
    assert not run.adapter.exists()
    assert run.written_status().state != "done"
    assert not client.jobs, "what lies there stays, to be brought once more"


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a/../../../evil", "..", "./evil", "adapter//evil", ""])
def test_a_file_outside_the_run_is_not_written(tmp_path: Path, name: str) -> None:
    body = b"x"
    run, client = done(tmp_path, {}, {name: (1, hashlib.sha256(body).hexdigest())})
    client.files[f"{place(run.id)}/{name}"] = body
    with pytest.raises(RunError, match="outside the run"):
        followed(run, client).until_ended()
    assert not list(tmp_path.rglob("evil")) and not Path("/tmp/evil").exists()
    assert (run.path / "status.json").is_file(), "and nothing is removed"


def test_a_cluster_that_is_silent_for_a_while_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    run, client = done(tmp_path, {"adapter/a.bin": b"whole"})
    client.fails = 3
    followed(run, client).until_ended()
    assert run.written_status().state == "done"
    monkeypatch.setattr(on_ray, "_PATIENCE", 0)
    client.fails = 3
    with pytest.raises(RunError, match="does not answer any more"):
        followed(run, client).until_ended()
