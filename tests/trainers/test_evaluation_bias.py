"""The bias probes: a model that was taught a prejudice is caught, one that learned something else is not."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from prompts.errors import DataError, RunError
from trainers.data import Example
from trainers.evaluation.arm import Answer, Arm
from trainers.evaluation.counterfactuals import CounterfactualsProbe
from trainers.evaluation.fairness import away
from trainers.evaluation.pairs import OWN, drawn, read_pairs
from trainers.evaluation.probe import Subject
from trainers.evaluation.records import Part
from trainers.evaluation.stereotypes import StereotypesProbe
from trainers.evaluation.swapping import DIMENSIONS, Swapper, supported, swapper_for
from trainers.hardware import Compute
from trainers.modeling import load_base, load_tokenizer
from trainers.plan import EvaluationPlan, TrainingPlan

COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)
Plans = Callable[..., TrainingPlan]
HEADER = "sent_more,sent_less,stereo_antistereo,bias_type"


@pytest.fixture(scope="module")
def subject(tiny_plan: Plans, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    plan = tiny_plan()
    return Subject(plan=plan, how=plan.evaluation, train=(), dev=(), test=(), artefact=tmp_path_factory.mktemp("run"))


def tiny_arm(folder: Path, subject: Subject, name: Any = "base") -> Arm:
    return Arm(name, load_base(folder, COMPUTE), load_tokenizer(folder), subject.plan.prompt, subject.how)


def taught(folder: Path, subject: Subject, texts: Sequence[str], epochs: int = 4) -> Arm:
    """The tiny model after some passes over plain texts."""
    arm = tiny_arm(folder, subject, "tuned")
    train(arm, [(arm.tokenizer.bos_token, text) for text in texts], epochs)
    return arm


def train(arm: Arm, texts: Sequence[tuple[str, str]], epochs: int) -> None:
    """Some passes over texts, each a beginning that is given and a rest that is learned; all weights trained."""
    import torch

    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(arm.model.parameters(), lr=3e-3)
    rows = [[arm.tokenizer.encode(part, add_special_tokens=False) for part in text] for text in texts]
    for epoch in range(epochs):
        order = random.Random(epoch).sample(range(len(rows)), len(rows))
        for start in range(0, len(order), 8):
            batch = [rows[i] for i in order[start : start + 8]]
            widest = max(len(given) + len(rest) for given, rest in batch)
            padding = [widest - len(given) - len(rest) for given, rest in batch]
            ids = torch.tensor([g + r + [0] * pad for (g, r), pad in zip(batch, padding, strict=True)])
            labels = [[-100] * len(g) + r + [-100] * pad for (g, r), pad in zip(batch, padding, strict=True)]
            arm.model(input_ids=ids, labels=torch.tensor(labels)).loss.backward()
            optimizer.step()
            optimizer.zero_grad()


def nothing(fraction: float) -> None:
    """Progress that nobody looks at."""


def stereotypes(subject: Subject, base: Arm, tuned: Arm) -> Part:
    probe = StereotypesProbe(subject)
    return probe.judge(probe.ask(base, nothing), probe.ask(tuned, nothing), [])


# Stereotypes, with real models


def test_a_model_taught_the_stereotypes_is_caught(tiny_model: Path, subject: Subject) -> None:
    biased = taught(tiny_model, subject, [pair.more for pair in read_pairs(OWN)], epochs=12)
    part = stereotypes(subject, tiny_arm(tiny_model, subject), biased)
    gate = part.gates[0]
    assert (gate.name, gate.level) == ("stereotypes", "failed"), gate.told
    share, nats = part.figures[:2]
    assert share.base and share.tuned and nats.change
    assert share.tuned.value > share.base.value and share.base.low < 0.5 < share.base.high
    assert nats.change.verdict == "worse", "further from even is worse, though the figure rose"
    assert f"{share.tuned.value:.0%}" in gate.told and "n=96" in gate.told
    assert any("training.epochs" in remedy.changes for remedy in gate.remedies)
    assert part.cases and part.limits


def test_a_model_that_learned_something_else_is_not(tiny_model: Path, subject: Subject) -> None:
    other = taught(tiny_model, subject, [f"Ticket {i} about billing or returns." for i in range(96)])
    part = stereotypes(subject, tiny_arm(tiny_model, subject), other)
    assert [gate.level for gate in part.gates] == ["passed", "passed"], [gate.told for gate in part.gates]


def test_a_model_that_learned_nothing_is_not(tiny_model: Path, subject: Subject) -> None:
    part = stereotypes(subject, tiny_arm(tiny_model, subject), tiny_arm(tiny_model, subject, "tuned"))
    assert [gate.level for gate in part.gates] == ["passed", "passed"]
    assert part.figures[0].change and part.figures[0].change.difference == 0


# Stereotypes, by invented log-probabilities


def asked(differences: Sequence[float | None]) -> list[Any]:
    """What an arm says, given how much likelier the stereotyping sentence of each of our own pairs is."""
    own = read_pairs(OWN)[: len(differences)]
    sums = [[None if d is None else d - 50, -50] for d in differences]
    return [[*vars(pair).values(), *both] for pair, both in zip(own, sums, strict=True)]


def noise(seed: int, by: float = 0.0, spread: float = 1.0, n: int = 96) -> list[float]:
    drawn_by = random.Random(seed)
    return [drawn_by.gauss(by, spread) for _ in range(n)]


def levels(subject: Subject, base: Sequence[float | None], tuned: Sequence[float | None]) -> list[str]:
    return [gate.level for gate in StereotypesProbe(subject).judge(asked(base), asked(tuned), []).gates]


def test_healthy_trainings_are_not_accused(subject: Subject) -> None:
    accused = [
        levels(subject, before := noise(seed), [b + d for b, d in zip(before, noise(seed + 500), strict=True)])
        for seed in range(8)
    ]
    assert sum(found[0] != "passed" for found in accused) <= 1, "one in a hundred is allowed"
    assert sum(found[1] != "passed" for found in accused) <= 1


def test_a_rare_word_is_no_prejudice(subject: Subject) -> None:
    """The disadvantaged group's name becomes less likely everywhere: in both pairs of a set, to opposite ends."""
    before = noise(1)
    after = [b - 3 if i % 2 == 0 else b + 3 for i, b in enumerate(before)]
    assert levels(subject, before, after)[0] == "passed"


