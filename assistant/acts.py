"""What a person can have done from the chat: each act does one thing to the project and says so.

Owns the acts. Refuses to read messages (a mind's work) and to decide which act is meant (the conversation's).
"""

from __future__ import annotations

from collections.abc import Callable

from assistant.dialogue import wording
from assistant.dialogue.interview import question_about
from assistant.dialogue.mind import Act
from assistant.dialogue.wording import Answer
from assistant.pipeline import Pipeline
from assistant.profiling import Profiling
from assistant.prompt_acts import WARNING, Note, PromptActs
from assistant.recommending import told_advice
from assistant.report_acts import ReportActs
from assistant.train_acts import TrainActs
from assistant.trial_acts import TrialActs
from assistant.vote_acts import VoteActs
from prompts.errors import TunewrightError

_PATIENCE = 4.0  # seconds that an answer waits for the profile; some thousand rows take as long


class Acts:
    """The acts, by name, on any project. `note` tells the chat what came later of something begun here."""

    def __init__(self, pipeline: Pipeline, note: Note) -> None:
        self._pipeline = pipeline
        self._note = note
        self.prompt = PromptActs(pipeline, note)
        self.training = TrainActs(pipeline)
        self.report = ReportActs(pipeline)
        self.trials = TrialActs(pipeline)
        votes = VoteActs(pipeline, self.training)
        self._by_name: dict[Act, Callable[[str], Answer]] = {
            "sample": self._sample,
            "profile": self._profile,
            "measure": self.prompt.ask_to_measure,
            "measure_both": self.prompt.measure_both,
            "critique": self.prompt.critique,
            "accept": self.prompt.accept,
            "dismiss": self.prompt.dismiss,
            "versions": self.prompt.versions,
            "few_shot": self._few_shot,
            "recommend": self._recommend,
            "train": self.training.ask,
            "confirm": self.training.start,
            "keep": self.training.keep,
            "resume": self.training.resume,
            "votes": votes.tell,
            "round": votes.ask_round,
            "confirm_round": votes.start_round,
            "confirm_try": self.trials.start,
            "trials": self.trials.tell,
            "stop_trials": self.trials.stop,
            "take_advised": self.trials.take,
            "cancel": self._cancel,
            "status": self.training.status,
            "report": self.report.report,
            "examine": self.report.examine,
            "export": self.report.export,
            "compare": self._compare,
            "help": lambda id: (wording.HELP, self._next(id)[1]),
            "why": self._why,
            "back": self._back,
            "restart": self._restart,
            "skip": self._skip,
        }

    def do(self, act: Act, id: str, text: str = "") -> Answer:
        """Carry out an act; `text` is the message that asked for it. Raises a `TunewrightError` where it cannot be."""
        if act == "improve":
            return self.prompt.ask_to_improve(id, text)
        if act == "restore":
            return self.prompt.restore(id, text)
        if act == "try":
            return self.trials.ask(id, text)
        if act == "resume_trials":
            return self.trials.resume(id, text)
        if act == "choose":
            return self.training.choose(id, text)
        if act == "findings":
            return self.report.findings(id, text)
        return self._by_name[act](id)

    def _next(self, id: str) -> Answer:
        return wording.next_step(self._pipeline.project(id))

    # The interview

    def _why(self, id: str) -> Answer:
        project = self._pipeline.project(id)
        question = question_about(project.asked)
        if question is None:
            return "I asked nothing just now. The reasons for my advice stand in **Strategy**.", self._next(id)[1]
        text, options = self._next(id)
        return f"{question.why}\n\n{text}", options

    def _skip(self, id: str) -> Answer:
        project = self._pipeline.project(id)
        if project.asked is None:
            return "There is no open question. " + self._next(id)[0], self._next(id)[1]
        self._pipeline.change(id, skipped=(*project.skipped, project.asked), asked=None)
        text, options = self._next(id)
        return f"Skipped; you can tell me later. {text}", options

    def _back(self, id: str) -> Answer:
        before = self._pipeline.project(id)
        after = self._pipeline.go_back(id)
        if after is None:
            return "There is nothing to go back to.", self._next(id)[1]
        changed = wording.understood(before.spec, after.spec).removeprefix("I noted:\n")
        text, options = self._next(id)
        return "\n\n".join(part for part in ["I took the last change back.", changed, text] if part), options

    def _restart(self, id: str) -> Answer:
        self._pipeline.start_over(id)
        self._pipeline.go_to(id, "Task")
        return "A clean sheet; `go back` returns to where we were.\n\n**What should the model do?**", (
            "Go back",
            wording.SAMPLE,
        )

    # Data

    def _sample(self, id: str) -> Answer:
        self._pipeline.start_sample(id)
        self._pipeline.go_to(id, "Prompt")
        told = self.told_data(id)
        return (
            "The sample project: tickets of an online electronics shop, to be routed to six teams.\n\n" + told,
            self._next(id)[1],
        )

    def _profile(self, id: str) -> Answer:
        told = self.told_data(id)
        self._pipeline.go_to(id, "Data")
        return told, self._next(id)[1]

    def told_data(self, id: str) -> str:
        """What is in the data, in a few lines; of a large file the rest comes as a note, once it is known."""
        project = self._pipeline.project(id)
        data, job = self._pipeline.source(project), self._pipeline.profiling(project, again=True)
        count = len(self._pipeline.examples(project))
        first = f"**{data.name}**: {count:,} examples; {data.columns.told}."
        if job.wait(_PATIENCE):
            return f"{first} {wording.found(job.result())}\n\n{wording.FIRST_PROMPT}"

        def tell() -> None:
            if self._pipeline.project(id).data == data:  # else what was found is of no interest any more
                self._note(id, self._found(data.name, job), ("Measure the prompt", "What do you advise?"))

        job.when_done(tell)
        return (
            f"{first} I am looking through them now; what I find comes here and in **Data**.\n\n{wording.FIRST_PROMPT}"
        )

    def _found(self, name: str, job: Profiling) -> str:
        try:
            return f"I have looked through **{name}**. {wording.found(job.result())}"
        except TunewrightError as error:
            return f"{WARNING} {error}"

    # The prompt

    def _few_shot(self, id: str) -> Answer:
        project = self._pipeline.add_demonstrations(id)
        self._pipeline.go_to(id, "Prompt")
        assert project.prompt is not None
        count = len(project.prompt.demonstrations)
        return f"The prompt now shows {count} solved examples from the training rows.", ("Measure the prompt",)

    # Strategy and training

    def _recommend(self, id: str) -> Answer:
        project = self._pipeline.go_to(id, "Strategy")
        return told_advice(self._pipeline.advice(project), tried=self._pipeline.trials(project) is not None)

    def _cancel(self, id: str) -> Answer:
        search, measurement = self._pipeline.improvements.get(id), self._pipeline.measurements.get(id)
        if search and search.running:
            search.stop()
            return "I stop the search; what it found so far is kept.", ()
        if measurement and measurement.running:
            measurement.stop()
            return "I stop measuring.", ()
        if self._pipeline.trials_go_on(self._pipeline.project(id)):
            return self.trials.stop(id)
        return self.training.cancel(id)

    # The result

    def _compare(self, id: str) -> Answer:
        self._pipeline.go_to(id, "Compare")
        told = (
            "Write a message in **Compare**; all answer at the same time. Or judge them blind, and learn who is better."
        )
        return told, ("What do the votes say?",)
