"""What a person can have done to the prompt from the chat: measured, read, improved, changed by a wish, taken back.

Owns these acts and how they are told. Refuses to read messages; a wish comes as `prompts.rewriting` understood it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from assistant.dialogue.offline.commands import minutes_in, version_in
from assistant.dialogue.wording import Answer
from assistant.improving import Improving
from assistant.measuring import Measurement
from assistant.pipeline import Pipeline
from assistant.project import Project
from assistant.workshop import MINUTES
from prompts.diff import summary
from prompts.errors import PromptError
from prompts.rewriting import Wish, rewritten
from prompts.versions import PromptVersion

WARNING = "⚠️"
DECIDE = ("Yes, accept it", "Keep mine", "Measure both")
Note = Callable[[str, str, tuple[str, ...]], None]
_MOST = 8


class PromptActs:
    """The acts on a project's prompt. `note` tells the chat what came later of something begun here."""

    def __init__(self, pipeline: Pipeline, note: Note) -> None:
        self._pipeline = pipeline
        self._note = note

    # Measuring and searching

    def measure(self, id: str) -> Measurement:
        """Measure the current prompt in the background; the chat tells the score when it is there."""
        before = self._pipeline.measurements.get(id)
        measurement = self._pipeline.start_measuring(id)

        def tell(done: Measurement) -> None:
            if done.score:
                told = f"Prompt version `{done.prompt_id}`: {done.metric} {done.score} on the dev rows."
                told += f"\n\n{WARNING} {done.caution}" if done.caution else ""
                self._note(id, told, ("Improve the prompt", "What do you advise?", "Add examples"))
            elif done.error:
                told = f"{WARNING} The prompt could not be measured. {done.error}"
                self._note(id, told, ("Measure the prompt",))

        if measurement is not before:  # else it was running already, and is told once
            measurement.when_done(tell)
        return measurement

    def ask_to_measure(self, id: str) -> Answer:
        measurement = self.measure(id)
        self._pipeline.go_to(id, "Prompt")
        return f"I ask the base model {measurement.total} dev rows. The score comes in the **Prompt** panel.", ()

    def improve(self, id: str, minutes: float | None = None) -> Improving:
        """Search a better prompt in the background; the chat tells what came of it."""
        before = self._pipeline.improvements.get(id)
        job = self._pipeline.start_improving(id, minutes)

        def tell(done: Improving) -> None:
            if done.outcome and done.outcome.better:
                project = self._pipeline.project(id)
                told = f"The search has ended. {done.outcome.sentence}\n\n{self._proposed(project)}"
                self._note(id, told, DECIDE[:2])
            elif done.outcome:
                self._note(id, f"The search has ended. {done.outcome.sentence}", ("What do you advise?",))
            else:
                self._note(id, f"{WARNING} {done.error or done.message}", ("Improve the prompt",))

        if job is not before:
            job.when_done(tell)
        return job

    def ask_to_improve(self, id: str, text: str) -> Answer:
        minutes = minutes_in(text) or MINUTES
        self.improve(id, minutes)
        self._pipeline.go_to(id, "Prompt")
        return (
            f"I search for about {minutes:g} minutes: other wordings, what the critique suggests, and solved "
            "examples, on training rows. What looks best is then held against yours on the dev rows. `stop` ends it.",
            (),
        )

    # Reading and changing

    def critique(self, id: str) -> Answer:
        project = self._pipeline.go_to(id, "Prompt")
        if project.prompt is None:
            raise PromptError("There is no prompt yet.", hint="Tell me the task first.")
        remarks = self._pipeline.remarks(project)
        if not remarks:
            return "I find nothing to remark on the prompt.", ("Measure the prompt", "Improve the prompt")
        lines = [f"- {WARNING + ' ' if r.severity != 'info' else ''}{r.text}" for r in remarks[:_MOST]]
        mendable = any(remark.suggestion for remark in remarks)
        told = "\n".join(lines) + ("\n\nWhere I know a rewrite, it has a button in **Prompt**." if mendable else "")
        return told, ("Improve the prompt", "Measure the prompt")

    def wish(self, id: str, wishes: tuple[Wish, ...]) -> Answer:
        """Lay what the wishes make of the prompt, or of the open proposal, before the person.

        The task itself stays as it is: what is tried on a prompt is not yet a demand on every answer.
        """
        project = self._pipeline.project(id)
        begun = project.proposal or project.prompt
        if begun is None:
            raise PromptError("There is no prompt yet.", hint="Tell me the task first.")
        fields, done = rewritten(begun, wishes, self._pipeline.can_hold_to(project))
        if not fields:
            return "The prompt says that already.", DECIDE if project.proposal else ("Measure the prompt",)
        return self._lay(id, begun, fields, "; ".join(done))

    def rewrite(self, id: str, system: str) -> Answer:
        """Lay a system prompt that a language model wrote before the person."""
        project = self._pipeline.project(id)
        begun = project.proposal or project.prompt or PromptVersion()
        return self._lay(id, begun, {"system": system}, "rewritten as you asked in the chat")

    def _lay(self, id: str, begun: PromptVersion, fields: dict[str, object], reason: str) -> Answer:
        project = self._pipeline.project(id)
        version = begun.revised(reason=reason, author="tunewright", **fields)
        if project.proposal:  # one proposal follows another: what counts is the way from the current version
            version = version.model_copy(update={"reason": f"{project.proposal.reason}; {reason}"})
        project = self._pipeline.propose(id, version)
        self._pipeline.go_to(id, "Prompt")
        return self._proposed(project), DECIDE

    def _proposed(self, project: Project) -> str:
        """The open proposal, its reasons, and what differs, line by line."""
        proposal, current = project.proposal, project.prompt or PromptVersion()
        if proposal is None:
            return ""
        lines = difflib.unified_diff(_lines(current), _lines(proposal), lineterm="", n=0)
        body = "\n".join(line for line in lines if line[:2] not in {"--", "++", "@@"})
        shown = f"\n```diff\n{body}\n```" if body else ""
        return f"I propose version `{proposal.id}`: {proposal.reason} ({summary(current, proposal)}).{shown}"

    def accept(self, id: str) -> Answer:
        project = self._pipeline.accept(id)
        self._pipeline.go_to(id, "Prompt")
        assert project.prompt is not None
        return f"The prompt is now version `{project.prompt.id}`.", ("Measure the prompt", "What do you advise?")

    def dismiss(self, id: str) -> Answer:
        if self._pipeline.project(id).proposal is None:
            return "Nothing is proposed; your prompt is as it was.", ()
        self._pipeline.dismiss(id)
        return "Your prompt stays as it is.", ("Measure the prompt", "Improve the prompt")

    def measure_both(self, id: str) -> Answer:
        self._pipeline.measure_both(id)
        self._pipeline.go_to(id, "Prompt")
        return "I measure yours and the proposed version on the same dev rows; the scores come in **Prompt**.", DECIDE[
            :2
        ]

    # Versions

    def versions(self, id: str) -> Answer:
        project = self._pipeline.go_to(id, "Prompt")
        stored = self._pipeline.prompts(id)
        if not stored:
            return "There is no version of a prompt yet.", ()
        current = project.prompt.id if project.prompt else ""
        lines = [
            f"- `{s.version.id}`{' **(current)**' if s.version.id == current else ''}: "
            f"{s.version.reason or 'as written'}{f', {s.metric} {s.score}' if s.score else ''}"
            for s in reversed(stored[-_MOST:])
        ]
        compared = self._compared(project)
        return "\n".join([*lines, *([f"\n{compared}"] if compared else [])]), ("Measure the prompt",)

    def _compared(self, project: Project) -> str:
        """The current version against what it grew from, where both are measured."""
        current = project.prompt
        if current is None or current.parent is None or project.data is None:
            return ""
        try:
            found = self._pipeline.compare_prompts(project, current.parent, current.id)
        except PromptError:  # the parent is not kept here
            return ""
        return f"Against `{current.parent}`, what it grew from: {found.comparison.told}." if found else ""

    def restore(self, id: str, text: str) -> Answer:
        project = self._pipeline.project(id)
        wanted = version_in(text) or (project.prompt.parent if project.prompt else None)
        if not wanted:
            raise PromptError("There is no version before this one.", hint="Say which: restore version 0123456789ab.")
        self._pipeline.restore_prompt(id, wanted)
        self._pipeline.go_to(id, "Prompt")
        return f"Back to version `{wanted}`; what you change now grows from there.", ("Measure the prompt",)


def _lines(version: PromptVersion) -> list[str]:
    """A version as lines of text, a sentence each."""
    sentences = version.system.replace(". ", ".\n").splitlines()
    shown = [f"example: {d.input} -> {d.output}" for d in version.demonstrations]
    held = [f"answers: {version.allowed.told}"] if version.allowed else []
    return [*sentences, f"turn: {version.template}", *shown, *held]
