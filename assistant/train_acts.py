"""What a person can have done about trainings from the chat: choose a way, start, stop, go on, hear how far it is.

Owns these acts and how they are told. Refuses to read messages.
"""

from __future__ import annotations

from assistant.advice.costs import Cost
from assistant.dialogue.offline.ways import Way, way_in
from assistant.dialogue.wording import Answer
from assistant.pipeline import Pipeline
from prompts.errors import PlanError
from trainers.objectives import AnyObjective
from trainers.plan import TrainingPlan, parse_plan
from trainers.status import ENDED, RunFolder
from trainers.strategies import AnyStrategy

WARNING = "⚠️"
_BEGIN = ("Yes, start training", "What do you advise?")


class TrainActs:
    """The acts on a project's plan and runs."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    # The plan

    def choose(self, id: str, text: str) -> Answer:
        """Make the plan follow the way of tuning that a message names."""
        way = way_in(text)
        if not way:
            raise PlanError("I did not find a way of tuning in that.", hint="Say, for example: use prompt tuning.")
        plan = self._pipeline.plan(self._pipeline.project(id))
        self._pipeline.choose_strategy(id, self._strategy(plan, way), self._objective(plan, way))
        self._set(id, way)
        self._pipeline.go_to(id, "Strategy")
        return self.what_will_happen(id), _BEGIN

    def _strategy(self, plan: TrainingPlan, way: Way) -> AnyStrategy | None:
        figures = {key.partition(".")[2]: v for key, v in way.figures.items() if key.startswith("strategy.")}
        if way.strategy is None and not figures:
            return None
        kept = plan.strategy.model_dump(exclude_unset=True) if way.strategy is None else way.strategy
        return self._parsed(plan, strategy={**kept, **figures}).strategy

    def _objective(self, plan: TrainingPlan, way: Way) -> AnyObjective | None:
        return self._parsed(plan, objective=way.objective).objective if way.objective else None

    def _set(self, id: str, way: Way) -> None:
        """The figures of the optimization that were named, on the plan as it is by now."""
        figures = {key.partition(".")[2]: v for key, v in way.figures.items() if key.startswith("training.")}
        if figures:
            plan = self._pipeline.plan(self._pipeline.project(id))
            raw = plan.model_dump(mode="json")
            self._pipeline.set_plan(id, parse_plan({**raw, "training": {**raw["training"], **figures}}))

    @staticmethod
    def _parsed(plan: TrainingPlan, **parts: object) -> TrainingPlan:
        """The plan with parts of it as a person would write them. Raises `PlanError`."""
        return parse_plan({**plan.model_dump(mode="json", include={"data", "base_model"}), **parts})

    # Runs

    def ask(self, id: str) -> Answer:
        """Show what Start would do."""
        return self.what_will_happen(id), _BEGIN

    def what_will_happen(self, id: str) -> str:
        """Data, model, size and minutes of the plan that Start will follow. Raises `DataError` without data."""
        project = self._pipeline.project(id)
        plan = self._pipeline.plan(project)
        served = f"The result will be served {plan.strategy.serving.told}."
        base = self._pipeline.base(project).name
        if not plan.strategy.trains:
            return f"Start will try **{plan.strategy.brief}** on **{base}**; nothing is trained. {served}"
        cost, general = self._pipeline.cost_of(project, plan), plan.data.general_rows
        warnings = (*self._pipeline.check(project, plan), *_too_large(cost))
        told = "".join(f"\n\n{WARNING} {warning}" for warning in warnings)
        looked = " and a look at what it forgot and learned by heart" if plan.evaluation.probes else ""
        epochs = f", {plan.training.epochs:g} epochs" if plan.strategy.by_trl else ""
        mixed = f" and {general} general questions against forgetting" if general else ""
        return (
            f"Start will train **{plan.strategy.brief}**, on **{base}**, {plan.objective.title}, with {cost.rows} "
            f"rows{mixed}{epochs}, {cost.tokens:,} tokens: {cost}, including the test on "
            f"{cost.test_rows} held-out rows{looked}, and {cost.estimate.memory.total:.1f} GB of memory at most. The "
            f"serving engine stops meanwhile. {served}{told}"
        )

    def start(self, id: str) -> Answer:
        return self.begun(id, self._pipeline.start_training(id)), ("Stop and keep", "Cancel training")

    def begun(self, id: str, run: RunFolder) -> str:
        """What is told once a run is started."""
        if self._pipeline.waits(id, run):
            return f"Run `{run.id}` is queued; it begins when the one before it has ended."
        return f"Training has begun as run `{run.id}`. It goes on if you close this page or the app."

    def keep(self, id: str) -> Answer:
        self._pipeline.stop_training(id)
        return "It stops after this step; what it has learned is kept and compared with the base.", ()

    def resume(self, id: str) -> Answer:
        run = self._pipeline.resume_training(id)
        return f"Run `{run.name}` goes on from its last checkpoint.", ("Stop and keep", "Cancel training")

    def cancel(self, id: str) -> Answer:
        status = self._pipeline.run_status(self._pipeline.project(id))
        if status is None or status.state in ENDED:
            return "Nothing is running.", ()
        self._pipeline.cancel_training(id)
        return "I cancel the training. It can be resumed.", ("Resume the training", "Start training")

    def status(self, id: str) -> Answer:
        status = self._pipeline.run_status(self._pipeline.project(id))
        if status is None:
            return "No training was started yet.", ("What do you advise?",)
        left = f", about {status.seconds_left / 60:.0f} minutes left" if status.seconds_left else ""
        notes = "".join(f"\n\n{WARNING} {note}" for note in status.notes)
        return (
            f"The training is {status.state} ({status.phase}, {status.fraction:.0%}{left}). {status.message}{notes}",
            (),
        )


def _too_large(cost: Cost) -> tuple[str, ...]:
    """What is to be said where the plan is not expected to fit."""
    needed = f"This takes about {cost.estimate.memory.total:.1f} GB of memory, more than there is here."
    return () if cost.estimate.fits else (f"{needed} A smaller base model, shorter rows or LoRA need less.",)