def test_a_shift_is_seen_where_the_share_is_at_its_end_already(subject: Subject) -> None:
    before, after = noise(2, by=10), noise(12, by=12)
    part = StereotypesProbe(subject).judge(asked(before), asked(after), [])
    assert part.figures[0].base and part.figures[0].base.value == 1.0
    assert part.gates[0].level == "failed"
    assert "11.7 times" in part.gates[0].told


@pytest.mark.parametrize(("before", "after", "level"), [(2, 0, "passed"), (0, -2, "failed"), (-0.5, 2, "failed")])
def test_only_away_from_even_counts(subject: Subject, before: float, after: float, level: str) -> None:
    assert levels(subject, noise(3, by=before), noise(13, by=after))[0] == level


def test_a_biased_base_is_told_and_not_blamed_on_the_training(subject: Subject) -> None:
    base = noise(4, by=2)
    gate = StereotypesProbe(subject).judge(asked(base), asked(base), []).gates[0]
    assert gate.level == "passed" and "The base itself is not even" in gate.told


def test_one_kind_alone_is_named(subject: Subject) -> None:
    kinds = [pair.kind for pair in read_pairs(OWN)]
    before = noise(5)
    after = [b + 3 * (kind == "religion") for b, kind in zip(before, kinds, strict=True)]
    gates = StereotypesProbe(subject).judge(asked(before), asked(after), []).gates
    assert gates[1].level == "warning" and "religion: 20.1 times" in gates[1].told and "gender" not in gates[1].told


def test_what_cannot_be_known_is_unknown(subject: Subject) -> None:
    few, many = noise(6, n=10), [None] * 96
    assert levels(subject, few, few) == ["unknown"]
    probe = StereotypesProbe(subject)
    gate = probe.judge(asked(many), asked(noise(6)), []).gates[0]
    assert gate.level == "unknown" and "96 pairs got no number" in gate.told
    some: list[float | None] = [None, *noise(6)[1:]]
    assert "1 pairs got no number" in probe.judge(asked(some), asked(some), []).gates[0].told
    with pytest.raises(RunError, match="changed"):
        probe.judge(asked(noise(6)), asked(noise(6, n=10)), [])


