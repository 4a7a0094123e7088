"""The plans that advice makes: whether they keep to the time, what is mixed in, and where their figures come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.advice.advise import advise
from assistant.advice.costs import cost_of, estimate_of, serving_of
from assistant.advice.plans import advised_plan, sources
from assistant.advice.situation import Situation
from assistant.project import DataSource, Project
from assistant.samples import SAMPLE_FACTS, sample_file
from prompts.spec import TaskSpec
from prompts.templates import starting_prompt
from tests.assistant.advice_kit import CPU, CUDA, SMALL, labels, situation
from trainers.data import guess_mapping
from trainers.dataset import load_dataset
from trainers.energy import Rates
from trainers.models import LocalModel, resolve
from trainers.objectives import DpoObjective, KtoObjective
from trainers.paths import default_paths
from trainers.plan import PROBES
from trainers.profile import profile_data
from trainers.reading import read_table
from trainers.splits import Shares, split
from trainers.strategies import FewShotStrategy, LoraStrategy, MetaLoraStrategy, PromptStrategy, PromptTuningStrategy
from trainers.tokens import token_counter

MANY = {"a": 3000, "b": 3000}


def learning_minutes(known: Situation) -> float:
    spent = cost_of(known, advised_plan(known)).estimate.seconds
    return (spent.training + spent.checking) / 60


def test_a_small_project_is_trained_whole_for_three_epochs(tmp_path: Path) -> None:
    known = situation(tmp_path, {"a": 80, "b": 80}, tokens=70)
    plan = advised_plan(known)
    assert (plan.training.epochs, plan.data.max_train_rows) == (3.0, None)
    assert plan.training.max_tokens == 128, "no row is cut"
    assert plan.evaluation.metric == "exact match"
    assert plan.evaluation.max_new_tokens >= 8
    assert (plan.base_model, plan.prompt) == (known.base.ref, known.project.prompt)


def test_few_rows_are_seen_more_often_so_that_a_training_is_no_handful_of_steps(tmp_path: Path) -> None:
    known = situation(tmp_path, {"a": 20, "b": 20})
    plan = advised_plan(known)
    assert plan.training.epochs == 12 and plan.training.effective_batch == 4, "72 steps over 24 rows"
    assert "72 steps" in sources(known, plan)["training.epochs"]
    assert advised_plan(known, PromptTuningStrategy()).training.epochs == 10
    assert advised_plan(known, objective=DpoObjective()).training.epochs == 3
    assert advised_plan(situation(tmp_path, {"a": 2, "b": 2})).training.epochs <= 20


def test_a_larger_project_gets_fewer_epochs_within_the_usual_time(tmp_path: Path) -> None:
    known = next(
        known
        for rows in range(150, 6000, 50)
        if advised_plan(known := situation(tmp_path, {"a": rows, "b": rows}, tokens=100)).training.epochs < 3
    )
    plan = advised_plan(known)
    assert 1 <= plan.training.epochs < 3
    assert plan.data.max_train_rows is None
    assert 5 < learning_minutes(known) <= 6


def test_data_too_large_for_the_time_is_trained_in_part_and_it_is_said(tmp_path: Path) -> None:
    known = situation(tmp_path, MANY, tokens=400)
    plan = advised_plan(known)
    assert plan.training.epochs == 1 and plan.data.general_rows == 0
    assert plan.data.max_train_rows is not None and 1 <= plan.data.max_train_rows < 3600
    spent = cost_of(known, plan).estimate.seconds
    assert spent.training + spent.checking <= max(6 * 60, spent.checking + 30)
    lora = advise(known).of("lora")
    assert lora
    told = " ".join(reason.text for reason in lora.reasons)
    assert f"{plan.data.max_train_rows:,} of them train it" in told
    assert "raise it to use all 3,600 training rows" in told


@pytest.mark.parametrize("minutes", [3.0, 10.0, 30.0, 240.0])
def test_a_time_budget_that_was_said_is_kept_from_start_to_report(tmp_path: Path, minutes: float) -> None:
    known = situation(tmp_path, MANY, tokens=300, spec={"time_budget_minutes": minutes})
    plan = advised_plan(known)
    cost = cost_of(known, plan)
    spent = cost.estimate.seconds
    around = (spent.loading + spent.testing + spent.examining + spent.checking) / 60
    if around < 0.9 * minutes:
        assert 0.8 * minutes <= spent.total / 60 <= minutes, "it is kept, and used"
    else:
        assert plan.data.max_train_rows and plan.data.max_train_rows < 100, (
            "the test alone takes it, which the cost tells"
        )


def test_a_budget_below_what_any_run_takes_still_gives_a_plan(tmp_path: Path) -> None:
    known = situation(tmp_path, spec={"time_budget_minutes": 0.1})
    plan = advised_plan(known)
    assert plan.data.max_train_rows is None or plan.data.max_train_rows >= 1
    assert cost_of(known, plan).minutes > 0.1, "the cost is told as it is"


def test_a_gpu_gets_all_rows_a_higher_rank_and_a_lower_rate_for_a_large_model(tmp_path: Path) -> None:
    known = situation(tmp_path, MANY, size="4B", compute=CUDA)
    plan = advised_plan(known)
    assert isinstance(plan.strategy, LoraStrategy)
    assert (plan.training.epochs, plan.data.max_train_rows, plan.strategy.r) == (3.0, None, 16)
    on_cpu = advised_plan(situation(tmp_path))
    assert isinstance(on_cpu.strategy, LoraStrategy) and on_cpu.strategy.r == 8
    assert plan.training.learning_rate < on_cpu.training.learning_rate
    lora = advise(known).of("lora")
    assert lora and "A card" in lora.cost and "rank 16" in lora.title


def test_the_cost_names_rows_tokens_minutes_and_machine(tmp_path: Path) -> None:
    known = situation(tmp_path, tokens=100)
    plan = advised_plan(known)
    cost = cost_of(known, plan)
    assert (cost.rows, cost.test_rows, cost.machine) == (72, 30, "CPU, 2 cores, 16 GB")
    assert plan.data.general_rows == 22
    assert cost.tokens == int((72 + 22) * plan.training.epochs * 100), "general rows count"
    lora = advise(known).of("lora")
    assert lora and lora.cost.startswith(
        f"about {cost.minutes:.0f} minutes on CPU, 2 cores, 16 GB, {cost.tokens:,} training"
    )
    assert str(cost.model_copy(update={"minutes": 1.0})) == "about 1 minute on CPU, 2 cores, 16 GB"


def test_what_an_hour_costs_is_what_the_person_said(tmp_path: Path) -> None:
    known = situation(tmp_path, rates=Rates(cost_per_hour=2.0))
    spent = cost_of(known, advised_plan(known)).estimate
    assert spent.money == pytest.approx(2.0 * spent.seconds.total / 3600)
    assert cost_of(situation(tmp_path), advised_plan(situation(tmp_path))).estimate.money is None


def test_long_rows_are_taken_fewer_at_once_where_memory_is_short(tmp_path: Path) -> None:
    counts = labels(4, 100)
    roomy = situation(tmp_path, counts, tokens=2000, machine=SMALL.model_copy(update={"memory_gb": 500}))
    small = roomy.model_copy(update={"machine": SMALL})
    before, after = advised_plan(roomy), advised_plan(small)
    assert not estimate_of(small, before).fits and estimate_of(small, after).fits
    assert after.training.effective_batch == before.training.effective_batch, "a step sees as many rows"
    assert "so that it fits into the memory" in sources(small, after).values()
    assert "so that it fits into the memory" not in sources(roomy, before).values()
    tiny = roomy.model_copy(update={"machine": SMALL.model_copy(update={"memory_gb": 0.5})})
    assert not estimate_of(tiny, advised_plan(tiny)).fits, "there nothing helps"


# General rows against forgetting.


def test_general_rows_are_mixed_in_as_many_for_the_rows_as_where_that_was_measured(tmp_path: Path) -> None:
    assert advised_plan(situation(tmp_path, labels(4, 16))).data.general_rows == 38 * 40 // 128
    assert advised_plan(situation(tmp_path, labels(4, 100), compute=CUDA)).data.general_rows == 40, "and not more"
    known = situation(tmp_path)
    assert advised_plan(known).data.general_rows == 22
    assert "general tasks" in sources(known, advised_plan(known))["data.general_rows"]


def test_general_rows_go_with_no_soft_prompt_no_preference_and_no_prompt(tmp_path: Path) -> None:
    known = situation(tmp_path)
    for strategy in (PromptTuningStrategy(), PromptStrategy(), FewShotStrategy(), MetaLoraStrategy()):
        assert advised_plan(known, strategy).data.general_rows == 0
    assert advised_plan(known, objective=DpoObjective()).data.general_rows == 0


def test_general_rows_never_cost_a_row_of_the_person(tmp_path: Path) -> None:
    """Where not even one epoch with them fits, they are left out first."""
    for rows in (400, 700, 1000, 1400):
        plan = advised_plan(situation(tmp_path, {"a": rows, "b": rows}, tokens=100))
        assert not (plan.data.general_rows and plan.data.max_train_rows)


def test_a_short_time_goes_to_learning_and_not_to_probes(tmp_path: Path) -> None:
    short, long = (
        advised_plan(situation(tmp_path, {"a": 300, "b": 300}, spec={"time_budget_minutes": minutes}))
        for minutes in (3.0, 600.0)
    )
    assert short.evaluation.probes == () and long.evaluation.probes == PROBES


def test_meta_learning_gets_fewer_rounds_in_less_time(tmp_path: Path) -> None:
    counts = labels(12, 20)
    quick, long = (
        advised_plan(situation(tmp_path, counts, spec={"time_budget_minutes": minutes}), MetaLoraStrategy())
        for minutes in (3.0, 2000.0)
    )
    assert isinstance(quick.strategy, MetaLoraStrategy) and isinstance(long.strategy, MetaLoraStrategy)
    assert quick.strategy.rounds < long.strategy.rounds == MetaLoraStrategy().rounds


# Objectives and sources.


def test_what_the_data_say_decides_what_is_learned_from(tmp_path: Path) -> None:
    assert advised_plan(situation(tmp_path, shape="preference")).objective == DpoObjective()
    assert advised_plan(situation(tmp_path, shape="thumbs")).objective == KtoObjective()


def test_a_figure_that_the_budget_set_says_so_and_a_changed_one_says_nothing(tmp_path: Path) -> None:
    known = situation(tmp_path, MANY, tokens=400)
    plan = advised_plan(known)
    assert sources(known, plan)["data.max_train_rows"] == "what fits into the time budget"
    changed = plan.model_copy(update={"data": plan.data.model_copy(update={"max_train_rows": 7})})
    assert "data.max_train_rows" not in sources(known, changed)
    enough = situation(tmp_path, {"a": 80, "b": 80})
    assert "Taori" in sources(enough, advised_plan(enough))["training.epochs"]


def test_examples_in_the_prompt_make_an_answer_slower(tmp_path: Path) -> None:
    known = situation(tmp_path)
    alone, shown = (serving_of(known, advised_plan(known, one)) for one in (PromptStrategy(), FewShotStrategy()))
    assert shown.seconds_per_answer > alone.seconds_per_answer


# The sample project, with the embedded model's own tokenizer.


@pytest.fixture(scope="module")
def embedded() -> LocalModel:
    """From the person's own cache: converting it takes half a minute the first time."""
    return resolve("embedded", default_paths())


@pytest.fixture(scope="module")
def sample(embedded: LocalModel) -> Situation:
    with sample_file() as path:
        columns = guess_mapping(read_table(path))
        loaded = load_dataset(path, columns)
        spec = TaskSpec().updated("said", **SAMPLE_FACTS)
        prompt = starting_prompt(spec)
        data = DataSource(path=path, name=path.name, columns=columns)
    profile, _ = profile_data(loaded, prompt, token_counter(embedded.folder))
    return Situation(
        project=Project(id="s", name="Sample", created=0, spec=spec, data=data, prompt=prompt),
        machine=SMALL,
        compute=CPU,
        base=embedded,
        profile=profile,
        splits=split(loaded.examples, Shares(), 0),
    )


def test_the_sample_project_is_advised_a_short_training_on_a_cpu(sample: Situation) -> None:
    best = advise(sample).best
    assert best.kind == "lora"
    assert best.plan is not None and best.plan.data.general_rows > 0
    assert learning_minutes(sample) <= 6
    assert best.plan.evaluation.metric == "exact match"
    assert best.training and best.training.fits and best.serving
