"""A corpus of broken and odd files: each is read rightly, or refused with file, place and remedy. No row is lost."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prompts.errors import DataError
from trainers.reading import read_table

GOOD = "text,label\nfine,x\nalso,y\nthird,x\n"
MEGABYTE = "word " * 200_000


@dataclass(frozen=True)
class Read:
    """How many rows are kept, the line and part of the reason of each set aside, and a cell to find."""

    rows: int
    aside: tuple[tuple[int, str], ...] = ()
    cell: str = ""
    note: str = ""


@dataclass(frozen=True)
class Refused:
    words: tuple[str, ...]


def refused(*words: str) -> Refused:
    return Refused(words)


def packed(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return buffer.getvalue()


def book(*rows: list[Any]) -> bytes:
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def parquet(**columns: list[Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


HEADER_XLSX, FILLED = ["text", "label"], [["fine", "x"], ["also", "y"]]
DEEP = "[" * 100_000 + "]" * 100_000

CORPUS: list[tuple[str, str | bytes, Read | Refused]] = [
    # Nothing there.
    ("empty.csv", "", refused("empty.csv is empty")),
    ("blank.csv", " \n\n\t\n", refused("blank.csv is empty")),
    ("bom_only.csv", b"\xef\xbb\xbf", refused("bom_only.csv is empty")),
    ("header.csv", "text,label\n", refused("has a header but no rows")),
    ("header_blank.csv", "text,label\n\n , \n", refused("has a header but no rows")),
    ("empty_list.json", "[]", refused("is an empty list")),
    ("empty_object.json", "{}", refused("is an empty object")),
    ("empty.parquet", parquet(text=pa.array([], pa.string()), label=pa.array([], pa.string())), refused("no rows")),
    ("empty.xlsx", book(), refused("has no sheet with rows")),
    # What it is not.
    ("zip.csv", packed(a_csv=GOOD), refused("zip.csv is a ZIP archive", "not a table")),
    ("empty_zip.csv", packed(), refused("an empty ZIP archive")),
    ("escape.csv", packed(______etc__passwd="x"), refused("a ZIP archive")),
    ("word.xls", packed(word__document_xml="<x/>"), refused("is a Word document")),
    ("old.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600, refused("old or password-protected Office")),
    ("gzip.csv", gzip.compress(GOOD.encode()), refused("compressed with gzip")),
    ("page.csv", "<!DOCTYPE html>\n<html><body>Log in, please</body></html>", refused("is a web page or XML")),
    ("table.xls", "\n <table><tr><td>a</td></tr></table>", refused("is a web page or XML")),
    ("feed.csv", "<?xml version='1.0'?><rows/>", refused("is a web page or XML")),
    ("page16.csv", "<html><b>a,b</b></html>".encode("utf-16"), refused("is a web page or XML")),
    ("paper.csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", refused("is a PDF document")),
    ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), refused("is a picture")),
    ("database.csv", b"SQLite format 3\x00" + b"\x00" * 100, refused("is an SQLite database")),
    ("binary.csv", b"\x00\x01\x02" * 50, refused("is a binary file")),
    ("nuls.csv", b"\x00" * 5000, refused("is a binary file")),
    ("prose.txt", "this is no table\nnor is this\n", refused("is neither CSV nor JSONL", "no comma")),
    ("text.xlsx", GOOD, Read(3)),
    ("text.parquet", GOOD, Read(3)),
    # Encodings.
    ("cp1252.csv", "text,label\ncafé – “fine”,x\n".encode("cp1252"), Read(1, cell="café – “fine”", note="1252")),
    ("utf16_no_mark.csv", GOOD.encode("utf-16-le"), Read(3, cell="fine", note="UTF-16-LE")),
    ("utf16_cut.csv", GOOD.encode("utf-16") + b"\x61", refused("is not valid UTF-16")),
    (
        "one_bad_row.csv",
        "text,label\nhé,x\ndéjà,x\n".encode() + "voilà,x\n".encode("cp1252"),
        Read(2, ((4, "column 'text' holds bytes that are not text"),)),
    ),
    ("cut_character.csv", "text,label\nhé,x\ndéjà,é".encode()[:-1], Read(1, ((3, "bytes that are not text"),))),
    ("double_mark.csv", b"\xef\xbb\xbf\xef\xbb\xbf" + GOOD.encode(), Read(3)),
    ("undecodable.csv", b"text,label\n" + bytes(range(128, 256)) * 20 + b",b\n", refused("is not text in UTF-8")),
    # Rows that do not fit.
    ("short_row.csv", GOOD + "c\n", Read(3, ((5, "has 1 field, but the header has 2"),))),
    ("long_row.csv", "text,label\n\n\na,b,c\nd,e\n", Read(1, ((4, "has 3 fields, but the header has 2"),))),
    ("after_newline.csv", 'text,label\n"two\nlines",b\nc\n', Read(1, ((4, "has 1 field"),), cell="two\nlines")),
    ("mostly_ragged.csv", "text,label\na,b\nc\nd\n", refused("2 of 3 rows", "row 2 (line 3) has 1 field")),
    ("nul.csv", "text,label\na\0b,x\nc,d\n", Read(1, ((2, "column 'text' holds a NUL"),))),
    ("open_quote.csv", 'text,label\na,b\n"c,d\ne,f\n', Read(2, ((3, "is not valid CSV"),), cell="e")),
    ("open_quote_at_end.csv", 'text,label\na,b\nc,"d', Read(1, ((3, "is not valid CSV"),))),
    ("loose_quote.csv", 'text,label\n"a" b,x\nc,d\n', Read(1, ((2, "is not valid CSV"),))),
    ("header_open.csv", '"text,label\na,b\n', refused("header, line 1", "not valid CSV")),
    ("joined.csv", "text,label\na,b\ntext,label\nc,d\n", Read(2, ((3, "repeats the header"),))),
    ("twice.csv", "text,label,text\na,b,c\n", refused("names 'text' twice")),
    ("nameless.csv", "text,,label\na,b,c\n", refused("names a column with nothing")),
    ("pandas_index.csv", ",text,label\n0,a,b\n1,c,d\n", Read(2, cell="c")),
    ("no_header.csv", "5,Very good\n1,Very bad\n3,So so\n", Read(3, cell="Very good", note="no header")),
    ("formulas.csv", 'text,label\n=HYPERLINK("http://x"),+1\n@SUM(A1),-2\n', Read(2, cell='=HYPERLINK("http://x")')),
    ("huge_cell.csv", f"text,label\n{MEGABYTE * 50},x\nb,y\n", Read(2, cell=MEGABYTE * 50)),
    ("wide.csv", ",".join(f"c{n}" for n in range(1001)) + "\n" + ",".join("x" * 1001) + "\n", refused("1,000 columns")),
    # JSON.
    ("broken_line.jsonl", '{"a": 1}\n{"a": \n', Read(1, ((2, "is not valid JSON at column"),))),
    ("broken_first.jsonl", '{"a": \n{"a": 1}\n{"a": 2}\n', Read(2, ((1, "is not valid JSON"),))),
    ("not_an_object.jsonl", '{"a": 1}\n\n[1, 2]\n', Read(1, ((3, "is a list, not a JSON object"),))),
    ("numbers.json", "[1, 2]", refused("2 of 2 rows", "is a number, not a JSON object")),
    ("mixed.json", '[{"a": 1},\n 2, {"a": "b"}, null]', Read(2, ((2, "is a number"), (2, "is null")))),
    ("mixed_types.jsonl", '{"a": 1}\n{"a": "b"}\n{"a": [1]}\n{"a": null}\n{"b": 1.5}\n', Read(5, cell="[1]")),
    ("nested.jsonl", '{"a": {"k": [{"x": "é"}]}, "b": "c"}\n', Read(1, cell='{"k": [{"x": "é"}]}')),
    ("cut.json", '[{"a": 1},', refused("cut.json, line 1, column", "is not valid JSON", "ends too early")),
    ("comma.json", '[\n{"a": 1}\n{"a": 2}]', refused("line 3, column 1", "expected ','")),
    ("tail.json", '[{"a": 1}] x', refused("something follows")),
    ("twice.jsonl", '{"a": 1}\n{"a": 1, "a": 2}\n', Read(1, ((2, "names 'a' twice"),))),
    ("space_twice.jsonl", '{"a": 1}\n{"a": 1, " a": 2}\n', Read(1, ((2, "there twice"),))),
    ("deep.json", DEEP, refused("nested too deeply")),
    ("deep.jsonl", '{"a": 1}\n{"a": ' + DEEP + "}\n", Read(1, ((2, "nested too deeply"),))),
    ("surrogate.jsonl", '{"a": "\\ud83d"}\n{"a": "b"}\n', Read(1, ((1, "not text"),))),
    ("nul.jsonl", '{"a": "x\\u0000y"}\n{"a": "b"}\n', Read(1, ((1, "NUL"),))),
    ("long_number.jsonl", '{"a": ' + "9" * 5000 + '}\n{"a": "b"}\n', Read(1, ((1, "not valid JSON"),))),
    ("error_page.json", '{"error": "not found"}', Read(1, cell="not found")),
    ("columns.json", '{"a": ["x"], "b": ["y", "z"]}', refused("different lengths: a 1, b 2")),
    ("two_lists.json", '{"train": [{"a": 1}], "test": [{"a": 2}]}', refused("several lists of rows: train, test")),
    ("python.jsonl", "{'a': 1}\n{'a': 2}\n", refused("2 of 2 rows", "is not valid JSON")),
    # Excel and Parquet.
    ("formula.xlsx", book(HEADER_XLSX, *FILLED, ["=1+1", "x"]), Read(2, ((4, "without a stored value in cell A4"),))),
    ("error.xlsx", book(HEADER_XLSX, *FILLED, ["#N/A", "x"]), Read(2, ((4, "holds the error #N/A in cell A4"),))),
    ("beside.xlsx", book(HEADER_XLSX, *FILLED, ["a", "b", "c"]), Read(2, ((4, "in cell C4, where the header"),))),
    ("twice.xlsx", book(["a", "a"], ["x", "y"]), refused("names 'a' twice")),
    ("cut.xlsx", book(HEADER_XLSX, *FILLED)[:-200], refused("cut.xlsx is a damaged or cut Excel file")),
    ("hollow.xlsx", packed(xl__workbook_xml="<x/>"), refused("cannot be read as an Excel file")),
    ("cut.parquet", parquet(text=["a"], label=["b"])[:-20], refused("cannot be read as Parquet")),
    ("bytes.parquet", parquet(picture=[b"\x00"]), refused("has no column with text")),
    ("nul.parquet", parquet(text=["a\0", "b"], label=["x", "y"]), Read(1, ((0, "NUL"),))),
]  # fmt: skip


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len({name for name, _, _ in CORPUS}) == len(CORPUS) >= 40


@pytest.mark.parametrize(("name", "content", "wanted"), CORPUS, ids=[name for name, _, _ in CORPUS])
def test_the_corpus(tmp_path: Path, name: str, content: str | bytes, wanted: Read | Refused) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if isinstance(wanted, Refused):
        with pytest.raises(DataError) as caught:
            read_table(path, tmp_path / "cache")
        assert name in caught.value.message
        assert all(word in caught.value.message for word in wanted.words), caught.value.message
        assert caught.value.hint
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
        return
    table = read_table(path, tmp_path / "cache")
    assert len(table) == len(list(table.rows())) == wanted.rows
    aside = list(table.set_aside)
    assert len(aside) == len(wanted.aside)
    for one, (line, reason) in zip(aside, wanted.aside, strict=True):
        assert one.line == line
        assert reason in one.reason
        assert one.raw
    assert not wanted.cell or any(wanted.cell in row.values() for row in table.rows())
    assert wanted.note in " ".join(table.notes)


@pytest.mark.parametrize("seed", range(10))
def test_files_broken_at_random_are_read_or_refused_and_nothing_else(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    files = [(name, text.encode() if isinstance(text, str) else text) for name, text, _ in CORPUS if len(text) < 20_000]
    for name, content in rng.sample(files, 40):
        broken = bytearray(content or b"x")
        for _ in range(rng.choice((1, 2, 10))):
            at = rng.randrange(len(broken) + 1)
            piece = rng.choice((b'"', b",", b"\n", b"\0", b"{", b"]", b"\xff", b"\r", b""))
            broken[at : at + rng.randrange(3)] = piece
        (tmp_path / name).write_bytes(broken)
        try:
            table = read_table(tmp_path / name, tmp_path / "cache")
        except DataError as error:
            assert error.hint and "\n" not in str(error)
        else:
            assert len(list(table.numbered())) == len(table) > 0
            assert len(list(table.set_aside)) == len(table.aside_rows)


def way_out(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "secret.csv").write_text(GOOD)
    (folder / "in" / "a.csv").write_text(GOOD)
    (folder / "in" / "b.csv").symlink_to(folder / "secret.csv")


def way_up(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "in" / "up.csv").symlink_to("../in/../../secret.csv")


def linked_folder(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "other").mkdir()
    (folder / "other" / "a.csv").write_text(GOOD)
    (folder / "in" / "link").symlink_to(folder / "other")


def two_shapes(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "in" / "a.csv").write_text(GOOD)
    (folder / "in" / "b.csv").write_text("question,answer\na,b\n")


def no_tables(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "in" / "notes.md").write_text("nothing")


def one_is_broken(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "in" / "a.csv").write_text(GOOD)
    (folder / "in" / "b.json").write_text("[{")


def nothing(folder: Path) -> None:
    """Not even a folder."""


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "in")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (way_out, "in/b.csv is a link that leads out of the folder"),
        (way_up, "in/up.csv is a link that leads out of the folder"),
        (linked_folder, "in/link is a link that leads out of the folder"),
        (two_shapes, "b.csv has the columns answer, question, but a.csv has label, text"),
        (no_tables, "in holds no file with a table"),
        (one_is_broken, "b.json, line 1, column"),
        (nothing, "There is no file"),
        (pipe, "There is no file"),
    ],
)
def test_bad_folders(tmp_path: Path, build: Callable[[Path], None], words: str) -> None:
    build(tmp_path)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "in", tmp_path / "cache")
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json"])
@pytest.mark.parametrize("seed", range(20))
def test_rows_in_are_rows_kept_and_rows_set_aside(tmp_path: Path, kind: str, seed: int) -> None:
    """Every record carries a mark of its own; each is found once, in a row or in the raw text of one set aside."""
    rng = random.Random(seed)
    good = {"csv": "mark{},x", "jsonl": '{{"text": "mark{}", "label": "x"}}', "json": '{{"text": "mark{}"}}'}[kind]
    odd = ['"mark{}"', '["mark{}"]', *('{{"a": "mark{}' + end for end in ('", "a": 1}}', '\\u0000"}}', '\\ud800"}}'))]
    bad = {
        "csv": ["mark{}", "mark{},x,y", '"mark{}" y,x', "mark{}\0,x", '"mark{},x'],
        "jsonl": [*odd, '{{"text": "mark{}"'],
        "json": odd,
    }[kind]
    records = [(rng.choice(bad) if rng.random() < 0.2 else good).format(n) for n in range(300)]
    path = tmp_path / f"data.{kind}"
    lines = (",\n" if kind == "json" else "\n").join(records)
    path.write_text({"csv": f"text,label\n{lines}", "jsonl": lines, "json": f"[{lines}]"}[kind])
    table = read_table(path, tmp_path / "cache")
    kept, aside = list(table.numbered()), list(table.set_aside)
    assert len(kept) + len(aside) == 300
    assert sorted([*(number for number, _ in kept), *(one.row for one in aside)]) == list(range(1, 301))
    for number, row in kept:
        assert row["text"] == f"mark{number - 1}"
    for one in aside:
        assert f"mark{one.row - 1}" in one.raw


def test_set_aside_rows_can_be_downloaded_and_a_spreadsheet_runs_none(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text('text,label\na,b\nc,d\n=cmd|"/c calc"!A1\n"two", words,x\n')
    table = read_table(path, tmp_path / "cache")
    table.write_set_aside(tmp_path / "aside.csv")
    again = list(read_table(tmp_path / "aside.csv", tmp_path / "cache").rows())
    assert [(row["row"], row["line"], row["file"]) for row in again] == [("3", "4", "data.csv"), ("4", "5", "data.csv")]
    assert again[0]["raw"] == '\'=cmd|"/c calc"!A1'
    assert again[1]["raw"] == '"two", words,x'
    assert json.dumps([row["reason"] for row in again]).count("field") == 2