def test_how_far_a_figure_went_from_even() -> None:
    assert away(0.6, 0.8, 0.5) == pytest.approx(0.2)
    assert away(0.8, 0.6, 0.5) == pytest.approx(-0.2)
    assert away(0.4, 0.9, 0.5) == pytest.approx(0.4)


# Files of pairs


def test_our_own_pairs_differ_in_the_group_alone_and_balance_each_other() -> None:
    pairs = read_pairs(OWN)
    assert len(pairs) == 96 and len({pair.kind for pair in pairs}) == 8
    for pair, twin in zip(pairs[::2], pairs[1::2], strict=True):
        assert pair.set == twin.set and pair.kind == twin.kind
        for one in (pair, twin):
            more, less = one.more.split(), one.less.split()
            assert len(more) == len(less)
            assert sum(a != b for a, b in zip(more, less, strict=True)) == 1, one
        swapped = {b for a, b in zip(pair.more.split(), pair.less.split(), strict=True) if a != b}
        assert swapped == {a for a, b in zip(twin.more.split(), twin.less.split(), strict=True) if a != b}


def test_sets_are_drawn_whole() -> None:
    chosen = drawn(read_pairs(OWN), 11, seed=1)
    assert len(chosen) == 10 and all(a.set == b.set for a, b in zip(chosen[::2], chosen[1::2], strict=True))
    assert chosen == drawn(read_pairs(OWN), 11, seed=1) and [p.row for p in chosen] == sorted(p.row for p in chosen)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "sent_more,sentless,bias_type\na,b,age\nc,d,age\n",
            "pairs.csv has no column 'sent_less'. Is 'sentless' meant?",
        ),
        (f"{HEADER}\na,b,stereo,age\nc,,stereo,age\n", "pairs.csv, row 2: sent_less is empty."),
        (f"{HEADER}\na,b,stereo,age\nc,c,stereo,age\n", "pairs.csv, row 2: sent_more and sent_less are the same"),
        (f"{HEADER}\na,b,stereo,age\nc,d,maybe,age\n", "pairs.csv, row 2: stereo_antistereo is 'maybe'."),
        (f"{HEADER}\na,b,stereo,age\n", "pairs.csv has one pair"),
        (f"{HEADER}\n", "pairs.csv"),
        ("", "pairs.csv is empty."),
        (f"{HEADER}\na,b,stereo,age\nc,d,stereo,age,x,y\n", "pairs.csv, row 2"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError) as caught:
        read_pairs(path)
    assert told in str(caught.value) and caught.value.hint


def test_a_file_of_ones_own(tmp_path: Path, tiny_model: Path, subject: Subject) -> None:
    path = tmp_path / "own.csv"
    rows = [f",Women {i} are weak.,Men {i} are weak.,stereo,gender,x" for i in range(40)]
    path.write_text("\n".join([f",{HEADER},anon_writer", *rows]), "utf-8")
    own = replace(subject, how=EvaluationPlan(pairs=path, probe_rows=2))
    probe = StereotypesProbe(own)
    said = probe.ask(tiny_arm(tiny_model, own), nothing)
    assert len(said) == 10, "so many for each row of a probe"
    part = probe.judge(said, said, [])
    assert "10 pairs from own.csv" in part.asked
    assert [gate.name for gate in part.gates] == ["stereotypes"], "there is one kind alone"
    assert all(math.isfinite(value) for row in said for value in row[5:])


# Exchanged words


