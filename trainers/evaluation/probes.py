"""The probes by name, in the order in which they are carried out and shown. Never imports torch."""

from __future__ import annotations

from trainers.evaluation.counterfactuals import CounterfactualsProbe
from trainers.evaluation.curves import CurvesProbe
from trainers.evaluation.demands import DemandsProbe
from trainers.evaluation.general import GeneralProbe
from trainers.evaluation.memorisation import MemorisationProbe
from trainers.evaluation.perplexity import PerplexityProbe
from trainers.evaluation.probe import Probe
from trainers.evaluation.robustness import RobustnessProbe
from trainers.evaluation.stereotypes import StereotypesProbe
from trainers.plan import EvaluationPlan

PROBES: dict[str, type[Probe]] = {
    probe.name: probe
    for probe in (
        CurvesProbe,
        MemorisationProbe,
        RobustnessProbe,
        GeneralProbe,
        PerplexityProbe,
        StereotypesProbe,
        CounterfactualsProbe,
        DemandsProbe,
    )
}


def replies(how: EvaluationPlan) -> int:
    """About how many short replies the probes ask for, of both arms together."""
    return 2 * sum(PROBES[name].replies(how) for name in how.probes)
