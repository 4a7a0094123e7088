"""One message in, one answer out: hears it, has it read, does what it means, and asks the one next thing.

Owns the meeting of mind, pipeline and words. An error becomes a message with what to do; nothing entered is lost, and
no key that somebody pasted by mistake is kept.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from assistant.acts import Acts
from assistant.dialogue import notes, wording
from assistant.dialogue.cautions import cautions
from assistant.dialogue.interview import ENOUGH_ROWS
from assistant.dialogue.keys import MASK, masked
from assistant.dialogue.mind import COSTLY, Context, Mind, Reading
from assistant.dialogue.offline import commands
from assistant.dialogue.offline.mind import OfflineMind
from assistant.dialogue.offline.text import READ
from assistant.dialogue.wording import Answer
from assistant.improving import Improving
from assistant.measuring import Measurement
from assistant.pipeline import Pipeline
from assistant.project import Project, Turn
from assistant.prompt_acts import WARNING
from assistant.recommending import TRY
from prompts.errors import ModelError, TunewrightError
from prompts.rewriting import Wish, wishes_in
from trainers import jobs
from trainers.data import labels_of

_YES = re.compile(
    r"\W*(yes|yep|yeah|sure|ok|okay|do it|go ahead|ja|gerne|oui|d'accord|si|sí|claro|vale)( please)?\W*", re.I
)
_LONG_WORK: dict[str, str] = {
    "measure": "Measuring",
    "measure_both": "Measuring",
    "improve": "Searching a better prompt",
    "examine": "Examining the result",
    "resume_trials": "Going on with the trials",
}
_ITS_BUTTONS: dict[str, tuple[str, ...]] = {
    "measure": ("Measure the prompt", "Not now"),
    "measure_both": ("Measure both", "Not now"),
    "improve": ("Improve the prompt", "Not now"),
    "examine": ("Examine it again", "Not now"),
    "resume_trials": ("Go on with the trials", "Not now"),
}
_TURNS_READ = 12
_KEPT = 20_000  # characters of a message that the chat keeps; a file is the place for more


class Conversation:
    """The chat of any project. `mind_for` gives the mind of one project's chat, by its id."""

    def __init__(self, pipeline: Pipeline, mind_for: Callable[[str], Mind] | None = None) -> None:
        self._pipeline = pipeline
        offline = OfflineMind()
        self._mind_for = mind_for or (lambda id: offline)
        self._minds: dict[str, Mind] = {}
        self._announcing = threading.Lock()
        # What a background job has to tell waits for the answer that announced it.
        self._speaking: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)
        self._later: dict[str, list[Turn]] = {}
        self.acts = Acts(pipeline, self.note)

    def turns(self, id: str) -> list[Turn]:
        """The chat so far; it opens with a welcome."""
        welcome = Turn(role="assistant", text=wording.WELCOME, options=wording.WELCOME_OPTIONS)
        return [welcome, *self._pipeline.store.turns(id)]

    def note(self, id: str, text: str, options: tuple[str, ...] = ()) -> None:
        """Something that happened outside the chat and that the chat should know; never before an open answer."""
        turn = Turn(role="assistant", text=text, options=options)
        with self._speaking[id]:
            if id in self._later:  # what was begun has ended before the answer that announces it
                self._later[id].append(turn)
            else:
                self._pipeline.store.add_turn(id, turn)

    def hear(self, id: str, text: str, names: Sequence[str] = ()) -> None:
        """Keep the person's message at once, before anything is done about it."""
        kept = masked(text)[0]
        if len(kept) > _KEPT:
            kept = f"{kept[:_KEPT]}\n… ({len(kept):,} characters in all)"
        shown = "\n".join([kept, *(f"📎 {name}" for name in names)]).strip()
        self._pipeline.store.add_turn(id, Turn(role="user", text=shown))

    def answer(self, id: str, text: str, uploads: Sequence[Path] = ()) -> None:
        """Act on a message that was heard, and answer it in the chat."""
        text, keys = masked(text)
        text = text.replace(MASK, "")
        with self._speaking[id], self._pipeline.undoable(id):
            self._later[id] = []
            try:
                answers: list[Answer] = [(wording.KEY_REMOVED, ())] if keys else []
                answers += [self._tried(partial(self._take, id, upload)) for upload in uploads]
                if text.strip() or not any(told.startswith(WARNING) for told, _ in answers):
                    answers.append(self._tried(partial(self._react, id, text, bool(uploads))))
            finally:
                later = self._later.pop(id)
            self.note(id, "\n\n".join(told for told, _ in answers if told), answers[-1][1])
            for turn in later:
                self._pipeline.store.add_turn(id, turn)
            self._keep_question(id)

    def _keep_question(self, id: str) -> None:
        question = wording.open_question(self._pipeline.project(id))
        self._pipeline.change(id, asked=question.field if question else None)

    def _tried(self, act: Callable[[], Answer]) -> Answer:
        """What an act says. An error is said too, and what else the message holds is still acted upon."""
        try:
            return act()
        except TunewrightError as error:
            return f"{WARNING} {error}", ()

    def _take(self, id: str, upload: Path) -> Answer:
        project = self._pipeline.add_file(id, upload)
        assert project.data is not None
        self._pipeline.go_to(id, "Prompt")
        try:
            return self.acts.told_data(id), ()
        except ModelError as error:  # the data is in all the same
            return f"**{project.data.name}** is in, but its tokens cannot be counted.\n\n{WARNING} {error}", ()

    # Reading

    def _react(self, id: str, text: str, with_file: bool) -> Answer:
        project = self._pipeline.project(id)
        if alone := next((caution for caution in cautions(text, project.spec, ()) if caution.alone), None):
            return _joined([alone.text], wording.next_step(project))
        turns = self._pipeline.store.turns(id)
        offered = _offered(turns)
        text = _meant(text, offered)
        if wishes := _wishes(text, project):
            return self.acts.prompt.wish(id, wishes)
        reading = self._read(id, text, project, turns[:-1], offered)
        parts = [reading.notice] if reading.notice else []
        if reading.prompt is not None:
            take = self.acts.prompt.rewrite if reading.by_model else self._take_prompt
            return _joined([*parts, reading.reply], take(id, reading.prompt))
        if reading.examples:
            parts.append(self._tried(partial(self._take_rows, id, reading))[0])
        if reading.said or reading.inferred:
            parts.append(self._take_facts(id, reading))
        parts += self._cautioned(id, text)
        if reading.act is not None:
            return _joined([*parts, reading.reply], self._tried(partial(self._do, id, reading, text)))
        if reading.reply:
            return _joined([*parts, reading.reply], ("", wording.next_step(self._pipeline.project(id))[1]))
        return self._asked_back(id, text, parts, with_file)

    def _read(self, id: str, text: str, project: Project, before: list[Turn], offered: tuple[str, ...]) -> Reading:
        """What the message means. What stands on a button, and the few commands, need no mind."""
        history = tuple(before[-_TURNS_READ:])
        context = Context(spec=project.spec, asked=project.asked, stage=project.stage, history=history)
        act = commands.act_in(text)
        if act in commands.ALONE or (act and text in offered):
            return Reading(act=act)
        if id not in self._minds:
            self._minds[id] = self._mind_for(id)
        return self._minds[id].read(text, context)

    # What a message changes

    def _take_prompt(self, id: str, prompt: str) -> Answer:
        changed = self._pipeline.save_prompt(id, system=prompt, reason="said in the chat")
        self._pipeline.go_to(id, "Prompt")
        assert changed.prompt is not None
        return f"The prompt is now version `{changed.prompt.id}`.", ("Measure the prompt", "What do you advise?")

    def _take_rows(self, id: str, reading: Reading) -> Answer:
        count = len(reading.examples)
        project = self._pipeline.add_rows(id, reading.examples, enough=ENOUGH_ROWS)
        last = reading.examples[-1]
        told = f"I took {count} example{'s' * (count > 1)}; the last one: `{_cut(last.input)}` → `{_cut(last.output)}`."
        if project.data is None:
            return told, ()
        self._pipeline.go_to(id, "Prompt")
        return f"{told}\n\n{self._tried(lambda: (self.acts.told_data(id), ()))[0]}", ()

    def _take_facts(self, id: str, reading: Reading) -> str:
        before = self._pipeline.project(id)
        after = self._pipeline.edit_spec(id, reading.said, reading.inferred, fetch_model=False)
        if after.stage == "Task" and after.spec.task and after.data is None and after.spec != before.spec:
            self._pipeline.go_to(id, "Data")
        told = wording.understood(before.spec, after.spec)
        if after.data is not None and after.spec.labels != before.spec.labels:
            told += self._other_labels(after)
        if "base_model" in reading.said and after.data is not None:  # else it is fetched when data is there
            told += f"\n\n{self._tried(partial(self._fetched, after))[0]}"
        return told

    def _other_labels(self, project: Project) -> str:
        """What to say where the labels that the person named are not those of the data."""
        missing = set(labels_of(self._pipeline.examples(project))) - set(project.spec.labels)
        if not missing:
            return ""
        names = ", ".join(f"`{label}`" for label in sorted(missing)[:6])
        return (
            f"\n\n{WARNING} The data still says {names}. Change it there too, or the scores will count these as wrong."
        )

    def _fetched(self, project: Project) -> Answer:
        try:
            return f"The base model is here: {self._pipeline.base(project).name}.", ()
        except ModelError as error:
            return f"{WARNING} {error} Or write: use the embedded model.", ()

    def _cautioned(self, id: str, text: str) -> list[str]:
        project = self._pipeline.project(id)
        due = cautions(text, project.spec, project.warned)
        if due:
            self._pipeline.change(id, warned=(*project.warned, *(c.id for c in due)))
        return [caution.text for caution in due]

    # What is answered

    def _do(self, id: str, reading: Reading, text: str) -> Answer:
        """Carry out an act; what takes long is never done on a language model's word alone."""
        act = reading.act
        assert act is not None
        if not reading.by_model or act not in COSTLY:
            return self.acts.do(act, id, text)
        if act in _LONG_WORK:
            return f"{_LONG_WORK[act]} takes minutes of this machine. Shall I?", _ITS_BUTTONS[act]
        # Each says what will happen, and asks.
        return self.acts.do("try" if act in {"try", "confirm_try"} else "train", id, text)

    def _asked_back(self, id: str, text: str, parts: list[str], with_file: bool) -> Answer:
        """The answer to a message without an act: to a question, to small talk, or to nothing that was understood."""
        question, options = wording.next_step(self._pipeline.project(id))
        if len(text) > READ:
            parts.append(f"That is a long message: I read its first {READ:,} characters. A file is better for data.")
        if commands.asks_something(text) and (note := notes.answer(text)):
            parts.append(notes.wording(note))
        elif not parts and (reply := commands.small_talk(text)):
            parts.append(reply)
        elif not parts and not with_file:
            parts.append(_not_understood(text))
        return _joined([*parts], (question, options))

    # What happens beside the chat

    def measure(self, id: str) -> Measurement:
        """Measure the current prompt in the background; the chat tells the score when it is there."""
        return self.acts.prompt.measure(id)

    def improve(self, id: str, minutes: float) -> Improving:
        """Search a better prompt in the background; the chat tells what came of it."""
        return self.acts.prompt.improve(id, minutes)

    def what_will_happen(self, id: str) -> str:
        """What Start will do. Raises `DataError` without data."""
        return self.acts.training.what_will_happen(id)

    def announce_end(self, id: str) -> bool:
        """Tell once, in the chat, that a run or trials have ended. True where something was told."""
        if self._announce_trials(id):
            return True
        with self._announcing:  # every open page asks each second
            project = self._pipeline.project(id)
            run = self._pipeline.unannounced(project)
            if run is None:
                return False
            self._pipeline.change(id, announced=(*project.announced, run.id))
        status = jobs.status(run)
        if status.state == "done":
            self._pipeline.go_to(id, "Report")
            told = self.acts.report.verdict_of(run.report())
            which = "Training" if run.name == run.id else f"**{run.name}**"
            self.note(id, f"{which} is finished. {told}", ("Compare side by side",))
        else:
            told = f"The training has ended: {status.message} {status.hint}".strip()
            self.note(id, told, ("Resume the training", "Start training"))
        return True

    def _announce_trials(self, id: str) -> bool:
        with self._announcing:
            project = self._pipeline.project(id)
            folder = self._pipeline.unannounced_trials(project)
            if folder is None:
                return False
            self._pipeline.change(id, announced=(*project.announced, folder.id))
        told, options = self.acts.trials.ended(id, folder)
        self.note(id, told, options)
        return True


