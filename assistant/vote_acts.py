"""What a person can have done about votes from the chat: hear what they say, and train the next round on them.

Owns these acts and how they are told. Refuses to read messages and to count.
"""

from __future__ import annotations

from assistant.dialogue.wording import Answer
from assistant.pipeline import Pipeline
from assistant.train_acts import TrainActs

_WARNING = "⚠️"


class VoteActs:
    """The acts on a project's votes."""

    def __init__(self, pipeline: Pipeline, training: TrainActs) -> None:
        self._pipeline = pipeline
        self._training = training

    def tell(self, id: str) -> Answer:
        """What the votes say so far."""
        project = self._pipeline.go_to(id, "Compare")
        tallies = self._pipeline.tallies(project)
        if not tallies:
            return "Nobody has voted yet. Judge answers blind in **Compare**.", ("Compare side by side",)
        pairs = len(self._pipeline.pairs(project))
        told = " ".join(tally.told for tally in tallies)
        return f"{told}\n\nThe votes make {pairs} pairs to learn from.", ("Train on the votes",) if pairs else ()

    def ask_round(self, id: str) -> Answer:
        """Show what a round of training on the votes would be. Raises `DataError` for too few."""
        ready = self._pipeline.prepare_round(id)
        plan = ready.plan
        begins = f"from run **{plan.parent.name}**" if plan.parent else f"from **{plan.base_model}**"
        told = "".join(f"\n\n{_WARNING} {warning}" for warning in ready.warnings)
        return (
            f"Start will train on **{ready.pairs} pairs** from the votes, {plan.objective.title}, {begins}, as "
            f"**{plan.strategy.brief}**, {plan.training.epochs:g} epochs. The serving engine stops meanwhile. The "
            f"result will be served {plan.strategy.serving.told}, and compared with what it began from.{told}",
            ("Yes, train on the votes", "What do the votes say?"),
        )

    def start_round(self, id: str) -> Answer:
        return self._training.begun(id, self._pipeline.start_next_round(id)), ("Stop and keep", "Cancel training")
