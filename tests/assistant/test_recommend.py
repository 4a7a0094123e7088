"""The advice: which option, why, and whether its plan keeps to the budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant.project import DataSource, Project
from assistant.recommend import Option, Situation, advised_plan, estimate_cost, recommend
from assistant.samples import SAMPLE_FACTS, sample_file
from prompts.metrics import Score, summarize
from prompts.spec import TaskSpec
from prompts.templates import starting_prompt
from trainers.data import Mapping, guess_mapping
from trainers.dataset import load_dataset
from trainers.estimate import training_seconds
from trainers.hardware import Compute, Gpu, Hardware
from trainers.models import LocalModel, resolve
from trainers.paths import default_paths
from trainers.plan import PROBES
from trainers.profile import profile_data
from trainers.reading import read_table
from trainers.splits import Shares, split
from trainers.tokens import token_counter

CPU = Compute(device="cpu", dtype="float32", reason="a test", gflops=120)
CUDA = Compute(device="cuda", dtype="bfloat16", reason="a test", gflops=400_000)
SMALL, LARGE = (
    Hardware(cpu="CPU", cores=2, memory_gb=16),
    Hardware(cpu="CPU", cores=16, memory_gb=128, gpus=(Gpu(name="A card", memory_gb=80),)),
)
COLUMNS = Mapping(input="text", output="label")
MOST_CPU_TOKENS = 35_000


def base(folder: Path, parameters: float = 135e6) -> LocalModel:
    """A model folder that holds nothing but the header of its weights, which is all that is counted."""
    header = json.dumps({"w": {"shape": [int(parameters)], "dtype": "F32", "data_offsets": [0, 0]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    return LocalModel(ref=str(folder), kind="folder", name="made-up", folder=folder)


def situation(
    folder: Path,
    counts: dict[str, int],
    *,
    tokens: int = 60,
    score: Score | None = None,
    minutes: float | None = None,
    compute: Compute = CPU,
    parameters: float = 135e6,
) -> Situation:
    """A project with as many rows of each label as `counts` says, each `tokens` long."""
    outputs = [label for label, count in counts.items() for _ in range(count)]
    csv = folder / "rows.csv"
    csv.write_text(
        "text,label\n" + "".join(f"Row {n} of {label},{label}\n" for n, label in enumerate(outputs)), "utf-8"
    )
    data = load_dataset(csv, COLUMNS)
    examples = data.examples
    spec = TaskSpec().updated("said", task="classification", output_format="label", time_budget_minutes=minutes)
    prompt = starting_prompt(spec)
    project = Project(
        id="p",
        name="A project",
        created=0,
        spec=spec,
        data=DataSource(path=csv, name="rows.csv", columns=COLUMNS),
        prompt=prompt,
    )
    profile, _ = profile_data(data, prompt, None)
    lengths = {"token_lengths": (tokens,) * len(examples), "answer_tokens": 3}
    return Situation(
        project=project,
        machine=LARGE if compute.device == "cuda" else SMALL,
        compute=compute,
        base=base(folder, parameters),
        profile=profile.model_copy(update=lengths),
        splits=split(examples, Shares(), 0),
        score=score,
    )


GOOD, MIDDLING = summarize([1.0] * 60), summarize([1.0] * 40 + [0.0] * 20)
ENOUGH = {"billing": 60, "returns": 60}


@pytest.mark.parametrize(
    ("counts", "score", "kind", "words"),
    [
        ({"billing": 120}, None, "data", "Every row has the same answer"),
        ({"billing": 120}, GOOD, "data", "Every row has the same answer"),
        ({"billing": 12, "returns": 12}, None, "few_shot", "with 24 examples"),
        ({"billing": 100, "returns": 5}, None, "few_shot", "the rarest label has 5"),
        ({"billing": 12, "returns": 12}, GOOD, "prompt", "reaches 100%"),
        (ENOUGH, GOOD, "prompt", "reaches 100%"),
        (ENOUGH, summarize([1.0] * 5), "lora", "enough for a small adapter"),
        (ENOUGH, MIDDLING, "lora", "120 examples with 2 labels"),
        (ENOUGH, None, "lora", "120 examples with 2 labels"),
    ],
)
def test_what_is_advised_and_why(
    tmp_path: Path, counts: dict[str, int], score: Score | None, kind: str, words: str
) -> None:
    options = recommend(situation(tmp_path, counts, score=score))
    assert [option.advised for option in options] == [True] + [False] * (len(options) - 1)
    assert options[0].kind == kind
    assert words in " ".join(options[0].reasons)
    assert len({option.kind for option in options}) == len(options)
    assert all(option.title and option.reasons and option.cost for option in options)
    assert ("Do not tune" in options[0].title + options[0].reasons[0]) == (kind != "lora")


def test_without_data_the_one_advice_is_to_bring_some(tmp_path: Path) -> None:
    known = situation(tmp_path, ENOUGH)
    [option] = recommend(known.model_copy(update={"profile": None, "splits": None}))
    assert (option.kind, option.advised, option.plan) == ("data", True, None)


def test_free_answers_are_judged_by_their_number(tmp_path: Path) -> None:
    few = situation(tmp_path, {f"answer {n}": 1 for n in range(30)})
    assert recommend(few)[0].kind == "few_shot"
    many = situation(tmp_path, {f"answer {n}": 1 for n in range(200)})
    best = recommend(many)[0]
    assert best.kind == "lora"
    assert "200 examples with free answers" in best.reasons[0]


def by_kind(options: list[Option], kind: str) -> Option:
    return next(option for option in options if option.kind == kind)


@pytest.mark.parametrize("counts", [{"billing": 12, "returns": 12}, {"billing": 120}])
def test_an_option_that_is_not_advised_does_not_praise_itself(tmp_path: Path, counts: dict[str, int]) -> None:
    lora = by_kind(recommend(situation(tmp_path, counts)), "lora")
    assert "enough" not in " ".join(lora.reasons)
    assert lora.plan is not None, "it can be started all the same"


def test_the_score_stands_in_the_prompts_reasons(tmp_path: Path) -> None:
    unmeasured = by_kind(recommend(situation(tmp_path, ENOUGH)), "prompt")
    assert "not been measured" in unmeasured.reasons[0]
    measured = by_kind(recommend(situation(tmp_path, ENOUGH, score=MIDDLING)), "prompt")
    assert str(MIDDLING) in measured.reasons[0]


# The plan and what it costs.


def trained_tokens(known: Situation) -> int:
    plan = advised_plan(known)
    assert known.splits
    rows = min(len(known.splits.train), plan.data.max_train_rows or len(known.splits.train))
    assert known.profile
    return int(rows * plan.training.epochs * known.profile.median_tokens)


def test_a_small_project_is_trained_whole_for_three_epochs(tmp_path: Path) -> None:
    known = situation(tmp_path, ENOUGH, tokens=100)
    plan = advised_plan(known)
    assert (plan.training.epochs, plan.data.max_train_rows) == (3.0, None)
    assert plan.training.max_tokens == 128, "no row is cut"
    assert plan.evaluation.metric == "exact match"
    assert plan.evaluation.max_new_tokens >= 8
    assert (plan.base_model, plan.prompt) == (known.base.ref, known.project.prompt)


def test_a_larger_project_gets_fewer_epochs_within_the_budget(tmp_path: Path) -> None:
    known = situation(tmp_path, {"a": 200, "b": 200}, tokens=100)
    plan = advised_plan(known)
    assert 1 <= plan.training.epochs < 3
    assert plan.data.max_train_rows is None
    assert MOST_CPU_TOKENS * 0.9 < trained_tokens(known) <= MOST_CPU_TOKENS


def test_data_too_large_for_the_budget_is_trained_in_part_and_it_is_said(tmp_path: Path) -> None:
    known = situation(tmp_path, {"a": 600, "b": 600}, tokens=400)
    plan = advised_plan(known)
    assert plan.training.epochs == 1
    assert plan.data.max_train_rows == MOST_CPU_TOKENS // 400
    assert trained_tokens(known) <= MOST_CPU_TOKENS
    lora = recommend(known)[0]
    assert f"{plan.data.max_train_rows} of them train it" in lora.reasons[0]
    assert "raise it to use all 720" in lora.reasons[1]


@pytest.mark.parametrize("minutes", [3.0, 10.0, 30.0, 240.0])
def test_a_time_budget_that_was_said_is_kept_from_start_to_report(tmp_path: Path, minutes: float) -> None:
    known = situation(tmp_path, {"a": 3000, "b": 3000}, tokens=300, minutes=minutes)
    cost = estimate_cost(known, advised_plan(known))
    seconds = training_seconds(cost.tokens, known.base.parameters, CPU)
    assert 0.8 * minutes <= seconds / 60 <= minutes
    assert cost.minutes <= minutes


def test_a_budget_below_what_any_run_takes_still_gives_a_plan(tmp_path: Path) -> None:
    known = situation(tmp_path, ENOUGH, minutes=0.1)
    plan = advised_plan(known)
    assert plan.data.max_train_rows is not None and plan.data.max_train_rows >= 1
    assert estimate_cost(known, plan).minutes > 0.1, "the cost is told as it is"


def test_a_gpu_gets_all_rows_a_higher_rank_and_a_lower_rate_for_a_large_model(tmp_path: Path) -> None:
    known = situation(tmp_path, {"a": 3000, "b": 3000}, tokens=400, compute=CUDA, parameters=3e9)
    plan = advised_plan(known)
    assert (plan.training.epochs, plan.data.max_train_rows, plan.strategy.r) == (3.0, None, 16)
    on_cpu = advised_plan(situation(tmp_path, ENOUGH))
    assert on_cpu.strategy.r == 8
    assert plan.training.learning_rate < on_cpu.training.learning_rate
    assert "A card" in recommend(known)[0].cost


def test_the_cost_names_rows_tokens_minutes_and_machine(tmp_path: Path) -> None:
    known = situation(tmp_path, ENOUGH, tokens=100)
    cost = estimate_cost(known, advised_plan(known))
    assert (cost.rows, cost.test_rows, cost.tokens, cost.machine) == (72, 30, 72 * 3 * 100, "CPU, 2 cores, 16 GB")
    assert (
        recommend(known)[0].cost == f"about {cost.minutes:.0f} minutes on CPU, 2 cores, 16 GB, 21,600 training tokens"
    )
    assert str(cost.model_copy(update={"minutes": 1.0})) == "about 1 minute on CPU, 2 cores, 16 GB"


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
    best = recommend(sample)[0]
    assert best.kind == "lora"
    assert best.plan is not None
    cost = estimate_cost(sample, best.plan)
    assert 0.9 * MOST_CPU_TOKENS < cost.tokens <= MOST_CPU_TOKENS
    assert cost.minutes <= 12
    assert best.plan.evaluation.metric == "exact match"


@pytest.mark.parametrize("gflops", [5, 50, 5_000])
def test_the_sample_plan_keeps_to_the_same_limit_on_any_cpu(sample: Situation, gflops: float) -> None:
    slower_or_faster = sample.model_copy(update={"compute": CPU.model_copy(update={"gflops": gflops})})
    assert estimate_cost(slower_or_faster, advised_plan(slower_or_faster)).tokens <= MOST_CPU_TOKENS


def test_a_short_time_goes_to_learning_and_not_to_probes(tmp_path: Path) -> None:
    short, long = (
        advised_plan(situation(tmp_path, {"a": 300, "b": 300}, tokens=50, minutes=minutes)) for minutes in (5.0, 240.0)
    )
    assert short.evaluation.probes == () and long.evaluation.probes == PROBES
