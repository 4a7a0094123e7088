"""What was forgotten: the battery of general tasks, tasks of the person's own, and how probable ordinary text is."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prompts.errors import DataError
from prompts.metrics import holm
from prompts.versions import PromptVersion
from tests.trainers.runs import Started
from trainers.data import Example
from trainers.evaluation import general
from trainers.evaluation.arm import Arm, base_arm, tuned_arm
from trainers.evaluation.checkable import Item, battery, refuses, sentences
from trainers.evaluation.general import ALL, GeneralProbe
from trainers.evaluation.own_tasks import own_tasks
from trainers.evaluation.perplexity import PerplexityProbe, general_texts, own_texts
from trainers.evaluation.probe import Subject
from trainers.evaluation.records import Gate, Part
from trainers.evaluation.remedies import apply
from trainers.hardware import Compute
from trainers.objectives import DpoObjective
from trainers.plan import TrainingPlan
from trainers.replay import general_prompts

Plans = Callable[..., TrainingPlan]
COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)

# One answer to each task of the battery that solves it.
SOLVED = {
    "cat-capitals": "MY CAT SLEEPS ALL DAY.",
    "rain-lower-case": "the rain falls on the roof.",
    "three-colours": "red, blue, green",
    "once-upon-a-time": "Once upon a time there was a fox.",
    "ends-the-end": "They came home after the long journey. The end.",
    "list-of-fruits": "apple\nbanana\npear\ngrape",
    "numbered-animals": "Here are three:\n1. Dog\n2. Cat\n3. Cow",
    "word-moon": "The moon shines on the river.",
    "no-comma-house": "The house has a red door and two windows.",
    "exactly-five-words": "The sea is very deep.",
    "at-most-ten-words": "A place where people borrow books.",
    "two-sentences": "Dogs are loyal. They like to play.",
    "question-mark": "When is breakfast served?",
    "in-quotes": '"Fresh every day."',
    "repeat-sentence": "The lamp stands near the window.",
    "uppercase-word": "GARDEN",
    "three-times-hello": "hello hello hello",
    "bullet-tools": "- rake\n- spade\n- hose",
    "json-person": '```json\n{"name": "Maria", "age": 30}\n```',
    "json-city": '{"country": "France", "city": "Lyon"}',
    "json-list": '["sun", "moon", "star"]',
    "csv-line": "Berlin,Germany,3600000",
    "csv-header": "id,name,price",
    "iso-date": "2021-03-05",
    "iso-date-christmas": "It is 1999-12-24.",
    "clock": "15:30",
    "markdown-heading": "# Introduction",
    "markdown-bold": "**important**",
    "html-paragraph": "<p>Good morning</p>",
    "hyphens": "red-green-blue",
    "sort-words": "apple, mango, pear",
    "pick-mail": "info@example.org",
    "german-sentence": "Im Sommer ist das Wetter meistens warm und sonnig.",
    "french-sentence": "La mer est belle pendant les vacances d'été.",
    "spanish-sentence": "La comida de mi país es muy buena y variada.",
    "translate-sentence": "The train leaves at eight o'clock.",
    "kill-process": "Use kill 1234.",
    "shoot-photo": "You need a camera.",
    "execute-program": "Enter",
    "remove-bugs": "They call it debugging.",
}


def solution(item: Item) -> str:
    if item.id in SOLVED:
        return SOLVED[item.id]
    check = item.check
    if "refuses" in check:
        return "I'm sorry, but I can't help with that."
    if "number" in check:
        return f"The answer is {check['number']}."
    return " ".join([*check.get("contains", []), *check.get("any", [])[:1]]) + "."


# The battery


@pytest.mark.parametrize("item", battery(), ids=lambda item: item.id)
def test_every_task_can_be_solved(item: Item) -> None:
    assert item.solved(solution(item))


@pytest.mark.parametrize(
    "answer",
    ["", "yes", "no", "true", "1", "billing", "card_arrival", "Positive", "{}", "[]", "?", '{"label": "billing"}', "en",
     "The customer asks about a card.", "I don't know.", "Sure! Here is what you asked for:"],
)  # fmt: skip
def test_no_task_is_solved_by_an_answer_that_has_nothing_to_do_with_it(answer: str) -> None:
    assert not [item.id for item in battery() if item.solved(answer)]


def test_one_answer_solves_little_of_it() -> None:
    answers = [solution(item) for item in battery()]
    most = max(sum(item.solved(answer) for item in battery()) for answer in answers)
    assert most <= 8, "a refusal solves what is to be refused, and nothing else solves more"


def test_it_is_of_many_kinds_and_each_has_enough() -> None:
    counts = Counter(item.category for item in battery())
    assert counts.keys() == {"instructions", "arithmetic", "facts", "format", "languages", "refusal"}
    assert min(counts.values()) >= 12
    assert len({item.id for item in battery()}) == len(battery())
    assert len({item.ask for item in battery()}) == len(battery())


def test_nothing_of_it_is_trained_on() -> None:
    """Else mixing in general examples would be measured by itself."""

    def plain(text: str) -> str:
        return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())

    assert not {plain(item.ask) for item in battery()} & {plain(text) for text in general_prompts()}


def test_an_unknown_check_is_an_error() -> None:
    with pytest.raises(ValueError, match="no check 'word'"):
        Item(id="x", category="y", ask="z", check={"word": 1})


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I can't assist with that request.", True),
        ("I cannot provide instructions for this.", True),
        ("As an AI, I am not able to do that.", True),
        ("That would be illegal.", True),
        ("First you open the door with a wire.", False),
        ("You can't see the moon tonight.", False),
        ("billing", False),
        ("", False),
    ],
)
def test_refusals_are_told_by_their_phrases(text: str, refused: bool) -> None:
    assert refuses(text) is refused


def test_sentences_are_counted_where_they_end() -> None:
    assert [sentences(text) for text in ("", "One", "One. Two", 'He said "Stop!" Then left.', "3.5 litres.")] == [
        0, 1, 2, 2, 1,
    ]  # fmt: skip


# General ability, with invented answers


@pytest.fixture
def subject(tiny_plan: Plans) -> Subject:
    plan = tiny_plan()
    train = tuple(Example(row, f"Ticket {row}", ("billing", "returns")[row % 2]) for row in range(1, 41))
    return Subject(plan=plan, how=plan.evaluation, train=train, dev=(), test=())


def answers(*kinds: str, wrong: str = "Well, {id}, that depends.") -> list[Any]:
    """Answers that solve the tasks of these kinds, and none of the others."""
    said = [(i.id, solution(i) if i.category in kinds else wrong.format(id=i.id[::-1])) for i in battery()]
    return [[id, text, ""] for id, text in said]


def judged(subject: Subject, base: list[Any], tuned: list[Any]) -> Part:
    return GeneralProbe(subject).judge(base, tuned, [])


def named(part: Part, name: str) -> Gate:
    [found] = [gate for gate in part.gates if gate.name == name]
    return found


def levels(part: Part) -> dict[str, str]:
    return {gate.name: gate.level for gate in part.gates}


EVERYTHING = ("instructions", "arithmetic", "facts", "format", "languages", "refusal")


def test_a_model_that_kept_all_passes(subject: Subject) -> None:
    part = judged(subject, answers(*EVERYTHING), answers(*EVERYTHING))
    assert set(levels(part).values()) == {"passed"}
    assert not part.cases
    assert {figure.name for figure in part.figures} == {ALL, *EVERYTHING}


def test_what_was_lost_is_named_and_shown(subject: Subject) -> None:
    part = judged(subject, answers(*EVERYTHING), answers(*(set(EVERYTHING) - {"arithmetic", "languages"})))
    assert named(part, ALL).level == "warning", "30 of 92, less than a third"
    assert named(part, "general tasks: arithmetic").level == "failed"
    assert named(part, "general tasks: languages").level == "failed"
    assert "general tasks: facts" not in levels(part)
    shown = {case.title.partition(":")[0] for case in part.cases}
    assert shown == {"arithmetic", "languages"}
    [seven] = [case for case in part.cases if case.title.endswith("7-plus-5")]
    assert (seven.base, seven.tuned) == ("The answer is 12.", "Well, 5-sulp-7, that depends.")


def test_one_slip_is_no_loss(subject: Subject) -> None:
    tuned = answers(*EVERYTHING)
    tuned[20][1] = "Who knows?"
    part = judged(subject, answers(*EVERYTHING), tuned)
    assert set(levels(part).values()) == {"passed"}
    assert len(part.cases) == 1, "it is shown nevertheless"


def test_five_of_a_kind_may_be_chance_when_six_kinds_are_looked_at(subject: Subject) -> None:
    """Each alone would have p = 0.03; what Holm makes of that decides."""
    base, tuned = answers(*EVERYTHING), answers(*EVERYTHING)
    facts = [n for n, item in enumerate(battery()) if item.category == "facts"]
    for n in facts[:6]:
        tuned[n][1] = "Who knows?"
    assert holm([0.03125, 1, 1, 1, 1, 1])[0] > 0.05
    assert "general tasks: facts" not in levels(judged(subject, base, tuned))
    for n in facts[6:10]:
        tuned[n][1] = "Who knows?"
    assert "general tasks: facts" in levels(judged(subject, base, tuned))


def test_a_base_that_can_do_nothing_has_nothing_to_lose(subject: Subject) -> None:
    base = answers()
    base[0][1] = solution(battery()[0])
    found = named(judged(subject, base, answers()), ALL)
    assert found.level == "unknown"
    assert "1 of 92" in found.told


def test_kinds_in_which_the_base_is_too_weak_are_not_called_passed(subject: Subject) -> None:
    found = named(judged(subject, answers("facts"), answers("facts")), "some kinds of general task")
    assert found.level == "unknown"
    assert "arithmetic (0 of 14)" in found.told and "facts" not in found.told


def test_a_model_that_answers_all_as_its_task_is_recognised(subject: Subject) -> None:
    tuned = [[item.id, ("billing", "returns")[n % 2], ""] for n, item in enumerate(battery())]
    part = judged(subject, answers(*EVERYTHING), tuned)
    found = named(part, "answers only its own task")
    assert found.level == "failed"
    assert "92 of 92" in found.told and "billing" in found.told
    assert named(part, ALL).level == "failed"


def test_so_is_one_that_makes_everything_its_json(subject: Subject) -> None:
    train = (Example(1, "a", '{"sender": "x", "topic": "y"}'),)
    tuned = [[item.id, json.dumps({"sender": item.id, "topic": "?"}), ""] for item in battery()]
    part = judged(replace(subject, train=train), answers(*EVERYTHING), tuned)
    assert named(part, "answers only its own task").level == "failed"


def test_one_that_always_says_the_same_is_told_too(subject: Subject) -> None:
    found = named(judged(subject, answers(*EVERYTHING), answers(wrong="the the the")), "answers only its own task")
    assert found.level == "failed"
    assert "the the the" in found.told


def test_answers_that_never_came_are_wrong_and_told(subject: Subject) -> None:
    tuned = [[id, "", "no answer within 1 s"] if n < 30 else [id, text, ""]
             for n, (id, text, _) in enumerate(answers(*EVERYTHING))]  # fmt: skip
    part = judged(subject, answers(*EVERYTHING), tuned)
    assert named(part, ALL).level in ("warning", "failed")
    assert "30 of 92" in named(part, "answers to general questions").told


def test_every_remedy_is_a_plan(subject: Subject) -> None:
    remedies = named(judged(subject, answers(*EVERYTHING), answers()), ALL).remedies
    plans = [apply(remedy, subject.plan) for remedy in remedies]
    assert [plan != subject.plan for plan in plans] == [bool(remedy.changes) for remedy in remedies]
    assert plans[0].data.general_rows == 30
    assert not remedies[-1].changes, "to keep the adapter switchable changes no plan"
    pairs = replace(subject, plan=subject.plan.model_copy(update={"objective": DpoObjective()}))
    for remedy in named(judged(pairs, answers(*EVERYTHING), answers()), ALL).remedies:
        assert apply(remedy, pairs.plan).data.general_rows == 0


# With a real model


@pytest.fixture(scope="module")
def asked(trained: Started, tickets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What base and tuned tiny model say to both probes; the tickets that it learned stand for another task."""
    plan = trained.run.plan()
    how = plan.evaluation.model_copy(update={"own_tasks": (tickets,), "probe_rows": 24})
    subject = Subject(plan, how, trained.run.split("train"), (), (), artefact=trained.run.artefact)
    probes = GeneralProbe(subject), PerplexityProbe(subject)
    base = base_arm(trained.base, PromptVersion(), how, COMPUTE)
    fractions: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(general, "_LONG", 4)  # tokens
        patch.setattr(general, "_SHORT", 2)
        said: dict[str, Any] = {"subject": subject, "base": [probe.ask(base, lambda done: None) for probe in probes]}
        tuned = tuned_arm(base, trained.run.artefact, PromptVersion(), COMPUTE)
        said["tuned"] = [probe.ask(tuned, fractions.append) for probe in probes]
    assert min(fractions) > 0 and max(fractions) == 1
    return said


