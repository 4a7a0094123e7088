"""Reading people's files, and dividing their rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from pydantic import ValidationError

from prompts.errors import DataError
from trainers import reading
from trainers.data import (
    Example,
    Mapping,
    Shares,
    Splits,
    guess_mapping,
    labels_of,
    load_examples,
    normal,
    read_examples,
    split,
)
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


def test_one_column_cannot_be_mapped() -> None:
    with pytest.raises(DataError, match=r"data.csv has one column \(text\)"):
        guess_mapping(table_of([{"text": "a"}]))


def test_a_missing_mapped_column_is_named_with_those_that_there_are() -> None:
    with pytest.raises(DataError) as caught:
        read_examples(table_of([{"ticket": "a", "team": "b"}]), Mapping(input="ticket", output="label"))
    assert "no column 'label' for the output" in caught.value.message
    assert "ticket, team" in caught.value.hint


def test_examples_keep_their_row_number_and_drop_unfilled_rows(tmp_path: Path) -> None:
    path = written(tmp_path, "text,label\n a ,x \n,y\nb,\n\nc,z\n")
    examples = load_examples(path, Mapping(input="text", output="label"))
    assert examples == [Example(row=1, input=" a ", output="x"), Example(row=4, input="c", output="z")]


def test_a_file_without_one_usable_row_is_refused() -> None:
    with pytest.raises(DataError, match=r"no row with both 'text' and 'label'"):
        read_examples(table_of([{"text": "a", "label": " "}]), Mapping(input="text", output="label"))


def examples_of(**counts: int) -> list[Example]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [Example(row=i, input=f"input {i}", output=label) for i, label in enumerate(labels, start=1)]


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


def parts(splits: Splits) -> dict[str, tuple[Example, ...]]:
    return {name: getattr(splits, name) for name in ("train", "dev", "test", "arena")}


def test_a_split_is_seeded() -> None:
    examples = examples_of(a=60, b=40)
    assert split(examples, Shares(), 7) == split(examples, Shares(), 7)
    assert split(examples, Shares(), 7) != split(examples, Shares(), 8)


@pytest.mark.parametrize(
    "counts", [{"a": 62, "b": 56, "c": 54, "d": 48, "e": 46, "f": 34}, {"a": 90, "b": 10}, {"a": 7}]
)
def test_shares_hold_within_and_across_labels(counts: dict[str, int]) -> None:
    examples, shares = examples_of(**counts), Shares()
    divided = parts(split(examples, shares, 0))
    assert sorted(e.row for part in divided.values() for e in part) == [e.row for e in examples], "all, each once"
    for name, share in shares.model_dump().items():
        assert len(divided[name]) == pytest.approx(share * len(examples), abs=1)
        for label, count in counts.items():
            here = Counter(e.output for e in divided[name])[label]
            assert here == pytest.approx(share * count, abs=2), f"{label} in {name}"


def test_rows_with_the_same_input_never_straddle_two_splits() -> None:
    said = [f"Question {i % 40}" for i in range(200)]
    shown = [text.upper() if i % 3 else f"  {text}\n" for i, text in enumerate(said)]
    examples = [Example(row=i, input=text, output=str(i % 2)) for i, text in enumerate(shown)]
    inputs = [{normal(e.input) for e in part} for part in parts(split(examples, Shares(), 3)).values()]
    assert all(inputs)
    assert sum(len(part) for part in inputs) == len(set.union(*inputs)) == 40


def test_training_rows_are_in_random_order_so_that_a_prefix_is_a_fair_sample() -> None:
    train = split(examples_of(a=100, b=100), Shares(), 0).train
    assert 20 <= Counter(e.output for e in train[:60])["a"] <= 40


@pytest.mark.parametrize(
    ("shares", "sizes"),
    [
        (Shares(train=1, dev=0, test=0, arena=0), (50, 0, 0, 0)),
        (Shares(train=0.8, dev=0, test=0.2, arena=0), (40, 0, 10, 0)),
    ],
)
def test_a_share_of_zero_gets_nothing(shares: Shares, sizes: tuple[int, ...]) -> None:
    assert tuple(len(part) for part in parts(split(examples_of(a=25, b=25), shares, 0)).values()) == sizes


@pytest.mark.parametrize(
    "shares",
    [
        {"train": 0.5, "dev": 0.1, "test": 0.1, "arena": 0.1},
        {"train": 1.1, "dev": -0.1, "test": 0, "arena": 0},
        {"train": 0, "dev": 0, "test": 1, "arena": 0},
    ],
)
def test_shares_that_do_not_add_up_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="sum to 1"):
        Shares.model_validate(shares)


def test_the_sample_file_reads_and_divides() -> None:
    table = read_table(Path("assistant/samples/ticket_triage.csv"))
    mapping = guess_mapping(table)
    examples = read_examples(table, mapping)
    assert (mapping.input, mapping.output, len(examples)) == ("ticket", "team", 300)
    assert labels_of(examples) == ("account", "billing", "delivery", "feedback", "returns", "technical")