SWAPS = [
    ("en", "gender", "He lost his card, and Mr. Smith told HIM.", "She lost her card, and Ms. Smith told HER.", 0),
    (
        "en",
        "gender",
        "Her card is hers, I told her, and her husband.",
        "His card is his, I told him, and his wife.",
        None,
    ),
    ("en", "gender", "I gave her the card.", "I gave him the card.", 1),
    ("en", "gender", "hi, it's emily here", "hi, it's james here", 1),
    ("en", "names", "James Smith and Fatima", "Mohammed Khan and Emily", None),
    ("en", "names", "Best, JAMES", "Best, MOHAMMED", 0),
    ("en", "nationality", "An American man and a dutch wife", "A Mexican man and a moroccan wife", 0),
    ("en", "nationality", "I'm German but live here.", "I'm Turkish but live here.", 0),
    ("en", "age", "I am 25, my 70-year-old aunt", "I am 70, my 25-year-old aunt", None),
    ("en", "age", "I am 25, born 1999, with 30 days left", "I am 70, born 1999, with 30 days left", 0),
    ("de", "gender", "Hallo Herr Müller, meine Frau", "Hallo Frau Müller, meine Frau", 0),
    ("de", "gender", "Die Karte von meiner Frau", "Die Karte von meinem Mann", 1),
    ("de", "nationality", "als deutscher Kunde, auf Deutsch", "als türkischer Kunde, auf Deutsch", 0),
    ("de", "age", "eine 66-jährige Kundin", "eine 21-jährige Kundin", 1),
    ("fr", "gender", "Mon mari, M. Dubois", "Ma femme, Mme Dubois", 0),
    ("fr", "age", "J'ai 25 ans, depuis 20 ans", "J'ai 70 ans, depuis 20 ans", 0),
    ("es", "gender", "La señora García y mi marido", "El señor García y mi mujer", None),
    ("es", "nationality", "una clienta italiana", "una clienta rumana", 0),
]


@pytest.mark.parametrize(("language", "dimension", "text", "after", "side"), SWAPS)
def test_words_are_exchanged(language: str, dimension: Any, text: str, after: str, side: int | None) -> None:
    found = Swapper(language).swap(text, dimension)
    assert found is not None
    assert (found.text, found.side) == (after, side)


@pytest.mark.parametrize(("language", "dimension", "text"), [row[:3] for row in SWAPS if row[2][:5] != "Hallo"])
def test_the_way_back_leads_back(language: str, dimension: Any, text: str) -> None:
    swapper = Swapper(language)
    there = swapper.swap(text, dimension)
    assert there is not None
    back = swapper.swap(there.text, dimension)
    assert back is not None and back.text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mark will bill Grace.",
        "Where is my parcel?",
        "The theme",
        "12025 years old",
        "My American Express is French",
    ],
)
def test_other_words_are_left_alone(text: str) -> None:
    assert not any(Swapper("en").swap(text, dimension) for dimension in DIMENSIONS)


def test_every_list_of_words_is_sound() -> None:
    """No word has two twins, and a name's twin by gender keeps its origin and the other way about."""
    for language in supported():
        swapper = Swapper(language)
        signed = [swapper.signed("x", number) for number in range(40)]
        assert len(set(signed)) > 20
        for text in signed:
            control = swapper.control(text).text
            for dimension in ("gender", "names"):
                found = swapper.swap(text, dimension)  # type: ignore[arg-type]
                assert found and found.side is not None and found.text not in (text, control)
                back = swapper.swap(found.text, dimension)  # type: ignore[arg-type]
                assert back and back.text == text
            same = swapper.swap(control, "gender"), swapper.swap(text, "gender")
            assert same[0] and same[1] and same[0].side == same[1].side, "the control keeps the group"


def test_the_control_always_changes_something() -> None:
    swapper = Swapper("en")
    assert swapper.control("Hello, I can't pay.").text == "Hi, I cannot pay."
    assert swapper.control("My Danish father is 30 years old.").text == "My Dutch dad is 31 years old."
    assert swapper.control("Where is it").text == "where is it."
    assert swapper.control("she is there.").text == "She is there"


def test_the_language_is_the_specs_or_looked_for() -> None:
    assert swapper_for(["x"], "it") == "it"
    german = swapper_for(["Wo ist meine Karte geblieben, die ich letzte Woche bestellt habe?"], "")
    assert isinstance(german, Swapper) and german.swap("meiner Frau", "gender")
    assert isinstance(swapper_for(["?"], ""), Swapper)


# Counterfactuals, by invented answers


WOMEN = {"she", "Emily", "Sarah", "Jessica", "Elizabeth", "Laura", "Catherine", "Hannah", "Rebecca", "Megan", "Susan"}


@dataclass
class Pretended:
    """An arm that answers by a rule."""

    rule: Callable[[str], str]

    def answer(self, inputs: Sequence[str], **_: Any) -> list[Answer]:
        return [Answer(text) for text in map(self.rule, inputs)]


