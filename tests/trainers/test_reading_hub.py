"""Data sets of the hub: loaded for real by a child process, from folders and from a hub on this machine."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from prompts.errors import DataError
from tests.trainers.hub import SHA, Hub, running_hub
from trainers.reading import fetch_dataset, is_dataset_id, read_table, split_column
from trainers.reading.hub_errors import explain, no_config, several

CSV = "text,label\nWhere is it?,0\nGive it back,1\n"
LABELS = """---
dataset_info:
  features:
  - name: text
    dtype: string
  - name: label
    dtype:
      class_label:
        names:
          '0': status
          '1': refund
---
"""
CONFIGS = """---
configs:
- config_name: first
  data_files: [{split: train, path: one.csv}]
- config_name: second
  data_files: [{split: train, path: two.csv}, {split: test, path: one.csv}]
---
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where data sets are kept; the libraries' own cache is empty too."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "datasets"


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        yield hub


def folder_of(tmp_path: Path, name: str = "set", **files: str) -> Path:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file.replace("_", ".")).write_text(content)
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "PolyAI/banking77",
        " owner/name:config-1.0 ",
        "https://huggingface.co/datasets/PolyAI/banking77",
        "huggingface.co/datasets/PolyAI/banking77/viewer/en/train?row=3",
        "https://hf.co/datasets/PolyAI/banking77/tree/main",
    ],
)
def test_what_names_a_data_set(text: str) -> None:
    assert is_dataset_id(text)


@pytest.mark.parametrize(
    "text",
    ["", "banking77", "data/train.csv", "./data/train", "/data/train", "a/b/c", "my data/set", "a--b/c", "a/b..c",
     "C:/x", "https://huggingface.co/PolyAI/banking77", "https://huggingface.co/datasets/PolyAI", "../data",
     "owner/name:", "https://example.com/datasets/a/b", "ftp://huggingface.co/datasets/a/b"],
)  # fmt: skip
def test_what_names_none(text: str, tmp_path: Path) -> None:
    assert not is_dataset_id(text)
    with pytest.raises(DataError, match="names no data set"):
        fetch_dataset(text or "?", tmp_path)


def test_a_folder_like_a_data_set(tmp_path: Path, cache: Path) -> None:
    """Labels get their names, a number without one is nothing, and the splits are told."""
    folder = folder_of(tmp_path, README_md=LABELS, train_csv=CSV, test_csv="text,label\nHidden,-1\n", val_csv=CSV)
    said: list[str] = []
    path = fetch_dataset(str(folder), cache, said.append)
    assert sorted(file.name for file in path.glob("[!.]*")) == ["test.parquet", "train.parquet", "validation.parquet"]
    table = read_table(path, tmp_path / "tables")
    assert [tuple(row.values()) for row in table.rows()] == [
        ("Hidden", "", "test"),
        ("Where is it?", "status", "train"),
        ("Give it back", "refund", "train"),
        ("Where is it?", "status", "dev"),
        ("Give it back", "refund", "dev"),
    ]
    assert split_column(table) == "split"
    assert any("Writing" in text and "%" in text for text in said)
    assert not list(cache.glob(".*.draft"))

    again: list[str] = []
    assert (fetch_dataset(str(folder), cache, again.append), again) == (path, [])
    (path / "train.parquet").write_bytes(b"half")
    assert fetch_dataset(str(folder), cache, again.append) == path  # made anew
    assert again and pq.read_table(path / "train.parquet").num_rows == 2


def test_configurations_are_named(tmp_path: Path, cache: Path) -> None:
    folder = folder_of(tmp_path, README_md=CONFIGS, one_csv=CSV, two_csv="q,a\nb,c\n")
    with pytest.raises(DataError, match=f"2 configurations: first, second.*{folder}:first"):
        fetch_dataset(str(folder), cache)
    with pytest.raises(DataError, match=f"no configuration 'frist'; it has first, second. Write {folder}:first"):
        fetch_dataset(f"{folder}:frist", cache)
    path = fetch_dataset(f"{folder}:first", cache)
    assert read_table(path, tmp_path / "tables").columns == ("text", "label")
    assert not list(cache.glob(".*.draft"))


def test_pictures_are_left_out_and_labels_within_lists_named(tmp_path: Path, cache: Path) -> None:
    folder = folder_of(tmp_path / "pictures" / "x", "train", metadata_csv="file_name,text\n1.png,a dog\n")
    Image.new("RGB", (4, 4)).save(folder / "1.png")
    table = read_table(fetch_dataset(str(folder.parent), cache), tmp_path / "tables")
    assert (table.columns, table.notes) == (("text",), ("train.parquet: Columns that hold no text are not in it: "
                                                        "image (Image).",))  # fmt: skip
    (folder / "metadata.csv").unlink()
    with pytest.raises(DataError, match=r"holds no text, only image \(Image\)"):
        fetch_dataset(str(folder.parent), cache)

    lists = LABELS.replace("dtype:\n      class_label", "list:\n      class_label")
    nested = folder_of(tmp_path, README_md=lists, train_jsonl='{"text": "a", "label": [1, 0]}\n')
    [row] = read_table(fetch_dataset(str(nested), cache), tmp_path / "tables").rows()
    assert row["label"] == '["refund", "status"]'


