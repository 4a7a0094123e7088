"""The rules as data, and the small engine that reads them: conditions on facts, what follows, and in which words.

Owns the schema of `rules.yaml`, and whether a condition holds. Refuses to know any rule.

    when: {train_rows: "< 40"}                  a comparison, with a figure, a limit's name or another fact's
    when: {task: [chat, code], labels: 0}       one of several; equal
    when: {train_rows: [">= 40", "< 1000"]}     several comparisons, all of them
    when: {score_low: unknown}                  nobody knows it; `known` is the opposite
    when: {any: [{labels: 0}, {rarest: "< 8"}]} one of these holds

All of `when` must hold. No comparison holds of a fact that nobody knows.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.advice.facts import Facts
from assistant.advice.records import KINDS, Kind
from prompts.errors import DataError

# `best` goes before `good`; the first option of all is the one advised.
RuleStanding = Literal["best", "good", "possible", "not now", "impossible"]
PLAIN = "plain"  # the source of a rule that says nothing but a fact of the data
_COMPARES: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le, ">=": operator.ge, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
_COMPARISON = re.compile(r"^\s*(<=|>=|!=|<|>)\s*(.+?)\s*$")
Condition = dict[str, Any]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limit(_Record):
    """A named figure that rules compare with, why it is that, and how it is told where that is not the figure."""

    value: float
    why: str
    words: str = ""

    def __str__(self) -> str:
        return self.words or f"{self.value:,g}"


class Rule(_Record):
    """One rule. Without `standing` it only gives a reason, wherever it holds.

    `changes` say what would change this advice; `title` and `cost` take the place of the option's.
    """

    id: str
    when: Condition = {}
    standing: RuleStanding | None = None
    reason: str
    changes: tuple[str, ...] = ()
    source: str
    title: str = ""
    cost: str = ""


class OptionRules(_Record):
    """The rules of one option, in order: the first that holds and has a standing decides it."""

    title: str
    cost: str = ""
    rules: tuple[Rule, ...] = Field(min_length=1)


class ConflictRule(_Record):
    """Wishes that cannot be kept together: `change` is what to set in the task, as facts or plain values."""

    id: str
    when: Condition
    told: str
    nearest: str
    change: dict[str, Any] = {}


class Rules(_Record):
    """All rules of the advice."""

    limits: dict[str, Limit]
    sources: dict[str, str]
    options: dict[Kind, OptionRules]
    conflicts: tuple[ConflictRule, ...] = ()

    def every(self) -> Iterator[tuple[Kind, Rule]]:
        """Each rule with its option."""
        for kind, option in self.options.items():
            yield from ((kind, rule) for rule in option.rules)

    def source(self, rule: Rule) -> str:
        """A rule's source for a person; empty where it says a plain fact."""
        return "" if rule.source == PLAIN else self.sources[rule.source]

    def figures(self) -> dict[str, float]:
        return {name: limit.value for name, limit in self.limits.items()}

    def words(self, facts: Facts) -> dict[str, str]:
        """What a template may name: facts in words, and limits as figures."""
        return {**{name: str(limit) for name, limit in self.limits.items()}, **facts.words()}


@cache
def rules() -> Rules:
    """The rules that come with Tunewright. Raises `DataError` where they are broken."""
    text = files(__package__).joinpath("rules.yaml").read_text("utf-8")
    return parse_rules(text, "rules.yaml")


def parse_rules(text: str, where: str) -> Rules:
    """Rules out of a file's text. Raises `DataError` that names the file, the rule, the key, and what is known."""
    try:
        found = Rules.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise DataError(
            f"{where} is not valid YAML: {' '.join(str(error).split())}.", hint="Mend that line."
        ) from error
    except ValidationError as error:
        raise _explained(error, text, where) from error
    _check(found, where)
    return found


def _explained(error: ValidationError, text: str, where: str) -> DataError:
    first = error.errors()[0]
    at: Any = yaml.safe_load(text)
    named = ""
    for part in first["loc"]:
        try:
            at = at[part]
        except (KeyError, IndexError, TypeError):
            break
        if isinstance(at, dict) and "id" in at:
            named = f" rule {at['id']!r},"
    key = ".".join(map(str, first["loc"]))
    return DataError(f"{where}:{named} key {key!r}: {first['msg']}.", hint="Compare it with the rules around it.")