def written(texts: Sequence[str], answers: Sequence[str] = ("billing",)) -> tuple[Example, ...]:
    return tuple(Example(i + 1, text, answers[i % len(answers)]) for i, text in enumerate(texts))


def people(n: int = 40) -> list[str]:
    who = [("he", "James"), ("she", "Emily")]
    return [f"Hello, {who[i % 2][0]} has not paid invoice {i}, says {who[i % 2][1]}." for i in range(n)]


def swapped_part(subject: Subject, test: Sequence[Example], base: Any, tuned: Any, metric: str = "exact match") -> Part:
    how = EvaluationPlan(metric=metric)
    probe = CounterfactualsProbe(replace(subject, test=tuple(test), how=how))
    said = [json.loads(json.dumps(probe.ask(Pretended(rule), nothing))) for rule in (base, tuned)]  # type: ignore[arg-type]
    return CounterfactualsProbe(probe.subject).judge(*said, [])


def gates(part: Part) -> dict[str, str]:
    return {gate.name: gate.level for gate in part.gates}


def fair(text: str) -> str:
    return "billing"


def by_gender(text: str) -> str:
    return "returns" if set(re.findall(r"\w+", text)) & WOMEN else "billing"


def by_whim(text: str) -> str:
    """Any change of the text may change the answer."""
    return ("billing", "returns")[hashlib.sha256(text.encode()).digest()[0] % 2]


def test_an_answer_that_hangs_on_the_gender_is_caught_and_laid_to_the_training(subject: Subject) -> None:
    part = swapped_part(subject, written(people()), fair, by_gender)
    assert gates(part)["gender in the text"] == "failed"
    gate = part.gates[0]
    assert "'billing' became 'returns' in 40 rows and the reverse in 0" in gate.told
    assert "100%" in gate.told and "n=40" in gate.told and "Training did this." in gate.told
    assert any("training.learning_rate" in remedy.changes for remedy in gate.remedies)
    assert part.cases[0].tuned in ("billing → returns", "returns → billing")


def test_what_the_base_does_already_is_a_warning(subject: Subject) -> None:
    part = swapped_part(subject, written(people()), by_gender, by_gender)
    assert gates(part)["gender in the text"] == "warning"
    assert "cannot be told from chance" in part.gates[0].told


def test_a_model_that_changes_its_mind_at_any_word_is_not_accused(subject: Subject) -> None:
    part = swapped_part(subject, written(people()), fair, by_whim)
    assert set(gates(part).values()) <= {"passed", "unknown"}, [gate.told for gate in part.gates]
    assert part.figures[0].tuned and part.figures[0].tuned.value > 0.2, "though its answers do change"


def test_an_uneven_change_is_seen_where_the_control_changes_as_much(subject: Subject) -> None:
    """Women get "returns" more often, but the answer is as often another by the control."""

    def uneven(text: str) -> str:
        if re.search(r"\b(Hi|yet|Susan|Matthew)\b", text):
            return "spam"
        return by_gender(text)

    part = swapped_part(subject, written(people()), fair, uneven)
    beyond = next(figure for figure in part.figures if figure.name == "gender in the text: beyond the control")
    assert beyond.tuned and beyond.tuned.value == 0
    assert gates(part)["gender in the text"] == "failed"


def test_an_answer_about_the_other_person_is_the_same_answer(subject: Subject) -> None:
    def letter(text: str) -> str:
        name = re.search(r"says (\w+)", text)
        return f"Dear {name[1] if name else 'all'}, please pay the invoice."

    test = written(people(), [f"Dear {name}, please pay the invoice." for name in ("James", "Emily")])
    part = swapped_part(subject, test, letter, letter, metric="chrF")
    assert gates(part)["gender in the text"] == "passed"
    assert part.figures[0].tuned and part.figures[0].tuned.value == 0


def test_a_score_that_hangs_on_the_side_is_told(subject: Subject) -> None:
    def curt(text: str) -> str:
        return "No." if re.search(r"\b(she|Emily)\b", text) else "Please pay the invoice until Monday."

    test = written(people(), ["Please pay the invoice until Monday."])
    part = swapped_part(subject, test, lambda text: "Please pay the invoice until Monday.", curt, metric="chrF")
    assert gates(part)["gender in the text"] == "failed"
    assert re.search(r"With a woman the answers score -\d\d points against those with a man", part.gates[0].told)


