"""The advice: what comes first in some eighty situations, which rule decided, and which fact its reason names."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from assistant.advice.advise import advise, advise_without_data
from assistant.advice.bases import bases_here, is_away
from assistant.advice.plans import advised_plan
from assistant.advice.records import KINDS, Advice, Conflict
from assistant.advice.rules import PLAIN, rules
from assistant.project import StoredPrompt
from prompts.metrics import summarize
from prompts.spec import TaskSpec
from prompts.versions import PromptVersion
from tests.assistant.advice_kit import CUDA, base, card, free, labels, situation
from trainers.hardware import Hardware
from trainers.paths import Paths

GOOD, MIDDLING, POOR = summarize([1.0] * 60), summarize([1.0] * 40 + [0.0] * 20), summarize([0.0] * 60)
TINY = Hardware(cpu="CPU", cores=2, memory_gb=1)
ROOMY = Hardware(cpu="CPU", cores=2, memory_gb=256)
DOCUMENTS = {"task": "question_answering", "description": "Answer questions about our handbook"}


@dataclass(frozen=True)
class Case:
    """A situation, and what is to come first in it: the option, the rule that decided, words of its reason."""

    name: str
    kind: str
    rule: str
    words: str
    counts: dict[str, int] | None = None
    known: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)


def case(name: str, kind: str, rule: str, words: str, counts: dict[str, int] | None = None, **known: Any) -> Case:
    spec = known.pop("spec", {})
    return Case(name, kind, rule, words, counts, known, spec)


GPU: dict[str, Any] = {"compute": CUDA}
G24: dict[str, Any] = {"compute": CUDA, "machine": card(24)}
G8: dict[str, Any] = {"compute": CUDA, "machine": card(8)}
SAME = "Every row has the same answer."
HALF = {"target_score": 0.5}
JSON = {"task": "extraction", "output_format": "json"}
PAIRS: dict[str, Any] = {"shape": "preference", "spec": {"task": "chat", "output_format": "text"}}

CASES = [
    # Data that nothing can be learned from.
    case("no rows", "data", "data-no-answers", "No row has an answer", {}),
    case("one row", "data", "data-too-few", "1 example", free(1)),
    case("two rows", "data", "data-too-few", "2 examples", free(2)),
    case("three rows of one label", "data", "data-too-few", "3 examples", {"billing": 3}),
    case("one label", "data", "data-broken", "the same answer", {"billing": 120}, error=SAME),
    case("one label, good score", "data", "data-broken", "the same answer", {"a": 99}, error=SAME, score=GOOD),
    case("damaged rows", "data", "data-broken", "cannot be read", error="12 rows cannot be read."),
    case("damaged, on a card", "data", "data-broken", "contradict", free(500), error="Rows contradict.", **GPU),
    case("damaged pairs", "data", "data-broken", "are the same", free(99), error="Both are the same.", **PAIRS),
    # A prompt that is good enough.
    case("good prompt", "prompt", "prompt-good", "reaches 100%", score=GOOD),
    case("good prompt, few rows", "prompt", "prompt-good", "reaches 100%", {"a": 12, "b": 12}, score=GOOD),
    case("good prompt, free answers", "prompt", "prompt-good", "n=60", free(300), score=GOOD),
    case("good prompt, large base", "prompt", "prompt-good", "reaches 100%", free(300), score=GOOD, size="7B", **GPU),
    case("on target", "prompt", "prompt-on-target", "50% is what you asked", score=MIDDLING, spec=HALF),
    case("on target, on a card", "prompt", "prompt-on-target", "67%", free(900), score=MIDDLING, spec=HALF, **GPU),
    case("good, and asks documents", "prompt", "prompt-good", "100%", free(100), score=GOOD, spec=DOCUMENTS),
    case("large base, unmeasured", "prompt", "prompt-large-base", "3.7 billion", free(300), size="4B", **GPU),
    case("7B, summaries", "prompt", "prompt-large-base", "billion weights", free(300), size="7B",
         spec={"task": "summarization"}, **GPU),
    # Few rows.
    case("a dozen rows", "lora", "lora-small-data", "12 examples with 2 labels", {"a": 6, "b": 6}),
    case("a rare label", "lora", "lora-enough", "101 examples", {"billing": 100, "returns": 1}),
    case("fifteen labels of two or three", "lora", "lora-small-data", "15 labels",
         {**labels(10, 3), **{f"rare {n}": 2 for n in range(5)}}),
    case("ten labels of two", "lora", "lora-small-data", "20 examples with 10 labels", labels(10, 2)),
    case("four rows", "prompt", "prompt-few-small", "4 examples", {"a": 2, "b": 2}),
    case("two dozen rows", "lora", "lora-small-data", "24 examples", {"a": 12, "b": 12}),
    case("eight rows", "prompt", "prompt-few-small", "With 8 examples", {"a": 4, "b": 4}),
    case("few rows, poor prompt", "prompt", "prompt-few-small", "With 8 examples", {"a": 4, "b": 4}, score=POOR),
    case("thirty free answers", "few_shot", "few-shot-few-free", "with 30 examples", free(30)),
    case("thirty free, middling", "few_shot", "few-shot-few-free", "30 examples", free(30), score=MIDDLING),
    case("fifty free answers", "few_shot", "few-shot-few-free", "with 50 examples", free(50)),
    case("few labels, 1.7B", "few_shot", "few-shot-few-labels", "24 examples", {"a": 12, "b": 12}, size="1.7B", **GPU),
    case("rare label, 7B", "few_shot", "few-shot-few-labels", "b, has 6", {"a": 90, "b": 6}, size="7B", **GPU),
    case("few labels, 4B", "few_shot", "few-shot-few-labels", "30 examples", labels(2, 15), size="4B", **GPU),
    # Enough rows for an adapter.
    case("two labels", "lora", "lora-enough", "120 examples with 2 labels", None),
    case("a small score", "lora", "lora-enough", "72 of them train it", score=POOR),
    case("few measured rows", "lora", "lora-enough", "2 labels", score=summarize([1.0] * 5)),
    case("middling prompt", "lora", "lora-enough", "120 examples", score=MIDDLING),
    case("free answers", "lora", "lora-enough", "200 examples with free answers", free(200)),
    case("small data, small base", "lora", "lora-small-data", "40 examples with 2 labels are few", {"a": 20, "b": 20}),
    case("five labels of ten", "lora", "lora-small-data", "50 examples with 5 labels", labels(5, 10)),
    case("eight labels of forty", "lora", "lora-enough", "320 examples with 8 labels", labels(8, 40)),
    case("77 labels", "lora", "lora-enough", "3,080 examples with 77 labels", labels(77, 40)),
    case("a thousand rows, little time", "lora", "lora-enough", "of them train it", {"a": 600, "b": 600}, tokens=400),
    case("labels, 7B on a card", "lora", "lora-enough", "400 examples", labels(4, 100), size="7B", **GPU),
    case("free, 7B, measured", "lora", "lora-enough", "300 examples", free(300), size="7B", score=MIDDLING, **GPU),
    case("4B on 24 GB", "lora", "lora-enough", "600 examples", labels(6, 100), size="4B", **G24),
    case("JSON", "lora", "lora-enough", "300 examples", free(300), spec=JSON),
    case("many rows on a card", "lora", "lora-enough", "12,000 examples", labels(4, 3000), size="1.7B", **GPU),
    case("target not reached", "lora", "lora-enough", "120 examples", score=MIDDLING, spec={"target_score": 0.85}),
    case("shown, and middling", "lora", "lora-enough", "120 examples", score=MIDDLING, shown=4),
    case("13B, labels", "lora", "lora-enough", "400 examples", labels(4, 100), size="13B", **GPU),
    case("long rows", "lora", "lora-enough", "120 examples", tokens=2000),
    case("quick enough", "lora", "lora-enough", "120 examples", spec={"max_latency_ms": 60_000}),
    case("local, and here", "lora", "lora-enough", "120 examples", spec={"local_only": True}),
    # Labels with a handful of rows.
    case("twelve labels, some rare", "meta_lora", "meta-handful", "can teach it",
         {**labels(12, 20), "rare": 3, "rarer": 4}, **GPU),
    # Documents and facts that change.
    case("handbook", "retrieval", "retrieval-knowledge", "handbook", free(300), spec=DOCUMENTS),
    case("prices", "retrieval", "retrieval-knowledge", "prices", free(300),
         spec={"task": "chat", "description": "Tell customers our prices"}),
    case("German documents", "retrieval", "retrieval-knowledge", "dokumente", free(90),
         spec={"task": "question_answering", "description": "Fragen zu unseren Dokumenten"}),
    case("handbook, 7B", "retrieval", "retrieval-knowledge", "handbook", free(900), size="7B", spec=DOCUMENTS, **GPU),
    case("handbook, few rows", "retrieval", "retrieval-knowledge", "handbook", free(20), spec=DOCUMENTS),
    # Every weight.
    case("more than an adapter holds", "full", "full-overfull", "36,000", free(60_000), size="1.7B", tokens=2400,
         answer_tokens=2200, compute=CUDA, machine=card(140)),
    # Preferences.
    case("pairs", "preference", "preference-free", "60 pairs", free(100), **PAIRS),
    case("pairs, on a card", "preference", "preference-free", "240 pairs", free(400), size="7B", **GPU, **PAIRS),
    case("thumbs", "preference", "preference-free", "60 thumbs", free(100), shape="thumbs",
         spec={"task": "chat", "output_format": "text"}),
    case("pairs of labels", "lora", "lora-enough", "120 examples", shape="preference"),
    case("few pairs", "few_shot", "few-shot-few-free", "30 examples", free(30), **PAIRS),
    # Other bases.
    case("7B on a CPU, at once", "smaller", "smaller-to-be-quick", "is quick enough", size="7B", machine=ROOMY,
         spec={"max_latency_ms": 9000}),
    case("no memory for 70B", "smaller", "smaller-to-fit", "GB", free(300), size="70B", **GPU),
    case("no memory for 7B", "smaller", "smaller-to-fit", "8", labels(4, 100), size="7B", **G8),
    case("no memory for 13B on a CPU", "smaller", "smaller-to-fit", "16 GB", labels(4, 100), size="13B"),
    case("free answers on a card", "larger", "larger-on-gpu", "A card", free(3000), **GPU),
    case("summaries on 24 GB", "larger", "larger-on-gpu", "24 GB", free(900), spec={"task": "summarization"}, **G24),
]  # fmt: skip


@pytest.fixture(scope="module")
def advices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Advice]:
    """The advice of each situation by its name, given once."""
    folder = tmp_path_factory.mktemp("advice")
    return {one.name: advise(situation(folder, one.counts, spec=one.spec, **one.known)) for one in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_comes_first_and_why(case: Case, advices: dict[str, Advice]) -> None:
    advice = advices[case.name]
    best = advice.best
    assert (best.kind, best.reasons[0].rule) == (case.kind, case.rule), best.reasons
    assert case.words in best.reasons[0].text
    assert [option.advised for option in advice.options] == [True] + [False] * (len(KINDS) - 1)
    assert {option.kind for option in advice.options} == set(KINDS)
    for option in advice.options:
        assert option.title and option.reasons and option.changes and option.cost, option
        told = " ".join([option.title, option.cost, *option.changes, *(reason.text for reason in option.reasons)])
        assert "not known" not in told and "{" not in told, told


# Every rule, over all of these situations and some in which it only places an option lower.


def tuned(folder: Path) -> Path:
    """A run of a plain LoRA on the made-up base, as far as advice reads it."""
    run = folder / "run"
    run.mkdir()
    (run / "plan.yaml").write_text(advised_plan(situation(folder)).to_yaml())
    return run


def seen_further(folder: Path) -> Iterator[Advice]:
    yield advise_without_data(TaskSpec())
    better = StoredPrompt(version=PromptVersion(system="Better"), score=GOOD, metric="exact match")
    yield advise(situation(folder, score=MIDDLING, measured=(better,)))
    yield advise(situation(folder, spec={"task": "rewriting", "description": "Shorten our documents"}))
    yield advise(situation(folder, free(100), parent=tuned(folder), **PAIRS))
    yield advise(situation(folder, labels(4, 5000), size="1.7B", compute=CUDA))
    yield advise(situation(folder, free(100), size="70B", compute=CUDA, **PAIRS))
    yield advise(situation(folder, labels(4, 300), size="1.7B", spec={"time_budget_minutes": 2.0}))
    yield advise(situation(folder, labels(4, 300), size="1.7B", spec={"max_latency_ms": 1}))
    few = advise(situation(folder)).of("few_shot")
    assert few and few.serving
    yield advise(situation(folder, spec={"max_latency_ms": int(few.serving.seconds_per_answer * 900)}))


def test_every_rule_holds_somewhere(advices: dict[str, Advice], tmp_path: Path) -> None:
    seen = [*advices.values(), *seen_further(tmp_path)]
    fired = {reason.rule for advice in seen for one in advice.options for reason in one.reasons}
    assert {rule.id for _, rule in rules().every()} - fired == set()


def test_every_rule_names_its_source_or_says_a_plain_fact() -> None:
    named = {rule.source for _, rule in rules().every()} - {PLAIN}
    assert named == set(rules().sources), "and no source is named in vain"
    for _, rule in rules().every():
        assert rule.standing is None or rule.changes, f"{rule.id} does not say what would change it"
    limits = " ".join(str(rule.when) + rule.reason + str(rule.changes) for _, rule in rules().every())
    assert all(name in limits for name in rules().limits)


def test_a_preference_training_goes_on_from_the_run_that_was_tuned(tmp_path: Path) -> None:
    run = tuned(tmp_path)
    best = advise(situation(tmp_path, free(100), parent=run, **PAIRS)).best
    assert best.kind == "preference" and best.plan
    assert (best.plan.parent, best.plan.objective.type, best.plan.strategy.type) == (run, "dpo", "lora")


# What does not go together.


def conflict(folder: Path, counts: dict[str, int] | None = None, **known: Any) -> Conflict:
    found = advise(situation(folder, counts, **known)).conflicts
    assert len(found) == 1, found
    return found[0]


def test_50_ms_with_7b_on_a_cpu_names_the_contradiction_and_what_would_work(tmp_path: Path) -> None:
    """The base is one of the hub's, which is not here: it is known by the catalogue alone."""
    known = situation(tmp_path, spec={"max_latency_ms": 50}, wanted="mistralai/Mistral-7B-Instruct-v0.3")
    advice = advise(known)
    told = " ".join(one.told for one in advice.conflicts)
    assert "50 ms" in told and "Mistral-7B-Instruct-v0.3" in told and "18 GB" in told
    assert advice.best.kind == "smaller"
    assert all(option.plan is None for option in advice.options), "they would be plans for another base"