def _wishes(text: str, project: Project) -> tuple[Wish, ...]:
    """What a message wants of the prompt, where it is about that: the panel is open, or it says so.

    An answer to an open question is that, and a command stays one.
    """
    about = project.stage == "Prompt" or project.proposal or re.search(r"\bprompt\b|\banswers?\b", text, re.I)
    if project.prompt is None or not about or commands.act_in(text) or commands.dictated_prompt(text):
        return ()
    wishes = wishes_in(text)
    asked = {"language": "language", "tone": "formal friendly simple", "must_never": "never", "rules": "always add"}
    answered = asked.get(project.asked or "", "").split()
    return () if any(wish.kind in answered for wish in wishes) else wishes


def _offered(turns: list[Turn]) -> tuple[str, ...]:
    """The buttons under the last answer; before the first one, those of the welcome."""
    answers = (turn.options for turn in reversed(turns) if turn.role == "assistant")
    return next(answers, wording.WELCOME_OPTIONS)


def _meant(text: str, offered: tuple[str, ...]) -> str:
    """A bare yes means the one thing that was offered, or the first where that was a yes itself.

    That the options can be tried first is no second thing.
    """
    things = [option for option in offered if option != TRY]
    clear = offered and (len(things) <= 1 or offered[0].startswith("Yes")) and offered[0] != wording.SAMPLE
    return offered[0] if clear and _YES.fullmatch(text) else text


def _joined(parts: list[str], last: Answer) -> Answer:
    return "\n\n".join(part for part in (*parts, last[0]) if part), last[1]


def _cut(text: str, most: int = 60) -> str:
    flat = " ".join(text.split()).replace("`", "'")
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"


def _not_understood(text: str) -> str:
    """What to say where nothing was found; a question that no note answers is told so, with what may be meant."""
    if not commands.asks_something(text):
        return wording.NOTHING_FOUND
    meant = ", ".join(f"*{note.title}*" for note in notes.near(text))
    return f"{wording.UNKNOWN} Did you mean: {meant}?" if meant else wording.UNKNOWN