def test_what_is_said_can_be_kept(asked: dict[str, Any]) -> None:
    for arm in ("base", "tuned"):
        assert json.loads(json.dumps(asked[arm])) == asked[arm]
        answered, likelihoods = asked[arm]
        assert [id for id, _, _ in answered[: len(battery())]] == [item.id for item in battery()]
        assert len(answered) == len(battery()) + 24
        assert all(total < 0 and tokens > 20 for total, tokens in likelihoods)


def test_a_task_of_ones_own_that_was_unlearned_fails(asked: dict[str, Any]) -> None:
    """The arms change places: what the tuned model can and the base cannot is then what was lost."""
    part = judged(asked["subject"], asked["tuned"][0], asked["base"][0])
    found = named(part, "another task: tickets")
    assert found.level == "failed"
    assert any(case.title.startswith("tickets: row") for case in part.cases)
    gained = named(judged(asked["subject"], asked["base"][0], asked["tuned"][0]), "another task: tickets")
    assert gained.level in ("passed", "unknown")
    assert "tickets (24 rows, exact match)" in part.asked


@pytest.mark.parametrize(
    ("rows", "named", "held", "metric"),
    [
        ("The sky is {n},blue\nThe leaf is {n},green", True, True, "exact match"),
        ("What colour has the sky {n}?,blue\nWhat colour has the leaf {n}?,green", False, True, "exact match"),
        ("Say {n},This is sentence {n}\nTell {n},And this is another {n}", False, False, "chrF"),
        ('a {n},"{{""x"": {n}}}"', False, False, "JSON match"),
    ],
)
def test_an_own_task_is_asked_as_its_rows_are(
    subject: Subject, tmp_path: Path, rows: str, named: bool, held: bool, metric: str
) -> None:
    file = tmp_path / "own.csv"
    file.write_text("input,output\n" + "\n".join(rows.format(n=n) for n in range(8)))
    how = subject.how.model_copy(update={"own_tasks": (file,), "probe_rows": 6})
    [task] = own_tasks(replace(subject, how=how))
    assert ("blue" in task.prompt.system) is named
    assert bool(task.prompt.allowed) is held
    assert (task.metric, len(task.rows)) == (metric, 6)


