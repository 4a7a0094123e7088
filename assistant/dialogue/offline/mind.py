"""The offline mind: puts together what the readers of numbers, lists, phrases and kinds find in a message.

Owns the order of reading and what a correction means. Refuses to answer or to act. Each message takes a few
milliseconds once the classifier is fitted (at first use).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from assistant.dialogue.mind import Context, Reading
from assistant.dialogue.offline import changes, commands, kinds, lists, rules
from assistant.dialogue.offline.amounts import amounts
from assistant.dialogue.offline.languages import languages, names_a_target, names_two_ways
from assistant.dialogue.offline.listing import is_plain_list
from assistant.dialogue.offline.pasted import pasted_examples
from assistant.dialogue.offline.phrases import goes_in, phrases, without_model
from assistant.dialogue.offline.text import Language, fold, language_of, pattern, statements, tidy
from assistant.dialogue.offline.tone import tone_in
from prompts.spec import TaskSpec, infer_format

# A message of fewer words than this, with facts in it, is an answer and no description.
_SHORT = 4
# A longer one describes a task even where its kind is no more than a guess.
_LONG = 8
# From so many words on a later message may tell the kind of a task that was only guessed.
_TELLS = 6
_FORM = 3  # keys of a pasted form that is filled from texts
_REMEMBERED = 6  # messages

_Facts = dict[str, Any]


class OfflineMind:
    """Reads by rules and a small classifier. Always there."""

    def read(self, text: str, context: Context) -> Reading:
        text = text.strip()
        if prompt := commands.dictated_prompt(text):
            return Reading(prompt=prompt)
        rows, prose = pasted_examples(text, context.spec)
        act = commands.act_in(prose)
        if act in commands.ALONE:
            return Reading(act=act, examples=rows)
        said, inferred = _facts(tidy(prose), context)
        if act and (not said.get("task") or context.spec.task):
            said.pop("task", None)
            return Reading(said=said, act=act, examples=rows)
        return Reading(said=said, inferred=inferred, examples=rows)


def _facts(text: str, context: Context) -> tuple[_Facts, _Facts]:
    """What a message says and what follows from it, statement by statement: a correction sees what stands before it."""
    language = language_of(text)
    said: _Facts = {}
    inferred: _Facts = {}
    spec = context.spec
    answered = _answered(text, context)
    parts = [] if answered else statements(text)
    for place, (part, correcting) in enumerate(parts):
        told = (*_earlier(context), *(before for before, _ in parts[:place]))
        now, guessed = _Statement(part, told, language, spec, correcting, context.asked).facts()
        said |= now
        inferred = {**{k: v for k, v in inferred.items() if k not in now}, **guessed}
        spec = spec.updated("inferred", **guessed).updated("said", **now)
    said |= answered
    inferred |= _format_for(said, inferred)
    if not context.spec.description and _describes(text, said, inferred):
        said["description"] = text
        if noun := goes_in(text):
            inferred["input"] = noun
    return said, {name: value for name, value in inferred.items() if name not in said}


def _answered(text: str, context: Context) -> _Facts:
    """The plain answer to the question that was asked; a list counts only where the message is nothing else."""
    answered = commands.answer_to(text, context.asked)
    if {"labels", "fields"} & answered.keys():
        return answered if is_plain_list(text) else {}
    # "No GPU here" and "2 hours" are no answers to how many examples there are.
    if "examples" in answered and amounts(text, language_of(text), context.spec, correcting=False).keys() - {
        "examples"
    }:
        return {}
    return answered


def _earlier(context: Context) -> list[str]:
    return [turn.text for turn in context.history[-_REMEMBERED:] if turn.role == "user"]


@dataclass(frozen=True)
class _Statement:
    """A part of a message, what was told before it, and what is known."""

    text: str
    told: tuple[str, ...]
    language: Language
    spec: TaskSpec
    correcting: bool
    asked: str | None

    def facts(self) -> tuple[_Facts, _Facts]:
        """What is said, and what is inferred."""
        folded = fold(self.text)
        said: _Facts = {}
        inferred: _Facts = {}
        kind = self._kind()
        if kind:
            (said if kind.said else inferred)["task"] = kind.name
        task = kind.name if kind else self.spec.task
        said |= amounts(self.text, self.language, self.spec, correcting=self.correcting)
        said |= phrases(self.text, folded)
        said |= languages(self.text, task, self.spec, correcting=self.correcting)
        said |= self._lists(task)
        if task is None and said.keys() & {"labels", "fields"}:
            inferred["task"] = "classification" if "labels" in said else "extraction"
        said |= self._wording(said.get("labels", self.spec.labels))
        said |= self._format(folded, task)
        return said, inferred

    def _kind(self) -> kinds.Kind | None:
        """The kind that the statement tells, in the light of what was said before."""
        found = self._kind_in(self.text)
        spec = self.spec
        if found is None or not found.said:
            found = self._kind_by_form() or found
        if spec.task is None:
            return found or (self._kind_in(self._all_told()) if self.told else None)
        if found is None or found.name == spec.task:
            return None
        if spec.origins.get("task") == "said":
            return found if found.said and (self.correcting or kinds.changes_kind(self.text)) else None
        if found.said:
            return found
        if spec.labels or spec.fields:
            return None
        together = self._kind_in(self._all_told()) if len(self.text.split()) > _TELLS else None
        return together if together and together.name != spec.task else None

    def _kind_in(self, text: str) -> kinds.Kind | None:
        # Without a target language only a word like "translate" makes it a translation.
        target = self.spec.language or names_a_target(text)
        return kinds.kind_of(without_model(text), but="" if target else "translation")

    def _all_told(self) -> str:
        return " . ".join([*self.told, self.text])

    def _kind_by_form(self) -> kinds.Kind | None:
        """The kind that the form of a statement tells: named labels, a pasted form, one language into another."""
        if self.spec.task in (None, "generation", "rewriting") and names_two_ways(self.text):
            return kinds.Kind("translation", said=False)
        if self.spec.task is None and lists.labels_in(self.text, classifies=False):
            return kinds.Kind("classification", said=False)
        if self.spec.task is None and len(lists.json_keys(self.text)) >= _FORM:
            return kinds.Kind("extraction", said=False)
        return None

    def _lists(self, task: str | None) -> _Facts:
        for name in ("labels", "fields"):
            if changed := changes.changed_list(self.text, getattr(self.spec, name)):
                return {name: changed}
        facts: _Facts = {}
        fields = self._fields(task)
        if fields:
            facts["fields"] = fields
        if task in (None, "classification"):
            classifies = task == "classification" and (self.correcting or not self.spec.labels)
            labels = lists.labels_in(self.text, classifies=classifies, asked=self.asked == "labels")
            labels = labels or (self._recalled(task) if classifies else ())
            if labels and set(labels) != set(fields):
                facts["labels"] = labels
        return facts

    def _fields(self, task: str | None) -> tuple[str, ...]:
        if self.spec.fields:
            return lists.announced_fields(self.text) if task != "classification" else ()
        extracts = task == "extraction"
        return lists.fields_in(self.text, extracts=extracts) or (self._recalled(task) if extracts else ())

    def _recalled(self, task: str | None) -> tuple[str, ...]:
        """The list that an earlier statement named, when it was not known yet what for."""
        items: tuple[str, ...] = ()
        for text in self.told:
            if task == "classification":
                named = lists.labels_in(text, classifies=True)
            else:
                named = lists.fields_in(text, extracts=True)
            items = changes.changed_list(text, items) or items or named
        return changes.changed_list(self.text, items) or items

    def _wording(self, labels: tuple[str, ...]) -> _Facts:
        facts: _Facts = {}
        if tone := tone_in(self.text, labels):
            facts["tone"] = tone
        if never := rules.never_in(self.text):
            facts["must_never"] = never
        if kept := rules.rules_in(self.text, self.language, self.spec.rules):
            facts["rules"] = kept
        return facts

    def _format(self, folded: str, task: str | None) -> _Facts:
        """JSON where somebody wants it, and no keys any more where he no longer does."""
        if "json" in folded and kinds.denies(folded, "json"):
            return {"output_format": infer_format(task), "fields": ()} if task and task != "extraction" else {}
        wants = re.search(r"\bjson\b", folded) or (task == "classification" and lists.json_keys(self.text))
        return {"output_format": "json"} if wants else {}


def _format_for(said: _Facts, inferred: _Facts) -> _Facts:
    """The answer's shape follows from the task unless the person named one."""
    task = said.get("task") or inferred.get("task")
    if not task or "output_format" in said:
        return {}
    return {"output_format": infer_format(task)}


def _describes(text: str, said: _Facts, inferred: _Facts) -> bool:
    """Whether a message tells a task rather than a mere fact or a greeting."""
    words = len(text.split())
    if pattern("only_a_list").search(fold(text)) and words < _LONG * 2:
        return False
    if "task" in said or ("task" in inferred and words >= _LONG):
        return words >= _SHORT
    found = kinds.kind_of(text) if "task" in inferred and words >= _SHORT else None
    return found is not None and found.sure