def large_by_its_card(folder: Path) -> None:
    (folder / "README.md").write_text("---\ndataset_info:\n  dataset_size: 5000000000\n---\n")


def large_by_its_files(folder: Path) -> None:
    with (folder / "train.csv").open("r+b") as file:
        file.truncate(3 << 30)  # sparse


def with_a_script(folder: Path) -> None:
    (folder / f"{folder.name}.py").write_text("raise SystemExit('run!')")


def of_two_shapes(folder: Path) -> None:
    (folder / "train_2.csv").write_text("question,answer,more\na,b,c\n")


def without_files(folder: Path) -> None:
    (folder / "train.csv").unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (large_by_its_card, r"has 4.7 GiB; up to 1 GiB are fetched. Download the files"),
        (large_by_its_files, r"has 3.0 GiB; up to 1 GiB are fetched"),
        (with_a_script, "needs a program of its own to be read, and Tunewright runs none"),
        (of_two_shapes, "cannot be read as one table"),
        (without_files, "holds no files that can be read as a table"),
    ],
)
def test_what_is_refused(spoil: object, words: str, tmp_path: Path, cache: Path) -> None:
    folder = folder_of(tmp_path, train_csv=CSV)
    assert callable(spoil)
    spoil(folder)
    with pytest.raises(DataError, match=words) as caught:
        fetch_dataset(str(folder), cache)
    assert caught.value.hint
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []


def test_from_a_hub(tmp_path: Path, cache: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.folders["Poly/bank"] = folder_of(tmp_path, README_md=LABELS, train_csv=CSV, test_csv=CSV)
    path = fetch_dataset("https://huggingface.co/datasets/Poly/bank", cache)
    assert path.name == f"Poly--bank--{SHA[:12]}"
    assert {row["label"] for row in read_table(path, tmp_path / "tables").rows()} == {"status", "refund"}

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.asked.clear()
    assert (fetch_dataset("Poly/bank", cache), hub.asked) == (path, [])
    with pytest.raises(DataError, match="'Poly/bank:default' is not on this machine and the hub cannot be reached"):
        fetch_dataset("Poly/bank:default", cache)


def test_what_a_hub_refuses(tmp_path: Path, cache: Path, hub: Hub) -> None:
    folder = folder_of(tmp_path, train_csv=CSV)
    hub.folders |= {"Poly/bank": folder, "Poly/closed": folder}
    hub.gated.add("Poly/closed")
    with pytest.raises(DataError, match=r"accept its terms.*datasets/Poly/closed, then run `hf auth login`"):
        fetch_dataset("Poly/closed", cache)
    with pytest.raises(DataError, match=r"no data set 'Poly/banc'. Did you mean Poly/bank\?"):
        fetch_dataset("Poly/banc", cache)


def test_no_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    words = "not on this machine and the hub cannot be reached. Connect once to download it, or give a file."
    with pytest.raises(DataError, match=words):
        fetch_dataset("PolyAI/banking77", cache)


def test_stopping_kills_the_child_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    folder = folder_of(tmp_path, train_csv=CSV)

    class Stopped(OSError):
        """The person has had enough; even one that looks like a failure goes through as it is."""

    def say(text: str) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        fetch_dataset(str(folder), cache, say)
    assert [path.name for path in cache.iterdir() if path.suffix != ".lock"] == []
    assert fetch_dataset(str(folder), cache).is_dir()


def test_a_child_that_nobody_listens_to_ends(tmp_path: Path) -> None:
    """A hub that never answers, and a parent that is gone."""
    read, write = os.pipe()
    with running_hub() as hub:
        held = threading.Event()
        hub.hold = held
        env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
        command = [sys.executable, "-P", "-m", "trainers.fetch_dataset", "a/b", "", str(tmp_path)]
        with subprocess.Popen(command, stdout=write, stderr=subprocess.DEVNULL, env=env, cwd=tmp_path) as child:
            os.close(write)
            os.read(read, 1)
            os.close(read)
            assert child.wait(60) == 1
        held.set()


def test_two_at_once(tmp_path: Path, cache: Path) -> None:
    folder = folder_of(tmp_path, train_csv=CSV)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch_dataset(str(folder), cache))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and found[0] == found[1]


def test_errors_in_words() -> None:
    def caused(outer: Exception, inner: Exception) -> Exception:
        outer.__cause__ = inner
        return outer

    full = caused(RuntimeError("while generating"), OSError(errno.ENOSPC, "No space left on device"))
    assert "The disk is full" in str(explain(full, "a/b"))
    assert "The disk is full" in str(explain(OSError("Not enough disk space. Needed: 3 GiB"), "a/b"))
    assert "cannot be reached" in str(explain(caused(ValueError("x"), ConnectionError("y")), "a/b"))
    assert str(explain(ValueError("odd\nlong"), "a/b")).startswith("a/b could not be fetched: ValueError: odd.")
    already = DataError("told", hint="already")
    assert explain(already, "a/b") is already


def test_many_configurations_are_cut_and_the_usual_one_is_first() -> None:
    error = several("a/b", [f"c{index}" for index in range(30)], "c25")
    assert error.message.startswith("a/b has 30 configurations: c25, c0, c1,")
    assert error.message.endswith("c18 and 10 more.")
    assert "a/b:c25" in error.hint
    assert no_config("a/b", "zzz", ["c0", "c1"]).hint == "Write a/b:c0, or another of them."