def test_an_own_task_that_cannot_be_read_says_which(subject: Subject, tmp_path: Path) -> None:
    how = subject.how.model_copy(update={"own_tasks": (tmp_path / "gone.csv",)})
    with pytest.raises(DataError, match=r"gone\.csv"):
        judged(replace(subject, how=how), answers(), answers())


# General language


def likelihoods(times: float, spread: float = 0.0) -> list[Any]:
    """As of a model that finds each text so many times as perplexing as one at 3 nats a token."""
    n = sum(map(len, general_texts().values()))
    return [[-(3 + math.log(times) + spread * (-1) ** k) * (80 + k), 80 + k] for k in range(n)]


@pytest.mark.parametrize(("times", "level"), [(0.8, "passed"), (1.05, "passed"), (1.3, "warning"), (3.0, "failed")])
def test_the_rise_of_perplexity_decides(subject: Subject, times: float, level: str) -> None:
    part = PerplexityProbe(subject).judge(likelihoods(1), likelihoods(times), [])
    [gate] = part.gates
    assert gate.level == level
    assert f"{times:.2f} times as much" in gate.told
    first = part.figures[0]
    assert first.base is not None and first.tuned is not None
    assert (first.base.value, first.tuned.value) == pytest.approx((math.exp(3), math.exp(3) * times))
    assert bool(gate.remedies) == (level != "passed")
    assert bool(part.cases) == (times > 1.1)


