"""Episodes: what stands in them, that the seed decides them, and when a pool is too small for them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from prompts.errors import DataError
from prompts.versions import PromptVersion
from trainers.data import Example, Mapping
from trainers.pool import Episode, Task, in_context_rows, own_task, read_pool, sample_episodes
from trainers.strategies.meta import MetaLoraStrategy, PoolTask

BANK = Task(
    "bank", tuple((f"{label} number {i}", label) for label in ("card", "loan", "rate", "fee") for i in range(6))
)
HOME = Task("home", tuple((f"{label} number {i}", label) for label in ("lamp", "oven", "door") for i in range(6)))
OWN = [Example(i, f"{label} text {i}", label) for i, label in enumerate(["a", "b", "c"] * 5)]


def draw(tasks: list[Task], **changed: Any) -> list[Episode]:
    return sample_episodes(tasks, **{"ways": 3, "shots": 2, "queries": 3, "count": 20, "seed": 0, **changed})


def test_an_episode_has_so_many_rows_of_each_label_and_no_input_twice() -> None:
    for episode in draw([BANK, HOME]):
        assert len(set(episode.labels)) == 3
        assert Counter(label for _, label in episode.support) == dict.fromkeys(episode.labels, 2)
        assert Counter(label for _, label in episode.query) == dict.fromkeys(episode.labels, 3)
        rows = [*episode.support, *episode.query]
        assert len({given for given, _ in rows}) == len(rows)
        assert set(rows) <= set({"bank": BANK, "home": HOME}[episode.task].rows)


def test_every_task_and_label_has_its_turn() -> None:
    episodes = draw([BANK, HOME])
    assert {episode.task for episode in episodes} == {"bank", "home"}
    assert {label for episode in episodes for label in episode.labels} == {
        "card",
        "loan",
        "rate",
        "fee",
        "lamp",
        "oven",
        "door",
    }


def test_the_seed_decides_and_more_episodes_change_none_of_the_first() -> None:
    assert draw([BANK, HOME]) == draw([BANK, HOME])
    assert draw([BANK, HOME], count=5) == draw([BANK, HOME])[:5]
    assert draw([BANK, HOME], seed=1) != draw([BANK, HOME])


def test_the_prompt_names_the_labels_unless_another_is_given() -> None:
    [episode] = draw([HOME], count=1)
    [(messages, answer), *_] = episode.shots()
    assert messages[0].content.endswith(f"{', '.join(episode.labels)}.")
    assert (messages[-1].content, answer) == episode.support[0]
    [other] = draw([HOME], count=1, prompt=lambda labels: PromptVersion(template="/".join(labels) + ": {{ input }}"))
    [(messages, answer), *_] = other.asked()
    assert [message.content for message in messages] == [f"{'/'.join(other.labels)}: {other.query[0][0]}"]
    assert answer == other.query[0][1]


def test_the_same_input_counts_once() -> None:
    doubled = Task("home", (*HOME.rows, *((f" {given.upper()} ", "lamp") for given, _ in HOME.rows)))
    assert draw([doubled]) == draw([HOME])


@pytest.mark.parametrize(
    ("tasks", "changed", "message", "hint"),
    [
        ([], {}, "holds no task", "own labels"),
        ([BANK, HOME], {"ways": 4}, "'home' has 3 labels, 3 of them with at least 5", "ways to at most 3"),
        ([BANK], {"shots": 4}, "'bank' has 4 labels, 0 of them with at least 7 different", "lower shots"),
        ([Task("one", (("x", "y"),))], {}, "'one' has 1 label,", "add rows"),
    ],
)
def test_a_pool_that_is_too_small_says_where_and_what_to_do(
    tasks: list[Task], changed: dict[str, int], message: str, hint: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        draw(tasks, **changed)
    assert hint in caught.value.hint


def test_held_out_labels_never_stand_in_an_own_pool() -> None:
    task = own_task([*OWN, Example(99, "no answer", "")], held_out=["b"])
    assert {label for _, label in task.rows} == {"a", "c"}
    assert {label for episode in draw([task], ways=2, queries=1) for label in episode.labels} == {"a", "c"}


def test_own_labels_that_are_too_few_or_unknown_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 labels, but 1 of 3 are left with 2 held out"):
        own_task(OWN, held_out=["a", "b"])
    with pytest.raises(DataError, match="no label 'z'") as caught:
        own_task(OWN, held_out=["z"])
    assert "a, b, c" in caught.value.hint


def test_a_pool_is_read_from_files(tmp_path: Path) -> None:
    file = tmp_path / "mails.csv"
    file.write_text("mail,team\nPay me,billing\nIt broke,technical\nNobody knows,\n")
    columns = Mapping(input="mail", output="team")
    rows = (("Pay me", "billing"), ("It broke", "technical"))
    assert read_pool([PoolTask(path=file, columns=columns)]) == [Task("mails", rows)]
    assert read_pool([PoolTask(path=file, columns=columns, name="post")]) == [Task("post", rows)]
    with pytest.raises(DataError, match="no column 'text'"):
        read_pool([PoolTask(path=file, columns=Mapping(input="text", output="team"))])


def test_in_context_rows_show_the_support_as_earlier_turns() -> None:
    [episode] = draw([HOME], count=1)
    rows = in_context_rows(episode)
    assert [(messages[-1].content, answer) for messages, answer in rows] == list(episode.query)
    for messages, _ in rows:
        turns = [message.content for message in messages[1:-1]]
        assert list(zip(turns[::2], turns[1::2], strict=True)) == list(episode.support)


def test_a_strategy_refuses_what_cannot_be_meant() -> None:
    columns = Mapping(input="a", output="b")
    twice = [PoolTask(path=Path("one/rows.csv"), columns=columns), PoolTask(path=Path("two/rows.csv"), columns=columns)]
    with pytest.raises(ValueError, match="called 'rows'"):
        MetaLoraStrategy(pool=tuple(twice))
    with pytest.raises(ValueError, match="Reptile's"):
        MetaLoraStrategy(algorithm="fomaml", outer_rate=0.5)
    assert MetaLoraStrategy().outer == 1.0
    assert MetaLoraStrategy(algorithm="fomaml").outer == 1e-3
    assert MetaLoraStrategy().lora.dropout == 0


def test_neither_pool_nor_strategy_loads_torch() -> None:
    code = "import sys, trainers.pool, trainers.strategies.meta; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
