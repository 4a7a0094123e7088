"""The same rows in many formats, encodings and layouts, and what a table gives of them."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prompts.errors import DataError
from trainers.reading import read_table

ROWS = [{"text": "hé", "label": "b"}, {"text": "c", "label": "d"}]


def written(tmp_path: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def workbook(path: Path, *sheets: tuple[str, list[list[Any]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize(
    "content",
    [
        "text,label\nhé,b\nc,d\n",
        "text;label\nhé;b\nc;d\n",
        "text\tlabel\nhé\tb\nc\td\n",
        "text|label\nhé|b\nc|d\n",
        "text^label\nhé^b\nc^d\n",
        "text\x1flabel\nhé\x1fb\nc\x1fd\n",
        "text\x01label\nhé\x01b\nc\x01d\n",
        "sep=;\ntext;label\nhé;b\nc;d\n",
        "text,label\r\nhé,b\r\nc,d\r\n",
        "text,label\rhé,b\rc,d\r",
        "\n\ntext,label\n\nhé,b\n\n\nc,d\n\n",
        " text , label \nhé,b\nc,d",
        "text,label,\nhé,b,\nc,d,\n",
        "text,label\nhé,b,,\nc,d\n",
        '"text";"label"\n"hé";"b"\n"c";"d"\n',
        "text,label\nhé,b\nc,d\n".encode("utf-8-sig"),
        "text,label\nhé,b\nc,d\n".encode("utf-16"),
        "text,label\nhé,b\nc,d\n".encode("utf-16-le"),
        "text,label\nhé,b\nc,d\n".encode("utf-16-be"),
        "text,label\nhé,b\nc,d\n".encode("utf-32"),
        "text,label\nhé,b\nc,d\n".encode("utf-32-le"),
        "text,label\nhé,b\nc,d\n".encode("cp1252"),
        '{"text": "hé", "label": "b"}\n{"text": "c", "label": "d"}\n',
        '{"text": "h\\u00e9", "label": "b"}\r\n\r\n{"text": "c", "label": "d"}',
        '\ufeff{"text": "hé", "label": "b"}\n{"text": "c", "label": "d"}\n',
        '{"text": "hé", "label": "b"}{"text": "c", "label": "d"}',
        '{\n "text": "hé",\n "label": "b"\n}\n{\n "text": "c",\n "label": "d"\n}\n',
        '[{"text": "hé", "label": "b"}, {"text": "c", "label": "d"}]',
        '[\n  {"text": "hé", "label": "b"},\n  {"text": "c", "label": "d"}\n]\n',
        '{"version": 1, "data": [{"text": "hé", "label": "b"}, {"text": "c", "label": "d"}]}',
        '{"text": ["hé", "c"], "label": ["b", "d"]}',
    ],
)
def test_the_same_rows_as_text(tmp_path: Path, content: str | bytes) -> None:
    table = read_table(written(tmp_path, content))
    assert table.columns == ("text", "label")
    assert list(table.rows()) == ROWS
    assert (len(table), table.row(2), table.head(1), list(table.set_aside)) == (2, ROWS[1], ROWS[:1], [])


@pytest.mark.parametrize(
    "encoding", ["cp1251", "shift_jis", "euc_jp", "cp1250", "koi8_r", "cp1253", "gb18030", "big5", "euc_kr"]
)
def test_older_encodings_are_guessed_and_that_is_told(tmp_path: Path, encoding: str) -> None:
    said = {
        "cp1251": "Где моя посылка? Она должна была прийти вчера, но её всё ещё нет.",
        "shift_jis": "荷物はどこですか。昨日届くはずでしたが、まだ届いていません。",
        "gb18030": "我的包裹在哪里?它本应昨天送达,但现在还没有到。请尽快回复我。",
        "big5": "我的包裹在哪裡?它本應昨天送達,但現在還沒有到。請儘快回覆我。",
        "euc_kr": "제 소포는 어디에 있나요? 어제 도착했어야 하는데 아직 오지 않았습니다.",
        "euc_jp": "荷物はどこですか。昨日届くはずでしたが、まだ届いていません。",
        "koi8_r": "Где моя посылка? Она должна была прийти вчера, но её всё ещё нет.",
        "cp1250": "Gdzie jest moja paczka? Miała przyjść wczoraj, ale wciąż jej nie ma. Proszę o odpowiedź.",
        "cp1253": "Πού είναι το δέμα μου; Έπρεπε να έρθει χθες.",
    }[encoding]
    table = read_table(written(tmp_path, f"text\tlabel\n{said}\tx\n{said}\ty\n".encode(encoding)))
    assert [row["text"] for row in table.rows()] == [said, said]
    assert "by guess" in table.notes[0]


def test_excel(tmp_path: Path) -> None:
    rows = [["text", "label", None], ["hé", "b"], [None, None], ["c", "d"]]
    path = workbook(tmp_path / "data.xlsx", ("Notes", []), ("Rows", rows), ("Others", [["a"], ["b"]]))
    table = read_table(path)
    assert (table.columns, list(table.rows())) == (("text", "label"), ROWS)
    assert "'Rows', the first with rows of 3" in table.notes[0]
    assert list(read_table(path.rename(tmp_path / "renamed.csv")).rows()) == ROWS, "known by its content"


def test_excel_values_become_text(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 11, 24)
    table = read_table(
        workbook(tmp_path / "d.xlsx", ("S", [["a", "b", "c", "d"], [1, 1.5, True, day], ["x", None, "", 2]]))
    )
    assert list(table.rows()) == [
        {"a": "1", "b": "1.5", "c": "true", "d": "2026-11-24T00:00:00"},
        {"a": "x", "b": "", "c": "", "d": "2"},
    ]


def test_parquet(tmp_path: Path) -> None:
    columns = {"text": ["hé", None], "n": [1, 2], "nested": [{"k": ["v"]}, None], "picture": [b"\x89", b"\x00"]}
    path = tmp_path / "data.bin"
    pq.write_table(pa.table(columns), path)
    table = read_table(path)
    assert table.columns == ("text", "n", "nested")
    assert list(table.rows()) == [
        {"text": "hé", "n": "1", "nested": '{"k": ["v"]}'},
        {"text": "", "n": "2", "nested": ""},
    ]
    assert "picture" in table.notes[0]


def test_a_folder_is_one_table(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    written(tmp_path, "text,label\nhé,b\n", "1.csv")
    written(tmp_path, '{"label": "d", "text": "c"}\n', "below/2.jsonl")
    written(tmp_path, "label,text\nshort\ny,x\n", "3.csv")
    written(tmp_path, "no table", "README.md")
    written(tmp_path, "no table", ".hidden.csv")
    (tmp_path / "again.csv").symlink_to(tmp_path / "1.csv")
    table = read_table(tmp_path)
    assert [row["text"] for row in table.rows()] == ["hé", "x", "c"]
    assert [(one.row, one.line, one.file) for one in table.set_aside] == [(2, 2, "3.csv")]
    assert list(table.numbers()) == [1, 3, 4]
    assert any("README.md" in note for note in table.notes)


def test_quoted_newlines_commas_and_quotes_stay_in_their_cell(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, 'text,label\n"a,\n""b""\n",x\n'))
    assert list(table.rows()) == [{"text": 'a,\n"b"\n', "label": "x"}]


def test_a_delimiter_inside_a_quoted_header_does_not_count(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, '"text, in full, as sent";label\n"a, b";x\n'))
    assert list(table.rows()) == [{"text, in full, as sent": "a, b", "label": "x"}]


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0b", "\x1c"])
def test_unicode_line_separators_are_text_not_line_ends(tmp_path: Path, separator: str) -> None:
    # JSON itself forbids raw control characters in strings, so \x0b and \x1c can only come in CSV.
    wanted = [{"text": f"a{separator}b", "label": "x"}]
    if separator in "\u2028\x85":
        line = f'{{"text": "a{separator}b", "label": "x"}}\n'
        assert list(read_table(written(tmp_path, line)).rows()) == wanted
    assert list(read_table(written(tmp_path, f"text,label\na{separator}b,x\n")).rows()) == wanted


def test_json_values_become_text_and_missing_keys_stay_missing(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, '{"a": 1, "b": null}\n{"a": {"k": ["é"]}, "c": true, "d": NaN}\n'))
    assert table.columns == ("a", "b", "c", "d")
    assert list(table.rows()) == [{"a": "1", "b": ""}, {"a": '{"k": ["é"]}', "c": "true", "d": ""}]


def test_a_file_without_header_keeps_its_first_row(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "ham\tSee you\nspam\tWin now\nham\tOn my way\nham\tOk\n", "sms.tsv"))
    assert (len(table), table.columns) == (4, ("column 1", "column 2"))
    assert "no header" in table.notes[0]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("text\nfirst, with a comma\nsecond\n", ["first, with a comma", "second"]),
        ('"text"\n"first, with\na line end"\nsecond\n', ["first, with\na line end", "second"]),
    ],
)
def test_a_lone_column_is_read_line_by_line(tmp_path: Path, content: str, rows: list[str]) -> None:
    table = read_table(written(tmp_path, content))
    assert table.columns == ("text",)
    assert [row["text"] for row in table.rows()] == rows


def test_a_first_line_with_many_words_is_a_row(tmp_path: Path) -> None:
    long = "I have been waiting for my parcel since last week and nobody answers my letters"
    table = read_table(written(tmp_path, f"{long},delivery\nthe lamp is broken,technical\n"))
    assert list(table.head(1)[0].values()) == [long, "delivery"]
    assert any("no header" in note for note in table.notes)


def test_a_large_table_goes_to_disk_and_is_mapped_the_second_time(tmp_path: Path) -> None:
    path, cache = tmp_path / "large.jsonl", tmp_path / "cache"
    with path.open("w") as out:
        for n in range(40_000):
            more = {"late": "x"} if n > 30_000 else {}
            out.write(json.dumps({"text": f"{n} " + "word " * 120, "label": str(n % 3), **more}) + "\n")
            if n % 1000 == 0:
                out.write('{"text": \n')
    first = read_table(path, cache)
    [folder] = cache.iterdir()
    made = (folder / "about.json").stat().st_mtime_ns
    for table in (first, read_table(path, cache)):
        assert (len(table), len(table.aside_rows), table.columns) == (40_000, 40, ("text", "label", "late"))
        assert [one.row for one in table.set_aside] == list(table.aside_rows)
        assert table.row(1)["text"].startswith("0 ")
        assert table.row(40_040)["text"].startswith("39999 ") and table.row(40_040)["late"] == "x"
        assert "late" not in table.row(1)
        assert sum(1 for _ in table.rows()) == 40_000
    assert (folder / "about.json").stat().st_mtime_ns == made
    path.write_text('{"a": "b"}\n')
    assert len(read_table(path, cache)) == 1


def test_a_large_file_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    path, cache = tmp_path / "large.csv", tmp_path / "cache"
    path.write_text("text,label\n" + f"{'word ' * 100},x\n" * 40_000 + "short\n" * 40_001)
    with pytest.raises(
        DataError, match=r"row 40001 \(line 40002\) has 1 field, .*; 40,001 of 80,001 rows cannot be read"
    ):
        read_table(path, cache)
    assert list(cache.iterdir()) == []


def test_many_rows_are_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    with path.open("w") as out:
        out.write("text,label\n")
        out.writelines(f"{'word ' * 60}{n},a\n" for n in range(300_000))  # 90 MB
    code = (
        "import resource, sys; from pathlib import Path; from trainers.reading import read_table\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(len(read_table(Path(sys.argv[1]), Path(sys.argv[2]))))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "cache")], capture_output=True, text=True, check=True
    )
    rows, mebibytes = map(int, done.stdout.split())
    assert rows == 300_000
    assert mebibytes < 150
