"""Finding base models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prompts.errors import ModelError
from trainers.models import EMBEDDED, catalogue, resolve
from trainers.paths import Paths, default_paths


def test_a_folder_is_taken_as_it_is(tiny_model: Path, paths: Paths) -> None:
    model = resolve(str(tiny_model), paths)
    assert (model.kind, model.name, model.folder) == ("folder", "tiny", tiny_model)
    assert not paths.models.exists(), "nothing to convert"


def test_parameters_are_counted_from_the_files(tiny_model: Path, paths: Paths) -> None:
    from safetensors import safe_open

    with safe_open(str(tiny_model / "model.safetensors"), framework="np") as weights:
        counted = sum(weights.get_tensor(name).size for name in weights.keys())  # noqa: SIM118
    assert resolve(str(tiny_model), paths).parameters == counted > 100_000


def test_a_relative_folder_and_one_under_home_are_found(
    tiny_model: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_model.parent)
    monkeypatch.setenv("HOME", str(tiny_model.parent))
    for ref in ("tiny", "./tiny", "~/tiny", f" {tiny_model} "):
        assert resolve(ref, paths).folder == tiny_model


def make_folder(tmp_path: Path, *names: str) -> str:
    folder = tmp_path / "a model"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"{}")
    return str(folder)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds no model: it has no config.json."),
        (("adapter_config.json", "adapter_model.safetensors"), "holds no model: it has no config.json."),
        (("a.gguf", "b.gguf"), "no config.json and 2 GGUF files."),
        (("a.gguf",), "a.gguf is not a GGUF file."),
        (("config.json",), "has no model*.safetensors"),
        (("config.json", "pytorch_model.bin"), "has no model*.safetensors"),
    ],
)
def test_a_folder_without_a_model_says_what_is_missing(
    tmp_path: Path, paths: Paths, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(make_folder(tmp_path, *names), paths)
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "ref", ["", "  ", "nothing", "/no/such/folder", "../nothing", "a b/c", "./Qwen/Qwen3", "a/b/c"]
)
def test_a_ref_that_means_nothing_is_refused_with_what_could_be_meant(ref: str, paths: Paths) -> None:
    with pytest.raises(ModelError, match="There is no base model") as caught:
        resolve(ref, paths)
    for word in ("'embedded'", "hub id", "folder", ".gguf"):
        assert word in caught.value.hint


def test_a_file_that_is_no_gguf_is_refused(tiny_model: Path, paths: Paths) -> None:
    with pytest.raises(ModelError, match=r"model.safetensors is not a GGUF file"):
        resolve(str(tiny_model / "model.safetensors"), paths)


def test_a_broken_gguf_is_refused_and_leaves_nothing_behind(tmp_path: Path, paths: Paths) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(ModelError, match=r"broken.gguf could not be converted") as caught:
        resolve(str(broken), paths)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert [path for path in paths.models.iterdir() if path.is_dir()] == []


ASKS_THE_HUB = """
import sys
from pathlib import Path
from prompts.errors import ModelError
from trainers.models import resolve
from trainers.paths import Paths
try:
    resolve("nobody/no-such-model", Paths(home=Path(sys.argv[1]), cache=Path(sys.argv[1])))
except ModelError as error:
    print(error.message, "|", error.hint)
"""


def test_a_hub_model_without_a_network_is_refused_soon_and_clearly(tmp_path: Path) -> None:
    # The port refuses at once, whether or not this machine has a network.
    env = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    began = time.monotonic()
    asked = subprocess.run(
        [sys.executable, "-c", ASKS_THE_HUB, str(tmp_path)], env=env, capture_output=True, text=True, check=True
    )
    message, hint = asked.stdout.strip().split(" | ")
    assert message == "The model 'nobody/no-such-model' is not on this machine and the hub cannot be reached."
    assert "'embedded'" in hint
    assert time.monotonic() - began < 30


def test_a_hub_model_that_is_here_needs_no_network(tiny_model: Path, tmp_path: Path) -> None:
    commit = "0" * 40
    repository = tmp_path / "hub/models--nobody--no-such-model"
    shutil.copytree(tiny_model, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)
    code = ASKS_THE_HUB.replace("    resolve(", "    print(resolve(").replace(")))\n", "))))\n", 1)
    env = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    asked = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, capture_output=True, text=True)
    assert "name='no-such-model'" in asked.stdout, asked.stdout + asked.stderr


def test_the_catalogue_reads_smallest_first_and_starts_with_the_embedded_model() -> None:
    entries = catalogue()
    assert entries[0].ref == EMBEDDED
    sizes = [entry.parameters_m for entry in entries]
    assert sizes == sorted(sizes)
    for entry in entries:
        # bfloat16 weights take two bytes each; LoRA's own memory comes on top.
        assert entry.memory_gb >= entry.parameters_m * 2e6 / 2**30
        assert entry.licence
        assert entry.note
    assert len({entry.ref for entry in entries}) == len(entries)


def test_the_embedded_model_is_converted_once(embedded_folder: Path) -> None:
    weights = embedded_folder / "model.safetensors"
    before = weights.stat().st_mtime_ns
    began = time.monotonic()
    model = resolve(EMBEDDED, default_paths())
    assert time.monotonic() - began < 2
    assert weights.stat().st_mtime_ns == before
    assert (model.kind, model.name, model.folder) == ("embedded", "SmolLM2-135M-Instruct", embedded_folder)
    assert model.parameters == pytest.approx(135e6, rel=0.01)
    record = json.loads((embedded_folder / "tunewright.json").read_text())
    assert record["source_sha256"].startswith("b179c952")
