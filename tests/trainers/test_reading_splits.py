"""Splits that the data brings along: by the names of a folder's files, and by a column."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainers.reading import Table, given_split, read_table, split_column, table_of
from trainers.reading.splits import splits_by_name

SHARD = "00000-of-00001"


def folder_of(tmp_path: Path, files: dict[str, str]) -> Path:
    folder = tmp_path / "data"
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def splits_in(table: Table) -> list[str | None]:
    return [row.get("split") for row in table.rows()]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("TRAINING.csv", "train"),
        ("train_AddToPlaylist.json", "train"),
        ("my_test.csv", "test"),
        ("test2.csv", "test"),
        ("banking test 2024.csv", "test"),
        (f"data-test-{SHARD}.parquet", "test"),
        (f"validation-{SHARD}-0123abc.parquet", "dev"),
        ("validation/0.jsonl", "dev"),
        ("deep/eval/en/0.jsonl", "dev"),
        ("train/test.csv", "test"),
        ("val.jsonl", "dev"),
        ("valid.x.csv", "dev"),
        ("latest.csv", ""),
        ("a_test_of_time.csv", ""),
        ("train_test_split.csv", ""),
        ("testö.csv", ""),
        ("rows.csv", ""),
    ],
)
def test_what_a_name_says(name: str, split: str) -> None:
    others = ["other/train.csv", "other/test.csv"]
    assert splits_by_name([name, *others])[name] == split


@pytest.mark.parametrize("names", [["train.csv", "train_2.csv"], ["test.csv", "val.csv"], ["train.csv", "a.csv"], []])
def test_names_that_do_not_divide(names: list[str]) -> None:
    assert splits_by_name(names) == {}


def test_delimited_files_get_their_split(tmp_path: Path) -> None:
    files = {"test.csv": "label,text\nx,c\n", "train.csv": "text,label\na,x\nb,y\n", "more.csv": "text,label\nd,x\n"}
    table = read_table(folder_of(tmp_path, files))
    assert table.columns == ("text", "label", "split")
    assert [(row["text"], row["split"]) for row in table.rows()] == [
        ("d", ""), ("c", "test"), ("a", "train"), ("b", "train")
    ]  # fmt: skip
    assert table.notes == (
        "The files' names say which rows are for training (2) and the test (1). Of 1 row they say nothing.",
    )
    assert split_column(table) == "split"


def test_json_and_parquet_get_their_split(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"train/0.jsonl": '{"text": "a"}\n{"text": "b", "note": "n"}\n{"text": \n'})
    (folder / "dev.json").write_text('[{"text": "c"}]')
    pq.write_table(pa.table({"text": ["d"]}), folder / f"test-{SHARD}.parquet")
    table = read_table(folder)
    assert [(row["text"], row["split"]) for row in table.rows()] == [
        ("c", "dev"), ("d", "test"), ("a", "train"), ("b", "train")
    ]  # fmt: skip
    assert len(list(table.set_aside)) == 1
    assert table.notes == ("The files' names say which rows are for training (2), checking (1) and the test (1).",)


@pytest.mark.parametrize("name", ["split", "Split"])
def test_a_column_of_the_files_own_stands(tmp_path: Path, name: str) -> None:
    files = {"train.csv": f"text,{name}\na,dev\n", "test.csv": f"text,{name}\nb,train\n"}
    table = read_table(folder_of(tmp_path, files))
    assert (table.columns, [row[name] for row in table.rows()], table.notes) == (("text", name), ["train", "dev"], ())


def test_files_of_two_shapes_are_still_refused(tmp_path: Path) -> None:
    files = {"train.csv": "text,label\na,x\n", "test.csv": "text\nb\n\n", "val.csv": "text\nc\n"}
    with pytest.raises(Exception, match=r"no comma, semicolon"):
        read_table(folder_of(tmp_path, files))
    files = {"train.csv": "text,split_of\na,x\n", "test.csv": "text,label\nb,y\n", "val.csv": "text,label\nb,y\n"}
    with pytest.raises(Exception, match=r"has the columns split_of, text, but test.csv has label, text"):
        read_table(folder_of(tmp_path / "two", files))


def test_a_folder_that_does_not_divide_gets_no_column(tmp_path: Path) -> None:
    table = read_table(folder_of(tmp_path, {"a.csv": "text,label\na,x\n", "test.csv": "text,label\nb,y\n"}))
    assert (table.columns, table.notes) == (("text", "label"), ())


def test_a_large_folder_keeps_its_splits_on_disk(tmp_path: Path) -> None:
    def lines(count: int) -> str:
        return "".join(json.dumps({"text": "x" * 1_000}) + "\n" for _ in range(count))

    folder = folder_of(tmp_path, {"train.jsonl": lines(20_000), "test.jsonl": lines(5)})
    for _ in range(2):  # converted, and mapped again
        table = read_table(folder, tmp_path / "cache")
        assert splits_in(table)[:6] == ["test"] * 5 + ["train"]
        assert (table.notes[0].count("20,000"), split_column(table)) == (1, "split")
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize(
    ("value", "split"),
    [("train", "train"), (" Training ", "train"), ("TEST", "test"), ("Validation", "dev"), ("eval", "dev"), ("", ""),
     ("latest", ""), ("train set", "")],
)  # fmt: skip
def test_what_a_cell_says(value: str, split: str) -> None:
    assert given_split(value) == split


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"Subset": ["train", "Test"]}, "Subset"),
        ({"fold": ["train", "", "valid"]}, "fold"),
        ({"fold": ["1", "2"]}, None),
        ({"split": ["train", "train"]}, None),
        ({"split": ["train", "maybe"]}, None),
        ({"split": ["a", "b"], "set": ["train", "dev"]}, "set"),
        ({"set": ["train", "dev"], "split": ["train", "test"]}, "split"),
        ({"kind": ["train", "test"]}, None),
        ({"split": ["train"] * 1_500 + ["test"]}, "split"),
    ],
)
def test_a_column_that_divides(columns: dict[str, list[str]], found: str | None) -> None:
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    assert split_column(table_of([{"text": "a", **row} for row in rows], "rows")) == found
