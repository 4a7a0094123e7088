"""What a person can have done about trials from the chat: start, hear of them, stop, go on, take what was found.

Owns these acts and how they are told. Refuses to read messages and to decide.
"""

from __future__ import annotations

from assistant.dialogue.offline.commands import minutes_in
from assistant.dialogue.wording import Answer
from assistant.pipeline import Pipeline
from assistant.standing import Standing, standings
from assistant.trialbench import MINUTES
from assistant.trialling import Options
from prompts.errors import RunError
from trainers.hardware import choose_compute
from trainers.trials.folder import ENDED, TrialsFolder
from trainers.trials.records import Decision, TrialsStatus

_WARNING = "⚠️"
_GOING = ("How are the trials going?", "Stop the trials")
_TAKE = ("Use the advised plan", "What do you advise?")
_SHOWN = 4  # options that are named with their scores


class TrialActs:
    """The acts on a project's trials."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._minutes: dict[str, float] = {}  # what each project's person named when they asked

    def ask(self, id: str, text: str = "") -> Answer:
        """Show what trying the options would take. Raises a `TunewrightError` where nothing can be tried."""
        project = self._pipeline.project(id)
        if self._pipeline.trials_go_on(project):
            return self.tell(id)
        options = self._pipeline.trial_options(project)
        if minutes := minutes_in(text):
            self._minutes[id] = minutes
        else:
            self._minutes.pop(id, None)
        self._pipeline.go_to(id, "Strategy")
        return self._what_will_happen(id, options), ("Yes, try the options", "Not now")

    def _what_will_happen(self, id: str, options: Options) -> str:
        base = self._pipeline.base(self._pipeline.project(id)).name
        titles = "; ".join(candidate.title for candidate in options.candidates)
        left = "".join(f"\n- {title}: {why}" for title, why in options.left_out.items())
        left = f"\n\nLeft out:{left}" if left else ""
        return (
            f"I would run {len(options.candidates)} options for real on **{base}**: {titles}.\n\nThat takes at most "
            f"**{self._budget(id):g} minutes** of this machine and about {options.memory_gb:.1f} GB; all of them in "
            f"full would take about {_minutes(options.seconds)}. They go on growing parts of the training and dev "
            "rows, what can no longer win is stopped, and the test rows stay sealed. Measuring and the serving engine "
            f"stop meanwhile.{left}"
        )

    def _budget(self, id: str) -> float:
        return self._minutes.get(id) or MINUTES[choose_compute(self._pipeline.settings.paths.cache).device]

    def start(self, id: str) -> Answer:
        """Start them within the budget that was named. Raises what `TrialBench.start_trials` raises."""
        minutes = self._budget(id)
        self.begin(id, minutes)
        told = f"I try the options, for at most {minutes:g} minutes. It goes on if you close this page or the app."
        return told, _GOING

    def begin(self, id: str, minutes: float, device: str = "", cluster: str = "") -> TrialsFolder:
        """Start them, and show where they are seen. Raises what `TrialBench.start_trials` raises."""
        folder = self._pipeline.start_trials(id, minutes, device=device, cluster=cluster)
        self._pipeline.go_to(id, "Strategy")
        return folder

    def tell(self, id: str) -> Answer:
        """How the trials go, or what they have found."""
        project = self._pipeline.project(id)
        folder = self._pipeline.trials(project)
        if folder is None:
            return "Nothing was tried yet.", ("Try the options",)
        status = self._pipeline.trials_status(folder)
        self._pipeline.go_to(id, "Strategy")
        if status.state not in ENDED:
            return f"{_progress(folder, status)}\n\n{_scores(folder, status)}".strip(), ("Stop the trials",)
        return self.ended(id, folder)

    def ended(self, id: str, folder: TrialsFolder) -> Answer:
        """What came of trials that have ended."""
        project, status = self._pipeline.project(id), self._pipeline.trials_status(folder)
        decision = folder.decision()
        changed = self._pipeline.outdated(project, folder)
        if decision is None:
            told = f"The trials have ended: {status.message} {status.hint}".strip()
            return told, ("Go on with the trials", "Try the options")
        if changed:
            told = f"\n\n{_WARNING} Since then {changed} changed, so that this no longer counts for the advice."
            return _decided(folder, status, decision) + told, ("Try the options",)
        return _decided(folder, status, decision), (*_TAKE, *self._further(id, folder, status))

    def _further(self, id: str, folder: TrialsFolder, status: TrialsStatus) -> tuple[str, ...]:
        """How to go on with trials that have ended, where they can."""
        if status.state != "done":
            return ("Go on with the trials",)
        minutes = f"{self._budget(id):g} more minutes"
        return (f"Go on with the trials for {minutes}",) if self._pipeline.more_to_try(folder) else ()

    def stop(self, id: str) -> Answer:
        """Raises `RunError` where none go on."""
        self._pipeline.stop_trials(id)
        return "I stop the trials; what was found so far is kept, and they can go on later.", ()

    def resume(self, id: str, text: str = "") -> Answer:
        """Go on with what was cut off, or is done and is given more minutes. Raises `RunError` for neither."""
        return self.go_on(id, minutes_in(text)), _GOING

    def go_on(self, id: str, minutes: float | None) -> str:
        """The same, and what is to be said of it. What was cut off has minutes left, and gets more where they are
        named; what is done gets the usual ones where none are."""
        folder = self._pipeline.trials(self._pipeline.project(id))
        if minutes is None and folder and self._pipeline.more_to_try(folder):
            minutes = self._budget(id)
        self._pipeline.resume_trials(id, minutes)
        return f"The trials go on, with {minutes:g} minutes more." if minutes else "The trials go on where they were."

    def take(self, id: str) -> Answer:
        """Make what the trials advise the project's plan, else what the rules advise."""
        project = self._pipeline.project(id)
        decision = self._pipeline.decision(project)
        if decision:
            plan = self._pipeline.take_candidate(id, decision.advised)
        else:
            best = self._pipeline.advice(project).best
            if best.plan is None:
                raise RunError(f"The advice, “{best.title}”, has no plan.", hint="Ask what I advise, and why.")
            plan = best.plan
            self._pipeline.check(project, plan)
            self._pipeline.set_plan(id, plan)
        self._pipeline.go_to(id, "Strategy")
        return f"The plan is now **{plan.strategy.brief}**.", ("Start training",)


def _progress(folder: TrialsFolder, status: TrialsStatus) -> str:
    if status.state == "queued":
        return f"The trials wait. {status.message}".strip()
    doing = next((c.title for c in folder.order().candidates if status.doing and c.key == status.doing.key), "")
    what = f", now **{doing}**" if doing else ""
    left = f", at most {_minutes(status.seconds_left)} left" if status.seconds_left else ""
    return f"The trials are at {status.fraction:.0%}{what}{left}."


def _decided(folder: TrialsFolder, status: TrialsStatus, decision: Decision) -> str:
    further = "".join(f"\n- {sentence}" for sentence in decision.told)
    return "\n\n".join(part for part in (f"**{decision.sentence}**", _scores(folder, status), further.strip()) if part)


def _scores(folder: TrialsFolder, status: TrialsStatus) -> str:
    """The best options with their scores."""
    found = standings(folder.order(), status, folder.tried(), folder.decision())
    lines = [_line(one) for one in found if one.last][:_SHOWN]
    return "\n".join(lines)


def _line(one: Standing) -> str:
    assert one.last is not None
    return f"- {one.candidate.title}: {one.last.score}, {one.state}"


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes"
