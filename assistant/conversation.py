"""One message in, one answer out: reads it, acts on the project, and says what happened and what comes next.

Owns the meeting of dialogue and pipeline. An error becomes a message with what to do; nothing entered is lost.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from assistant.dialogue import wording
from assistant.dialogue.reader import Act, read
from assistant.measuring import Measurement
from assistant.pipeline import Pipeline
from assistant.project import Project, Turn
from prompts.errors import ModelError, TunewrightError
from trainers.status import ENDED

_Answer = tuple[str, tuple[str, ...]]
_WARNING = "⚠️"
_YES = re.compile(r"\W*(yes|yep|yeah|sure|ok|okay|do it|go ahead)( please)?\W*", re.I)


class Conversation:
    """The chat of any project."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._announcing = threading.Lock()
        self._speaking = threading.RLock()  # what a background job has to tell waits for the answer that announced it
        self._acts: dict[Act, Callable[[str], _Answer]] = {
            "sample": self._sample,
            "measure": self._measure,
            "few_shot": self._few_shot,
            "recommend": self._recommend,
            "train": self._train,
            "confirm": self._confirm,
            "cancel": self._cancel,
            "status": self._status,
            "report": self._report,
            "compare": self._compare,
            "help": lambda id: (wording.HELP, ()),
        }

    def turns(self, id: str) -> list[Turn]:
        """The chat so far; it opens with a welcome."""
        welcome = Turn(role="assistant", text=wording.WELCOME, options=wording.WELCOME_OPTIONS)
        return [welcome, *self._pipeline.store.turns(id)]

    def note(self, id: str, text: str, options: tuple[str, ...] = ()) -> None:
        """Something that happened outside the chat and that the chat should know."""
        with self._speaking:
            self._pipeline.store.add_turn(id, Turn(role="assistant", text=text, options=options))

    def hear(self, id: str, text: str, names: Sequence[str] = ()) -> None:
        """Keep the person's message at once, before anything is done about it."""
        shown = "\n".join([text, *(f"📎 {name}" for name in names)]).strip()
        self._pipeline.store.add_turn(id, Turn(role="user", text=shown))

    def answer(self, id: str, text: str, uploads: Sequence[Path] = ()) -> None:
        """Act on a message that was heard, and answer it in the chat."""
        with self._speaking:
            answers = [self._tried(partial(self._take, id, upload)) for upload in uploads]
            if text.strip() or not any(told.startswith(_WARNING) for told, _ in answers):
                answers.append(self._tried(partial(self._react, id, self._meant(id, text), bool(uploads))))
            self.note(id, "\n\n".join(told for told, _ in answers if told), answers[-1][1])

    def _tried(self, act: Callable[[], _Answer]) -> _Answer:
        """What an act says. An error is said too, and what else the message holds is still acted upon."""
        try:
            return act()
        except TunewrightError as error:
            return f"{_WARNING} {error}", ()

    def _meant(self, id: str, text: str) -> str:
        """A bare yes means the one thing that was offered, or the first where that was a yes itself."""
        asked = next((turn.options for turn in reversed(self.turns(id)) if turn.role == "assistant"), ())
        offered = asked and (len(asked) == 1 or asked[0].startswith("Yes"))
        return asked[0] if offered and _YES.fullmatch(text) else text

    def _take(self, id: str, upload: Path) -> _Answer:
        project = self._pipeline.add_file(id, upload)
        assert project.data is not None
        try:
            return self._told_data(id), ()
        except ModelError as error:  # the data is in all the same
            return f"**{project.data.name}** is in, but its tokens cannot be counted.\n\n{_WARNING} {error}", ()

    def _react(self, id: str, text: str, with_file: bool) -> _Answer:
        project = self._pipeline.project(id)
        reading = read(text, project.spec)
        if reading.prompt is not None:
            template = project.prompt.template if project.prompt else "{{ input }}"
            changed = self._pipeline.save_prompt(
                id, system=reading.prompt, template=template, reason="said in the chat"
            )
            self._pipeline.go_to(id, "Prompt")
            assert changed.prompt is not None
            return f"The prompt is now version `{changed.prompt.id}`.", ("Measure the prompt", "What do you advise?")
        if reading.said or reading.inferred:
            after = self._pipeline.edit_spec(id, reading.said, reading.inferred)
            noted = wording.understood(project.spec, after.spec)
            if reading.act is None:
                question, options = wording.next_step(after)
                if noted and after.stage == "Task" and after.spec.task and after.data is None:
                    self._pipeline.go_to(id, "Data")
                return "\n\n".join(part for part in (noted, question) if part), options
            said, options = self._tried(partial(self._acts[reading.act], id))
            return "\n\n".join(part for part in (noted, said) if part), options
        if reading.act is not None:
            return self._acts[reading.act](id)
        question, options = wording.next_step(project)
        return question if with_file else f"I did not find a fact or a wish in that. {question}", options

    # Acts: each does one thing and says so.

    def _sample(self, id: str) -> _Answer:
        self._pipeline.start_sample(id)
        told = self._told_data(id)
        return (
            "The sample project: tickets of an online electronics shop, to be routed to six teams.\n\n" + told,
            wording.next_step(self._pipeline.project(id))[1],
        )

    def _told_data(self, id: str) -> str:
        project = self._pipeline.go_to(id, "Prompt")
        assert project.data is not None
        profile = self._pipeline.profile(project)
        columns = project.data.columns
        lines = [
            f"**{project.data.name}**: {profile.usable} examples; `{columns.input}` goes in, `{columns.output}` is the "
            f"answer. Rows take {profile.median_tokens} tokens in the middle, {profile.longest_tokens} at most."
        ]
        if profile.labels:
            counts = ", ".join(f"{label} ({count})" for label, count in list(profile.labels.items())[:12])
            lines.append(f"{len(profile.labels)} labels: {counts}.")
        lines += [f"- {finding.text}" for finding in profile.findings]
        lines.append("I wrote a first prompt; it is in **Prompt**, with rows exactly as the model will see them.")
        return "\n\n".join(lines)

    def _measure(self, id: str) -> _Answer:
        measurement = self.measure(id)
        self._pipeline.go_to(id, "Prompt")
        return f"I ask the base model {measurement.total} dev rows. The score comes in the **Prompt** panel.", ()

    def measure(self, id: str) -> Measurement:
        """Measure the current prompt in the background; the chat tells the score when it is there."""
        before = self._pipeline.measurements.get(id)
        measurement = self._pipeline.start_measuring(id)

        def tell(done: Measurement) -> None:
            if done.score:
                told = f"Prompt version `{done.prompt_id}`: {done.metric} {done.score} on the dev rows."
                self.note(id, told, ("What do you advise?", "Add examples"))
            elif done.error:
                self.note(id, f"{_WARNING} The prompt could not be measured. {done.error}", ("Measure the prompt",))

        if measurement is not before:  # else it was running already, and is told once
            measurement.when_done(tell)
        return measurement

    def _few_shot(self, id: str) -> _Answer:
        project = self._pipeline.add_demonstrations(id)
        self._pipeline.go_to(id, "Prompt")
        assert project.prompt is not None
        count = len(project.prompt.demonstrations)
        return f"The prompt now shows {count} solved examples from the training rows.", ("Measure the prompt",)

    def _recommend(self, id: str) -> _Answer:
        project = self._pipeline.go_to(id, "Strategy")
        best = self._pipeline.recommend(project)[0]
        reasons = "\n".join(f"- {reason}" for reason in best.reasons)
        options: dict[str, tuple[str, ...]] = {
            "lora": ("Start training",),
            "few_shot": ("Add examples", "Measure the prompt"),
            "prompt": ("Compare side by side",),
            "data": ("Start with the sample project",) if project.data is None else (),
        }
        text = f"My advice: **{best.title}** ({best.cost}).\n{reasons}\n\nAll options are in **Strategy**."
        return text, options[best.kind]

    def _train(self, id: str) -> _Answer:
        return self.what_will_happen(id), ("Yes, start training", "What do you advise?")

    def what_will_happen(self, id: str) -> str:
        """Data, model, size and minutes of the plan that Start will follow. Raises `DataError` without data."""
        project = self._pipeline.project(id)
        plan = self._pipeline.plan(project)
        cost = self._pipeline.cost_of(project, plan)
        return (
            f"Start will train **LoRA, rank {plan.strategy.r}**, on **{self._pipeline.base(project).name}** with "
            f"{cost.rows} rows, {plan.training.epochs:g} epochs, {cost.tokens:,} tokens: {cost}, "
            f"including the test on {cost.test_rows} held-out rows. "
            f"The serving engine stops meanwhile."
        )

    def _confirm(self, id: str) -> _Answer:
        run = self._pipeline.start_training(id)
        return f"Training has begun as run `{run.id}`. It goes on if you close this page or the app.", (
            "Cancel training",
        )

    def _cancel(self, id: str) -> _Answer:
        measurement = self._pipeline.measurements.get(id)
        if measurement and measurement.running:
            measurement.stop()
            return "I stop measuring.", ()
        status = self._pipeline.run_status(self._pipeline.project(id))
        if status is None or status.state in ENDED:
            return "Nothing is running.", ()
        self._pipeline.cancel_training(id)
        return "I cancel the training.", ("Start training",)

    def _status(self, id: str) -> _Answer:
        status = self._pipeline.run_status(self._pipeline.project(id))
        if status is None:
            return "No training was started yet.", ("What do you advise?",)
        left = f", about {status.seconds_left / 60:.0f} minutes left" if status.seconds_left else ""
        return f"The training is {status.state} ({status.phase}, {status.fraction:.0%}{left}). {status.message}", ()

    def _report(self, id: str) -> _Answer:
        project = self._pipeline.go_to(id, "Report")
        run = self._pipeline.tuned_run(project)
        return self._verdict(project), ("Compare side by side",) if run and run.report() else ()

    def _compare(self, id: str) -> _Answer:
        self._pipeline.go_to(id, "Compare")
        return "Write a message in **Compare**; base and tuned model answer at the same time.", ()

    def _verdict(self, project: Project) -> str:
        run = self._pipeline.tuned_run(project)
        report = run.report() if run else None
        if report is None:
            return "There is no report yet. It comes at the end of a training."
        words = {"better": "Yes, it got better.", "worse": "It got worse.", "cannot tell": "I cannot tell yet."}
        return (
            f"**{words[report.comparison.verdict]}** {report.metric} on {report.tuned.n} held-out rows: base "
            f"{report.base}, tuned {report.tuned}."
        )

    def announce_end(self, id: str) -> bool:
        """Tell once, in the chat, that the latest run has ended. True where something was told."""
        with self._announcing:  # every open page asks each second
            project = self._pipeline.project(id)
            status = self._pipeline.run_status(project)
            if status is None or status.state not in ENDED or project.announced == project.run_id:
                return False
            self._pipeline.change(id, announced=project.run_id)
        if status.state == "done":
            self._pipeline.go_to(id, "Report")
            self.note(id, "Training is finished. " + self._verdict(project), ("Compare side by side",))
        else:
            self.note(id, f"The training has ended: {status.message} {status.hint}".strip(), ("Start training",))
        return True
