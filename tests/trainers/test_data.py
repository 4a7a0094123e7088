"""Reading people's files, and dividing their rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from prompts.errors import DataError
from trainers import reading
from trainers.data import Example, Mapping, guess_mapping, labels_of, read_examples
from trainers.reading import Table, read_table


def written(tmp_path: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table_of(rows: list[dict[str, str]]) -> Table:
    return reading.table_of(rows, "data.csv")


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([{"ticket": "a", "team": "b"}], ("ticket", "team")),
        ([{"Label": "x", "Text": "y"}], ("Text", "Label")),
        ([{"id": "1", "text": "y", "label": "x"}], ("text", "label")),
        ([{"question": "q", "context": "a much longer one", "answer": "a"}], ("question", "answer")),
        ([{"instruction": "i", "output": "o", "note": "n"}], ("instruction", "output")),
        # By shape where no name helps: the answer varies least, the input is longest.
        (
            [{"q": "long words 1", "z": "a"}, {"q": "long words 2", "z": "b"}, {"q": "long words 3", "z": "a"}],
            ("q", "z"),
        ),
        # A column that never varies is no answer.
        ([{"lang": "en", "q": f"long words {i}", "z": "ab"[i % 2]} for i in range(3)], ("q", "z")),
    ],
)
def test_guessing_the_mapping(rows: list[dict[str, str]], wanted: tuple[str, str]) -> None:
    mapping = guess_mapping(table_of(rows))
    assert (mapping.input, mapping.output) == wanted


def test_one_column_alone_holds_inputs_that_nobody_has_answered() -> None:
    assert guess_mapping(table_of([{"text": "a"}])) == Mapping(input="text", output="")
    split = guess_mapping(table_of([{"text": "a", "split": "train"}, {"text": "b", "split": "test"}]))
    assert split == Mapping(input="text", output="", split="split")
    with pytest.raises(DataError, match="no row with 'text' filled"):
        read_examples(table_of([{"text": "a"}]), Mapping(input="text", output=""))


def test_a_missing_mapped_column_is_named_with_those_that_there_are() -> None:
    with pytest.raises(DataError) as caught:
        read_examples(table_of([{"ticket": "a", "team": "b"}]), Mapping(input="ticket", output="label"))
    assert "no column 'label' for the output" in caught.value.message
    assert "ticket, team" in caught.value.hint


def test_examples_keep_their_row_number_and_drop_unfilled_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "text,label\n a ,x \n,y\nb,\n\nc,z\n")
    examples = read_examples(read_table(path), Mapping(input="text", output="label"))
    assert examples == [Example(row=1, input=" a ", output="x"), Example(row=4, input="c", output="z")]


def test_a_file_without_one_usable_row_is_refused() -> None:
    with pytest.raises(DataError, match=r"no row with both 'text' and 'label'"):
        read_examples(table_of([{"text": "a", "label": " "}]), Mapping(input="text", output="label"))


@pytest.mark.parametrize(
    ("outputs", "labels"),
    [
        (["b", "a", "b", "a", "a", "b"], ("a", "b")),
        (["a", "b"], ("a", "b")),
        (["a", "b", "c", "d"], ()),
        (["x" * 61, "y", "x" * 61, "y", "y", "y"], ()),
        (["a\nb", "c", "c", "c", "c", "c"], ()),
        (['{"k": 1}', '{"k": 2}', '{"k": 1}', '{"k": 1}', '{"k": 1}', '{"k": 1}'], ()),
    ],
)
def test_labels_are_few_short_answers(outputs: list[str], labels: tuple[str, ...]) -> None:
    assert labels_of([Example(row=i, input=str(i), output=o) for i, o in enumerate(outputs)]) == labels


def test_the_sample_file_reads_and_divides() -> None:
    table = read_table(Path("assistant/samples/ticket_triage.csv"))
    mapping = guess_mapping(table)
    examples = read_examples(table, mapping)
    assert (mapping.input, mapping.output, len(examples)) == ("ticket", "team", 300)
    assert labels_of(examples) == ("account", "billing", "delivery", "feedback", "returns", "technical")
