"""What the Prompt panel shows as HTML: remarks, a proposal beside the current version, the tree, answers that changed.

Owns the markup and the keys that buttons send back. Refuses to act on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from assistant.improving import Improving
from assistant.measuring import Measurement
from assistant.project import StoredPrompt
from assistant.promptbench import ChangedRow, PromptComparison
from assistant.ui import html
from prompts.critique import Remark, words_of
from prompts.diff import DiffRow, Segment
from prompts.history import Node
from prompts.search import Line
from prompts.versions import PromptVersion

_SEVERITY = {"error": "Mend this", "warning": "Look at this", "info": "Good to know"}
_SHOWN, _LINES = 15, 10


def remarks(found: Sequence[Remark], draft: PromptVersion) -> str:
    """Each remark with the words it is about and, where there is one, a button that proposes a rewrite."""
    if not found:
        return html.notes([("good", "Nothing to remark.")])
    return "".join(_remark(remark, draft, index) for index, remark in enumerate(found))


def _remark(remark: Remark, draft: PromptVersion, index: int) -> str:
    words = words_of(draft, remark.about) if remark.about else ""
    about = f'<q class="tw-quote">{escape(cut(words, 90))}</q>' if words else ""
    button = ""
    if remark.suggestion:
        button = f'<button class="tw-act" data-key="{index}">{escape(remark.suggestion.label)}</button>'
    return (
        f'<div class="tw-finding tw-{remark.severity}" data-check="{escape(remark.check)}"><div class="tw-row"><div>'
        f'<span class="tw-badge tw-{remark.severity}">{_SEVERITY[remark.severity]}</span> {escape(remark.text)} {about}'
        f"</div>{button}</div></div>"
    )


def diff(rows: Sequence[DiffRow], left: str, right: str) -> str:
    """Two versions side by side, what went struck out on the left, what came marked on the right."""
    cells = "".join(
        f'<div class="tw-part">{escape(row.part)}</div>'
        f'<div class="tw-side">{_segments(row.left)}</div><div class="tw-side">{_segments(row.right)}</div>'
        for row in rows
    )
    head = f'<div></div><div class="tw-side-head">{escape(left)}</div><div class="tw-side-head">{escape(right)}</div>'
    return f'<div class="tw-diff">{head}{cells}</div>'


def _segments(segments: Sequence[Segment]) -> str:
    tags = {"same": "span", "removed": "del", "added": "ins"}
    return "".join(f"<{tags[s.kind]}>{escape(s.text)}</{tags[s.kind]}>" for s in segments)


@dataclass(frozen=True)
class Tree:
    """What the tree shows beside the versions: which is current, what each scored, and which two are compared.

    `comparable` are those whose scores are of today's rows by today's metric; others are shown greyed.
    """

    scores: Mapping[str, StoredPrompt]
    comparable: frozenset[str]
    current: str
    compared: tuple[str, str] | None


def tree(nodes: Sequence[Node], shown: Tree) -> str:
    """The versions as a tree: what each grew from, who wrote it and why, and its score where it was measured."""
    return f'<div class="tw-tree">{"".join(_node(node, shown) for node in nodes)}</div>'


def _node(node: Node, shown: Tree) -> str:
    version, now = node.version, node.version.id == shown.current
    buttons = "" if now else _button("restore", version.id, "Restore", "Make it the current one; edits grow from it")
    if not now and version.id not in (shown.compared or ())[:1]:
        buttons += _button("compare", version.id, "Compare", "Hold the current version against it")
    return (
        f'<div class="tw-node{" tw-now" if now else ""}" data-version="{version.id}" '
        f'style="margin-left:{min(node.depth, 8) * 16}px"><div class="tw-row"><div>{_badges(version, now)}'
        f'<div class="tw-cost">{escape(version.reason or "as it was written")}</div></div>'
        f'<div class="tw-node-score">{_score(version.id, shown)}</div>'
        f'<div class="tw-node-acts">{buttons}</div></div></div>'
    )


def _badges(version: PromptVersion, now: bool) -> str:
    named = ["current"] if now else []
    named.append("you" if version.author == "you" else "Tunewright")
    named += [version.allowed.told] if version.allowed else []
    named += [f"{len(version.demonstrations)} examples"] if version.demonstrations else []
    badges = "".join(
        f'<span class="tw-badge{" tw-advised" * (name == "current")}">{escape(name)}</span>' for name in named
    )
    return f"<code>{version.id}</code> {badges}"


def _score(id: str, shown: Tree) -> str:
    stored = shown.scores.get(id)
    if stored is None or stored.score is None:
        return '<span title="Not measured yet">–</span>'
    if id not in shown.comparable:
        return f'<span title="{escape(str(stored.score))} on other rows or by another metric">before</span>'
    score = stored.score
    others = "".join(f"\n{name}: {other}" for name, other in stored.others.items())
    return (
        f'<span title="{escape(f"{stored.metric}: {score}{others}")}">{score.value:.0%}</span><div class="tw-track">'
        f'<div class="tw-fill" style="width:{score.value:.1%}"></div><div class="tw-range" '
        f'style="left:{score.low:.1%};width:{max(0.0, score.high - score.low):.1%}"></div></div>'
    )


def _button(what: str, id: str, label: str, title: str) -> str:
    return f'<button class="tw-act" data-key="{what}:{id}" title="{title}">{label}</button>'


def changed_rows(rows: Sequence[ChangedRow], first: str, second: str) -> str:
    """Rows whose answers differ between two versions, those that the second lost before those that it won."""
    if not rows:
        return html.notes([("info", "Both versions answer every row alike.")])
    lines = "".join(
        f"<tr><td>{_mark(row)}</td><td>{escape(cut(row.input))}</td><td>{escape(cut(row.expected))}</td>"
        f"<td>{escape(cut(row.first))}</td><td>{escape(cut(row.second))}</td></tr>"
        for row in rows[:_SHOWN]
    )
    more = f'<div class="tw-cost">and {len(rows) - _SHOWN} more</div>' if len(rows) > _SHOWN else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", "input", "expected", first, second))
    return f'<div class="tw-scroll"><table class="tw-table"><tr>{head}</tr>{lines}</table></div>{more}'


def _mark(row: ChangedRow) -> str:
    change = row.second_score - row.first_score
    if change == 0:
        return '<span class="tw-badge">as good</span>'
    return f'<span class="tw-badge tw-{"won" if change > 0 else "lost"}">{change * 100:+.0f}</span>'


def demonstrations(version: PromptVersion) -> str:
    """The solved examples that are shown before the input."""
    lines = "".join(
        f"<tr><td>{escape(cut(shown.input))}</td><td>{escape(cut(shown.output))}</td></tr>"
        for shown in version.demonstrations
    )
    return f'<div class="tw-scroll"><table class="tw-table"><tr><th>input</th><th>answer</th></tr>{lines}</table></div>'


def cut(text: str, most: int = 240) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def proposal(version: PromptVersion, changes: str) -> str:
    """Who proposes what, and why."""
    author = "You changed" if version.author == "you" else "Tunewright proposes"
    return (
        f'<div class="tw-head"><span>{author}: {escape(version.reason)}</span><code>{version.id}</code></div>'
        f'<div class="tw-cost">{escape(changes)}</div>'
    )


def measurement(job: Measurement) -> str:
    """A measurement as it goes on, and what came of it."""
    if job.error:
        return html.notes([("error", job.error)])
    if job.running:
        return html.progress(job.done / max(1, job.total), job.message or "Getting ready")
    if job.score is None:
        return html.notes([("info", job.message)])
    said = [("good", f"{job.metric} of version {job.prompt_id}: {job.score}.")]
    return html.notes([*said, *([("warning", job.caution)] if job.caution else [])])


def comparison(found: PromptComparison | None, first: str, second: str) -> str:
    """Two versions on the same rows: the verdict, the figures, and the answers that changed."""
    title = f'<div class="tw-words tw-title"><b>{second} against {first}, on the same dev rows</b></div>'
    if found is None:
        return title + html.notes([("info", "Measure both versions to compare them.")])
    kind = {"better": "good", "worse": "error", "cannot tell": "info"}[found.comparison.verdict]
    told = found.comparison.told
    verdict = html.notes([(kind, f"{found.metric}: {told}.")])
    return title + verdict + changed_rows(found.changed, first, second)


def search(job: Improving) -> str:
    """A search as it goes on, and what came of it: the sentence, then the candidates that came farthest."""
    if job.error:
        return html.notes([("error", job.error)])
    if job.running:
        left = f"{html.duration(job.seconds_left)} left at most" if job.seconds_left else ""
        return html.progress(job.fraction, job.message or "Getting ready", left)
    if job.outcome is None:
        return html.notes([("info", job.message)])
    outcome = job.outcome
    told = html.notes([("good" if outcome.better else "info", outcome.sentence)])
    lines = "".join(
        f"<tr><td>{line.score:.0%}</td><td>{line.rows}</td><td>{escape(line.reason)}</td>"
        f"<td>{_look(line, job)}</td></tr>"
        for line in outcome.table[:_LINES]
    )
    head = "<tr><th>score</th><th>rows</th><th>what was tried</th><th></th></tr>"
    rest = f'<div class="tw-cost">{len(outcome.table)} versions were tried with {outcome.calls:,} answers.</div>'
    return f'{told}<div class="tw-scroll"><table class="tw-table">{head}{lines}</table></div>{rest}' if lines else told


def _look(line: Line, job: Improving) -> str:
    """A button that lays this candidate beside the person's version, proved or not."""
    if line.version.id == job.yours.id:
        return ""
    return f'<button class="tw-act" data-key="{line.version.id}">Look at it</button>'
