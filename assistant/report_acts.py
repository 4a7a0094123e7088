"""What a person can have done about a result from the chat: hear whether it is better, what is wrong with it, have it
examined anew, and learn how to take it out.

Owns these acts and how they are told. Refuses to read messages and to judge (that is `trainers.evaluation`).
"""

from __future__ import annotations

import re

from assistant.dialogue.wording import Answer
from assistant.pipeline import Pipeline
from prompts.errors import RunError
from trainers.evaluation.records import EvaluationReport, Group
from trainers.status import RunFolder

_NO_REPORT = "There is no report yet. It comes at the end of a training."
# Which part of the report a question is about, by the words of four languages, without accents.
_ABOUT: dict[Group, str] = {
    "overfitting": r"overfit\w*|memori\w+|by heart|auswendig|par c\w*ur|de memoria|surapprentissage|sobreajust\w*",
    "transfer": r"forg[eo]t\w*|forgotten|unlearn\w*|vergess\w*|verlernt|oubli\w*|olvid\w*|transfer",
    "bias": r"bias\w*|unfair\w*|prejudice\w*|stereotyp\w*|voreingenommen|vorurteil\w*|biais\w*|sesg\w*|fair\w*",
    "demands": r"demand\w*|must.?nevers?|anforderung\w*|exigences?|exigencias?",
}
# By how soon a person should look at it.
_WORDS = {"failed": "failed", "warning": "look at this", "passed": "passed", "unknown": "not known"}
_MOST = 6


class ReportActs:
    """The acts on the result that is shown."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def report(self, id: str) -> Answer:
        """Whether it got better."""
        project = self._pipeline.go_to(id, "Report")
        run = self._pipeline.tuned_run(project)
        report = run.report() if run else None
        return self.verdict_of(report), ("Compare side by side",) if report else ()

    def verdict_of(self, report: EvaluationReport | None) -> str:
        """Whether a run's result is better, with the figures."""
        if report is None:
            return _NO_REPORT
        words = {"better": "Yes, it got better.", "worse": "It got worse.", "cannot tell": "I cannot tell yet."}
        headline = report.verdict.headline if report.verdict else words[report.comparison.verdict]
        doubts = "".join(f"\n- {reason}" for reason in report.verdict.reasons[1:4]) if report.verdict else ""
        return (
            f"**{headline}** {report.metric} on {report.tuned.n} held-out rows: base "
            f"{report.base}, tuned {report.tuned}.{doubts}"
        )

    def findings(self, id: str, text: str) -> Answer:
        """What the report says of one side of the result: what it forgot, learned by heart, whether it is biased."""
        project = self._pipeline.go_to(id, "Report")
        run = self._pipeline.tuned_run(project)
        report = run.report() if run else None
        if report is None:
            return _NO_REPORT, ()
        groups = [group for group, words in _ABOUT.items() if re.search(words, text, re.IGNORECASE)]
        gates = [gate for group, gate in report.every_gate if group in (groups or _ABOUT)]
        if not gates:
            return "That was not looked at in this run.", ("Examine it again",)
        gates.sort(key=lambda gate: list(_WORDS).index(gate.level))
        lines = [f"- **{gate.name}** ({_WORDS[gate.level]}): {gate.told}" for gate in gates[:_MOST]]
        rest = f"\n\n{len(gates) - _MOST} more stand in **Report**." if len(gates) > _MOST else ""
        return "\n".join(lines) + rest, ()

    def examine(self, id: str) -> Answer:
        """Examine the result anew, in the background. Raises a `TunewrightError`."""
        run = self._pipeline.examine(id)
        self._pipeline.go_to(id, "Report")
        return f"I examine the result of run `{run.name}` anew; the report in **Report** stays until that is done.", ()

    def export(self, id: str) -> Answer:
        """How to take the result out. Raises `RunError` where there is none."""
        run = self._exportable(id)
        self._pipeline.go_to(id, "Report")
        return (
            "At the end of **Report**, open **Take it out: export**: the adapter, one merged model, GGUF for "
            "llama.cpp, Ollama, or a hub. Each is loaded again and compared with the served model before it is kept. "
            f"On the command line: `tunewright export {run.id} --format gguf`.",
            (),
        )

    def _exportable(self, id: str) -> RunFolder:
        run = self._pipeline.tuned_run(self._pipeline.project(id))
        if run is None or run.artefact is None:
            raise RunError("There is nothing to export yet.", hint="It comes with the end of a training.")
        return run
