"""Changes on top of a file: each can be undone, none touches the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompts.errors import DataError
from trainers.data import Example, Mapping
from trainers.dataset import Dataset, load_dataset
from trainers.edits import Action, Edit, edited, keep_edit, next_row

COLUMNS = Mapping(input="text", output="label")
ROWS = [
    ("write to ann@example.org", "a"),
    ("zero\u200bwidth", "b"),
    ("third", "c"),
    ("nobody answered this", ""),
    ("", "an answer to nothing"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "data.csv"
    file.write_text("text,label\n" + "".join(f'"{text}","{label}"\n' for text, label in ROWS), encoding="utf-8")
    return file


def rows(*numbers: int, output: str = "") -> list[Example]:
    return [Example(row=number, input="", output=output) for number in numbers]


def seen(data: Dataset) -> dict[int, tuple[str, str]]:
    return {e.row: (e.input, e.output) for e in data.examples}


def edit(path: Path, action: Action, *numbers: int, output: str = "") -> Edit:
    return keep_edit(path.parent / "edits", action, "words", rows(*numbers, output=output))


def test_without_changes_the_rows_are_the_files(path: Path) -> None:
    data = load_dataset(path, COLUMNS)
    assert seen(data) == {n: ROWS[n - 1] for n in (1, 2, 3)}
    assert [e.row for e in data.unanswered] == [4]
    assert data.last_row == 5


@pytest.mark.parametrize(
    ("action", "number", "output", "wanted"),
    [
        ("drop_rows", 1, "", None),
        ("mask", 1, "", ("write to [EMAIL]", "a")),
        ("clean", 2, "", ("zerowidth", "b")),
        ("answer", 3, "z", ("third", "z")),
        ("answer", 4, "d", ("nobody answered this", "d")),
    ],
)
def test_each_action_changes_its_rows_alone(
    path: Path, action: Action, number: int, output: str, wanted: tuple[str, str] | None
) -> None:
    before = path.read_bytes()
    data = load_dataset(path, COLUMNS, [edit(path, action, number, output=output)])
    assert seen(data).get(number) == wanted
    plain = seen(load_dataset(path, COLUMNS))
    assert {k: v for k, v in seen(data).items() if k != number} == {k: v for k, v in plain.items() if k != number}
    assert path.read_bytes() == before


def test_changes_hold_in_their_order_and_any_of_them_can_be_taken_back(path: Path) -> None:
    first, second, drop = (
        edit(path, "answer", 3, output="x"),
        edit(path, "answer", 3, output="y"),
        edit(path, "drop_rows", 1),
    )
    assert seen(load_dataset(path, COLUMNS, [first, drop, second]))[3] == ("third", "y")
    without_second = seen(load_dataset(path, COLUMNS, [first, drop]))
    assert without_second == {2: ROWS[1], 3: ("third", "x")}
    assert seen(load_dataset(path, COLUMNS, [second]))[1] == ROWS[0]


def test_added_rows_have_numbers_of_their_own_and_can_be_changed(path: Path) -> None:
    added = [Example(row=6, input="new", output="a", origin="written"), Example(row=7, input="typed", output="b")]
    addition = keep_edit(path.parent, "add_rows", "two more", added)
    assert addition.count == 2
    data = load_dataset(path, COLUMNS, [addition, edit(path, "drop_rows", 7)])
    assert data.examples[-1] == added[0]
    assert data.rows[1] == added, "places are drawn before anything is dropped"
    assert next_row(5, [addition]) == 8
    assert next_row(5, [edit(path, "drop_rows", 12)]) == 13, "a number that a change speaks of is never given again"


def test_a_change_whose_file_is_gone_says_so(path: Path) -> None:
    gone = edit(path, "drop_rows", 1)
    gone.rows.unlink()
    with pytest.raises(DataError, match="'words' cannot be read") as caught:
        load_dataset(path, COLUMNS, [gone])
    assert "Undo" in caught.value.hint


def test_the_same_change_twice_is_one_file(path: Path) -> None:
    assert edit(path, "drop_rows", 1, 2) == edit(path, "drop_rows", 1, 2)
    assert list(edited([], [edit(path, "drop_rows", 1)])) == []


def test_a_file_without_inputs_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("text,label\n,a\n,b\n")
    with pytest.raises(DataError, match="no row with both 'text' and 'label'"):
        load_dataset(file, COLUMNS)