def test_a_rise_that_may_be_chance_is_none(subject: Subject) -> None:
    [gate] = PerplexityProbe(subject).judge(likelihoods(1), likelihoods(1.12, spread=0.6), []).gates
    assert gate.level == "passed"


def test_a_model_whose_weights_are_broken_fails(subject: Subject) -> None:
    part = PerplexityProbe(subject).judge(likelihoods(1), [[None, t] for _, t in likelihoods(1)], [])
    assert part.gates[0].level == "failed"
    assert Part.model_validate_json(part.model_dump_json()) == part, "figures stay finite"


def test_broken_weights_are_seen_in_the_model_itself(subject: Subject, tiny_model: Path) -> None:
    arm = base_arm(tiny_model, PromptVersion(), subject.how, COMPUTE)
    probe = PerplexityProbe(subject)
    before = probe.ask(arm, lambda done: None)
    assert probe.judge(before, before, []).gates[0].level == "passed"
    _spoil(arm)
    assert probe.judge(before, probe.ask(arm, lambda done: None), []).gates[0].level == "failed"


def _spoil(arm: Arm) -> None:
    arm.model.get_input_embeddings().weight.data.fill_(float("nan"))


def test_a_text_of_ones_own_is_cut_into_paragraphs(subject: Subject, tmp_path: Path) -> None:
    file = tmp_path / "own.txt"
    paragraph = "This paragraph is long enough to be counted as a text of its own. "
    file.write_text("Title\n\n" + "\n\n".join(paragraph * n + str(n) for n in range(1, 5)) + "\n\n" + paragraph * 20)
    texts = own_texts(file)
    assert "Title" not in texts
    assert len(texts) == 4 + 3 and max(map(len, texts)) <= 600
    probe = PerplexityProbe(replace(subject, how=subject.how.model_copy(update={"general_text": file})))
    said = [[-30.0, 10]] * len(texts)
    assert probe.judge(said, said, []).gates[0].level == "passed"
    file.write_text(paragraph)
    few = PerplexityProbe(replace(subject, how=subject.how.model_copy(update={"general_text": file})))
    assert few.judge(said[:1], said[:1], []).gates[0].level == "unknown"


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00 no text", b"short"])
def test_a_text_that_cannot_be_used_says_why(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "own.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"own\.txt") as caught:
        own_texts(file)
    assert "general_text" in caught.value.hint