def test_a_base_that_fits_nowhere_here(tmp_path: Path) -> None:
    found = conflict(tmp_path, labels(4, 100), size="13B")
    assert "made-up 13B" in found.told and "16 GB" in found.told
    assert found.change == {"base_model": "Qwen/Qwen3-4B-Instruct-2507"}
    small = conflict(tmp_path, machine=TINY)
    assert "nothing of the list is smaller" in small.told and small.change == {}


def test_no_base_is_quick_enough(tmp_path: Path) -> None:
    found = conflict(tmp_path, spec={"max_latency_ms": 1})
    assert "1 ms" in found.told
    allowed = found.change["max_latency_ms"]
    assert advise(situation(tmp_path, spec={"max_latency_ms": allowed})).conflicts == (), "what is offered works"


def test_less_time_than_one_look_at_the_rows_takes(tmp_path: Path) -> None:
    counts = labels(4, 300)
    found = conflict(tmp_path, counts, tokens=300, spec={"time_budget_minutes": 2.0})
    assert "720 training rows" in found.told and "it learns from" in found.nearest
    enough = found.change["time_budget_minutes"]
    assert advise(situation(tmp_path, counts, tokens=300, spec={"time_budget_minutes": enough})).conflicts == ()


def test_a_target_that_so_few_rows_cannot_prove(tmp_path: Path) -> None:
    found = conflict(tmp_path, spec={"target_score": 0.95})
    assert "95% cannot be proved on 12 dev rows" in found.told and "73 dev rows" in found.nearest
    assert summarize([1.0] * 12).low >= found.change["target_score"] > summarize([1.0] * 12).low - 0.01
    assert summarize([1.0] * 73).low >= 0.95 > summarize([1.0] * 72).low
    assert advise(situation(tmp_path, spec={"target_score": found.change["target_score"]})).conflicts == ()


