"""Which mind reads a project's chat: the configured language model with the offline one behind it, or the latter alone.

Owns their making, and the views of a project that a model may look at. Refuses to act: views only read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from assistant.dialogue.mind import Context, Mind, Reading
from assistant.dialogue.offline.mind import OfflineMind
from assistant.dialogue.two_minds import TwoMinds
from assistant.hosts import is_here
from assistant.pipeline import Pipeline
from prompts.errors import EngineError, TunewrightError


def minds_for(pipeline: Pipeline) -> Callable[[str], Mind]:
    """The mind of each project's chat, by its id: a failure of the model is told once in each chat."""
    offline = OfflineMind()
    chosen = pipeline.settings.chat_model
    if chosen is None:
        return lambda id: offline

    def mind_for(id: str) -> Mind:
        from assistant.dialogue.model_mind import model_mind  # only a chat that has a model pays for its library

        model: Mind = model_mind(chosen, views(pipeline, id))
        if not is_here(chosen.url):
            model = Discreet(model, offline, str(urlsplit(chosen.url).hostname))
        return TwoMinds(model, offline)

    return mind_for


def warm_up() -> None:
    """Have the offline mind ready before the first message: it learns its classifier, which takes seconds."""
    OfflineMind().read("Sort mails into spam and ham", Context())


@dataclass(frozen=True)
class Discreet:
    """A remote mind that hears nothing once the person said, in this message or before, that nothing may leave."""

    remote: Mind
    offline: Mind
    host: str

    def read(self, text: str, context: Context) -> Reading:
        """Raises `EngineError` where the message may not be sent."""
        said = self.offline.read(text, context).said
        if said.get("local_only", context.spec.local_only):
            raise EngineError(
                f"You said that nothing may leave this machine, so the chat model at {self.host} hears nothing."
            )
        return self.remote.read(text, context)


def views(pipeline: Pipeline, id: str) -> dict[str, Callable[[], str]]:
    """What a model may look at, by name."""
    shown = {"prompt": _prompt, "data": _data, "advice": _advice, "status": _status, "report": _report}
    return {name: partial(_readable, view, pipeline, id) for name, view in shown.items()}


def _readable(view: Callable[[Pipeline, str], str], pipeline: Pipeline, id: str) -> str:
    try:
        return view(pipeline, id)
    except TunewrightError as error:
        return str(error)


def _prompt(pipeline: Pipeline, id: str) -> str:
    project = pipeline.project(id)
    if project.prompt is None:
        return "There is no prompt yet."
    stored = pipeline.score_of(project)
    score = f"{stored.metric} {stored.score} on the dev rows" if stored else "not measured yet"
    return f"{project.prompt.system}\n\nDemonstrations: {len(project.prompt.demonstrations)}. Score: {score}."


def _data(pipeline: Pipeline, id: str) -> str:
    project = pipeline.project(id)
    profile = pipeline.profile(project)
    findings = "\n".join(f"- {finding.text}" for finding in profile.findings)
    return f"{profile.usable} usable rows. Labels: {profile.labels or 'none'}.\n{findings}"


def _advice(pipeline: Pipeline, id: str) -> str:
    advice = pipeline.advice(pipeline.project(id))
    options = [
        f"{option.title} ({option.standing}; {option.cost}): {' '.join(reason.text for reason in option.reasons)}"
        for option in advice.options
    ]
    conflicts = [f"{conflict.told} {conflict.nearest}" for conflict in advice.conflicts]
    return "\n".join(filter(None, (advice.evidence, *conflicts, *options)))


def _status(pipeline: Pipeline, id: str) -> str:
    status = pipeline.run_status(pipeline.project(id))
    return (
        f"{status.state}, {status.phase} {status.fraction:.0%}. {status.message}" if status else "Nothing was started."
    )


def _report(pipeline: Pipeline, id: str) -> str:
    run = pipeline.tuned_run(pipeline.project(id))
    report = run.report() if run else None
    if report is None:
        return "There is no report yet."
    return f"{report.metric}: base {report.base}, tuned {report.tuned}; {report.comparison.verdict}."