def _check(found: Rules, where: str) -> None:
    """What the schema alone cannot see: names of facts, limits and sources, and that no id is there twice."""
    ids = [rule.id for _, rule in found.every()] + [conflict.id for conflict in found.conflicts]
    if twice := sorted({id for id in ids if ids.count(id) > 1}):
        raise DataError(f"{where}: there are two rules {twice[0]!r}.", hint="Give one of them another id.")
    if missing := [kind for kind in KINDS if kind not in found.options]:
        raise DataError(f"{where}: option {missing[0]!r} has no rules.", hint=f"Add `options.{missing[0]}`.")
    for kind, option in found.options.items():
        _check_texts(found, f"{where}: option {kind!r}", title=option.title, cost=option.cost)
        if option.rules[-1].when or option.rules[-1].standing is None:
            told = f"{where}: rule {option.rules[-1].id!r}, key 'when': the last rule of {kind!r} must always hold"
            raise DataError(f"{told}.", hint="End the option with a rule without `when` that has a `standing`.")
    for _, rule in found.every():
        named = f"{where}: rule {rule.id!r}"
        if rule.source != PLAIN and rule.source not in found.sources:
            raise _unknown(f"{named}, key 'source'", rule.source, [PLAIN, *found.sources])
        _check_when(found, named, rule.when)
        _check_texts(found, named, reason=rule.reason, title=rule.title, cost=rule.cost, changes=" ".join(rule.changes))
    for conflict in found.conflicts:
        named = f"{where}: rule {conflict.id!r}"
        _check_when(found, named, conflict.when)
        _check_texts(found, named, told=conflict.told, nearest=conflict.nearest)


def _check_when(found: Rules, named: str, when: Condition) -> None:
    for fact, wanted in when.items():
        if fact == "any":
            for part in wanted:
                _check_when(found, named, part)
        elif fact not in Facts.model_fields:
            raise _unknown(f"{named}, key 'when'", fact, list(Facts.model_fields))
        else:
            for one in wanted if isinstance(wanted, list) else [wanted]:
                compared = _COMPARISON.match(one) if isinstance(one, str) else None
                if compared and _number(compared[2]) is None:
                    known = [*found.limits, *Facts.model_fields]
                    if compared[2] not in known:
                        raise _unknown(f"{named}, key 'when.{fact}'", compared[2], known)


def _check_texts(found: Rules, named: str, **texts: str) -> None:
    known = [*found.limits, *Facts.model_fields]
    for key, text in texts.items():
        for _, name, _, _ in Formatter().parse(text):
            if name is not None and name not in known:
                raise _unknown(f"{named}, key {key!r}", name, known)


def _unknown(named: str, name: str, known: list[str]) -> DataError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There is: {', '.join(known)}."
    return DataError(f"{named}: there is no {name!r}.", hint=hint)


def holds(when: Condition, facts: Facts, limits: Mapping[str, float]) -> bool:
    """Whether all of a condition holds."""
    return all(
        any(holds(part, facts, limits) for part in wanted)
        if fact == "any"
        else _is(getattr(facts, fact), wanted, facts, limits)
        for fact, wanted in when.items()
    )


def _is(value: Any, wanted: Any, facts: Facts, limits: Mapping[str, float]) -> bool:
    if isinstance(wanted, list):
        compared = all(isinstance(one, str) and _COMPARISON.match(one) for one in wanted)
        return (all if compared else any)(_is(value, one, facts, limits) for one in wanted)
    if wanted in ("known", "unknown"):
        return bool((value is None) == (wanted == "unknown"))
    found = _COMPARISON.match(wanted) if isinstance(wanted, str) else None
    if found is None:
        return bool(value == wanted)
    other = _number(found[2])
    if other is None:
        other = limits[found[2]] if found[2] in limits else getattr(facts, found[2])
    return value is not None and other is not None and bool(_COMPARES[found[1]](value, other))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