def test_nothing_may_leave_and_the_base_is_elsewhere(tmp_path: Path) -> None:
    found = conflict(tmp_path, spec={"local_only": True}, wanted="HuggingFaceTB/SmolLM2-360M-Instruct")
    assert "HuggingFaceTB/SmolLM2-360M-Instruct" in found.told and found.change == {"base_model": "embedded"}


def test_preferences_that_were_said_and_are_not_in_the_data(tmp_path: Path) -> None:
    assert conflict(tmp_path, spec={"has_preferences": True}).change == {"has_preferences": False}
    assert advise(situation(tmp_path, free(100), shape="preference", spec={"has_preferences": True})).conflicts == ()


def test_labels_that_were_said_and_others_that_are_in_the_data(tmp_path: Path) -> None:
    found = conflict(tmp_path, spec={"labels": ("Billing", "returns", "other")})
    assert "other" in found.told and "Billing" not in found.told
    assert found.change == {"labels": ("billing", "returns")}
    assert "returns" in conflict(tmp_path, spec={"labels": ("billing",)}).told


def test_a_gpu_that_is_not_here(tmp_path: Path) -> None:
    assert conflict(tmp_path, spec={"device": "cuda"}).change == {"device": "cpu"}
    assert advise(situation(tmp_path, labels(4, 100), spec={"device": "cuda"}, **GPU)).conflicts == ()


