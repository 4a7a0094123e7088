"""How probable general text is to base and tuned model: what the tuned one unlearnt of language. Never imports torch.

Owns the texts (texts.yaml beside this file, or the person's own file) and what a change of perplexity means. Refuses to
compute probabilities (`arm`).

Perplexity is the exponential of the mean negative log-probability of a token, over all tokens of all texts. The ratio
of tuned to base is told with an interval from a bootstrap over texts, both models on the same ones.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import yaml

from prompts.errors import DataError
from prompts.metrics import Score
from prompts.metrics.certainty import compare_counts, summarize_counts
from trainers.evaluation.probe import OnProgress, Probe
from trainers.evaluation.records import Case, Figure, Gate, Group, Level, Part, Prediction
from trainers.evaluation.transfer import against_forgetting

if TYPE_CHECKING:
    from trainers.evaluation.arm import Arm

# Our own borders. At 1.1 a token is 9 % less probable than it was, in the geometric mean, and at 1.5 a third.
_RISEN, _BROKEN = 1.1, 1.5
_FEWEST = 5  # texts; of fewer there is no interval worth the name
_CHARACTERS = 600  # a longer paragraph is several texts
_SHORTEST = 40  # characters; headings and the like are left out
_SHOWN = 3
_LEAST = -50.0  # nats a token: less than this is told as this, so that figures stay finite


class PerplexityProbe(Probe):
    """Plain texts that have nothing to do with the task, without chat and prompt."""

    name: ClassVar[str] = "perplexity"
    title: ClassVar[str] = "General language"
    group: ClassVar[Group] = "transfer"

    @cached_property
    def _texts(self) -> list[tuple[str, str]]:
        """Kind and text of each."""
        if self.subject.how.general_text:
            return [("your text", text) for text in self.subject.sample(own_texts(self.subject.how.general_text))]
        return [(kind, text) for kind, texts in general_texts().items() for text in texts]

    def ask(self, arm: Arm, on_progress: OnProgress) -> list[Any]:
        """[log-probability in nats, tokens] of each text. A model that is broken may say NaN, which is told as null."""
        found = arm.likelihoods([text for _, text in self._texts], on_progress=on_progress)
        return [[one.sum if math.isfinite(one.sum) else None, one.tokens] for one in found]

    def judge(self, base: list[Any], tuned: list[Any], predictions: Sequence[Prediction]) -> Part:
        import numpy as np

        read = [i for i, (_, tokens) in enumerate(base) if tokens]
        counts = np.array([[_nats(base[i]), _nats(tuned[i]), base[i][1]] for i in read], float)
        gate = self._unknown(len(read))
        figures: list[Figure] = []
        cases: list[Case] = []
        if len(read) >= _FEWEST:
            ratio = summarize_counts(counts, lambda sums: np.exp((sums[:, 1] - sums[:, 0]) / sums[:, 2]))
            gate = self._gate(counts, ratio, broken=any(tuned[i][0] is None for i in read))
            figures = _figures([self._texts[i][0] for i in read], counts)
            cases = self._worst(read, counts)
        source = f"{self.subject.how.general_text.name}, cut into" if self.subject.how.general_text else "our own:"
        return self.part(
            asked=f"How probable both models find general text: {source} {len(self._texts)} short texts.",
            gates=(gate,),
            figures=tuple(figures),
            cases=tuple(cases),
            limits="It says whether the model still knows ordinary language, and not whether it can still do anything "
            "with it. Figures of two different base models cannot be compared, since they count in other tokens.",
        )

    def _unknown(self, texts: int) -> Gate:
        told = f"Unknown: {texts} texts are too few; at least {_FEWEST} paragraphs are needed."
        return Gate(name="general language", level="unknown", told=told)

    def _gate(self, counts: Any, ratio: Score, *, broken: bool) -> Gate:
        name = "general language"
        base, tuned = (_perplexity(counts, arm) for arm in (0, 1))
        times = f"{ratio.value:.2f} times as much ({ratio.low:.2f} to {ratio.high:.2f}, n={ratio.n} texts)"
        figures = f"Perplexity: {base:.1f} before, {tuned:.1f} now, {times}."
        level: Level = "failed"
        if broken:
            told = "The tuned model gives no probabilities that are numbers: its weights are broken."
        elif ratio.value > _RISEN and ratio.low > 1:
            less = f"{1 - 1 / ratio.value:.0%} less" if ratio.value < 10 else f"{ratio.value:,.0f} times less"
            told = f"A word of ordinary text is {less} probable to it than it was, on average. {figures}"
            level = "failed" if ratio.value > _BROKEN else "warning"
        else:
            return Gate(name=name, level="passed", told=f"Ordinary text is about as probable as before. {figures}")
        return Gate(name=name, level=level, told=told, remedies=against_forgetting(self.subject))

    def _worst(self, read: Sequence[int], counts: Any) -> list[Case]:
        """The texts that became most improbable, where one did by more than the border."""
        ratios = [math.exp((tuned - base) / tokens) for base, tuned, tokens in counts]
        order = sorted(range(len(read)), key=lambda i: -ratios[i])[:_SHOWN]
        return [
            Case(
                title=f"{self._texts[read[i]][0]}: {ratios[i]:.2f} times as perplexing",
                input=self._texts[read[i]][1],
                base=f"perplexity {math.exp(counts[i][0] / counts[i][2]):.1f}",
                tuned=f"perplexity {math.exp(counts[i][1] / counts[i][2]):.1f}",
            )
            for i in order
            if ratios[i] > _RISEN
        ]


def _nats(said: list[Any]) -> float:
    """The negative log-probability of a text in nats, finite whatever the model said."""
    total, tokens = said
    least = _LEAST * float(tokens)
    return -(least if total is None else max(least, float(total)))


def _perplexity(counts: Any, arm: int) -> float:
    return math.exp(counts[:, arm].sum() / counts[:, 2].sum())


def _figures(kinds: Sequence[str], counts: Any) -> list[Figure]:
    """Perplexity of all texts, and of each kind of which there are several."""
    import numpy as np

    def total(sums: Any) -> Any:
        return np.exp(sums[:, 0] / sums[:, 1])

    found = []
    several = [kind for kind in dict.fromkeys(kinds) if 1 < kinds.count(kind) < len(kinds)]
    for name in ("all texts", *several):
        rows = counts if name == "all texts" else counts[[kind == name for kind in kinds]]
        base, tuned = rows[:, [0, 2]], rows[:, [1, 2]]
        found.append(
            Figure(
                name=f"perplexity, {name}",
                base=summarize_counts(base, total),
                tuned=summarize_counts(tuned, total),
                change=compare_counts(base, tuned, total),
                unit="number",
                less_is_better=True,
            )
        )
    return found


def general_texts() -> dict[str, list[str]]:
    """Our own texts by kind."""
    return dict(yaml.safe_load(files(__package__).joinpath("texts.yaml").read_text("utf-8")))


def own_texts(path: Path) -> list[str]:
    """A text file's paragraphs, long ones cut at white space. Raises `DataError` where it cannot be read as text."""
    hint = "Change evaluation.general_text, or leave it out: our own texts are taken then."
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", hint=hint) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not text in UTF-8: byte {error.start} is none.", hint=hint) from error
    paragraphs = [" ".join(part.split()) for part in text.replace("\r\n", "\n").split("\n\n")]
    pieces = [piece for part in paragraphs for piece in textwrap.wrap(part, _CHARACTERS, break_on_hyphens=False)]
    found = list(dict.fromkeys(piece for piece in pieces if len(piece) >= _SHORTEST))
    if not found:
        raise DataError(f"{path.name} holds no paragraph of at least {_SHORTEST} characters.", hint=hint)
    return found