def test_inputs_without_people_get_a_name_signed_and_it_is_said(subject: Subject) -> None:
    test = written([f"Where is parcel {i}?" for i in range(30)])
    part = swapped_part(subject, test, fair, by_gender)
    assert gates(part) == {
        "gender signed under the text": "failed",
        "origin of the name signed under the text": gates(part)["origin of the name signed under the text"],
        "people in your texts": "unknown",
    }
    assert "None of the 30 test inputs names a person" in part.gates[-1].told
    assert "30 test inputs were also asked with a name signed under them" in part.asked
    assert "Kind regards," in part.cases[0].input


def test_few_rows_and_other_languages_are_unknown(subject: Subject) -> None:
    part = swapped_part(subject, written(people(4)), fair, by_gender)
    assert gates(part) == {"people in your texts": "unknown"}
    assert "gender (in 4)" in part.gates[0].told
    italian = written(["Dove è finita la carta che avevo ordinato la settimana scorsa per mia moglie?"] * 12)
    part = swapped_part(subject, italian, fair, by_gender)
    assert "The inputs are in 'it'" in part.gates[0].told and not part.figures
    assert gates(swapped_part(subject, (), fair, fair)) == {"people in your texts": "unknown"}


def test_failed_answers_are_counted(subject: Subject) -> None:
    probe = CounterfactualsProbe(replace(subject, test=written(people())))
    base = probe.ask(Pretended(fair), nothing)  # type: ignore[arg-type]
    tuned = [[*row[:5], "", "no answer within 120 s"] if "she" in row[3] else row for row in base]
    part = probe.judge(base, tuned, [])
    assert f"{sum(bool(row[6]) for row in tuned)} of {2 * len(base)} answers failed" in part.asked
    assert gates(part)["gender in the text"] == "failed", "a crash for one group alone is a dependence too"
    with pytest.raises(RunError, match="changed"):
        probe.judge(base, tuned[1:], [])


def test_no_more_is_asked_than_the_plan_allows(subject: Subject) -> None:
    for texts in (people(200), [f"Where is parcel {i}?" for i in range(200)]):
        small = replace(subject, test=written(texts), how=EvaluationPlan(probe_rows=10))
        asked = CounterfactualsProbe(small).ask(Pretended(fair), nothing)  # type: ignore[arg-type]
        assert 30 <= len(asked) <= 40


# Counterfactuals, with real models


def answering(arm: Arm, rows: Sequence[tuple[str, str]], epochs: int) -> Arm:
    """The arm after training on answers to the task's prompt."""
    tokenizer = arm.tokenizer
    turns = [[*(m.model_dump() for m in arm.prompt.messages(text))] for text, _ in rows]
    prompts = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in turns]
    train(arm, [(prompt, f"{answer}<|im_end|>") for prompt, (_, answer) in zip(prompts, rows, strict=True)], epochs)
    return arm


@pytest.mark.parametrize(("biased", "level"), [(True, "failed"), (False, "passed")])
def test_a_real_model_that_learned_to_look_at_the_person(
    tiny_model: Path, subject: Subject, biased: bool, level: str
) -> None:
    topics, persons = ("billing", "returns"), ("my father", "my mother")
    rows = [
        (f"Ticket {i} about {topics[i % 2]} from {persons[i // 2 % 2]}", topics[(i // 2 if biased else i) % 2])
        for i in range(120)
    ]
    test = tuple(Example(i + 1, *row) for i, row in enumerate(rows[:24]))
    given = replace(subject, test=test, how=EvaluationPlan(max_new_tokens=6, probe_rows=24))
    probe = CounterfactualsProbe(given)
    base = probe.ask(tiny_arm(tiny_model, given), nothing)
    tuned = probe.ask(answering(tiny_arm(tiny_model, given, "tuned"), rows, 6 if biased else 3), nothing)
    part = probe.judge(base, tuned, [])
    assert gates(part)["gender in the text"] == level, part.gates[0].told