# Bad input.


def test_without_data_the_advice_is_to_bring_some_and_needs_no_base(tmp_path: Path) -> None:
    advice = advise_without_data(TaskSpec())
    assert (advice.best.kind, advice.best.plan, advice.best.reasons[0].rule) == ("data", None, "data-none")
    known = situation(tmp_path).model_copy(update={"profile": None, "splits": None})
    assert advise(known).best.reasons[0].rule == "data-none"


def test_a_profile_without_lengths_is_no_crash(tmp_path: Path) -> None:
    known = situation(tmp_path)
    assert known.profile
    bare = known.profile.model_copy(update={"token_lengths": (), "answer_tokens": 0})
    assert advise(known.model_copy(update={"profile": bare})).best.kind == "lora"


def test_what_more_rows_would_change_is_found_by_asking_again(tmp_path: Path) -> None:
    said = advise(situation(tmp_path, free(30))).best.changes[-1]
    rows = int(said.split("about ")[1].split(" ")[0])
    assert said.endswith("LoRA.")
    assert advise(situation(tmp_path, free(rows))).best.kind == "lora"
    assert advise(situation(tmp_path, free(int(rows * 0.8)))).best.kind == "few_shot"


def test_advice_never_asks_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    paths = Paths(home=tmp_path / "home", cache=tmp_path / "cache")
    assert is_away("mistralai/Mistral-7B-Instruct-v0.3") and not is_away("embedded") and not is_away(str(tmp_path))
    assert bases_here(paths) == ()
    advice = advise(situation(tmp_path, wanted="mistralai/Mistral-7B-Instruct-v0.3", bases=bases_here(paths)))
    assert advice.best.kind == "smaller"


def test_a_base_of_the_catalogue_that_is_here_comes_with_a_plan(tmp_path: Path) -> None:
    here = base(tmp_path, "4B", ref="Qwen/Qwen3-4B-Instruct-2507").model_copy(update={"name": "Qwen3 4B"})
    advice = advise(situation(tmp_path, free(300), size="70B", bases=(here,), compute=CUDA, machine=card(14)))
    assert advice.best.kind == "smaller" and advice.best.plan and advice.best.training
    assert advice.best.plan.base_model == here.ref
    assert "minute" in advice.best.cost
