"""A Modelfile beside a GGUF file, so that `ollama create` makes a model that is asked as it was trained.

Owns the translation of chat template and prompt (https://docs.ollama.com/modelfile). A Jinja template cannot be
translated in general: the known layouts below are tried, and one is taken where it gives, character for character, what
the base's own template gives. Refuses every other. Ollama itself is not called, and was not run where this was written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prompts.chat_model import Message
from prompts.errors import RunError
from prompts.versions import PromptVersion
from trainers.exporting.gguf_file import FILE

_MARK = "\ue000"  # stands for the input: a character that nobody writes
_TRIPLE = '"""'


@dataclass(frozen=True)
class Layout:
    """How a chat becomes one text: before and after each turn, `{role}` for who speaks, and how a reply begins."""

    name: str
    before: str
    after: str
    reply: str
    stop: str

    def render(self, chat: Sequence[tuple[str, str]]) -> str:
        turns = "".join(self.before.format(role=role) + content + self.after for role, content in chat)
        return turns + self.reply


LAYOUTS = (
    Layout("ChatML", "<|im_start|>{role}\n", "<|im_end|>\n", "<|im_start|>assistant\n", "<|im_end|>"),
    Layout(
        "Llama 3", "<|start_header_id|>{role}<|end_header_id|>\n\n", "<|eot_id|>",
        "<|start_header_id|>assistant<|end_header_id|>\n\n", "<|eot_id|>",
    ),
    Layout("Zephyr", "<|{role}|>\n", "</s>\n", "<|assistant|>\n", "</s>"),
)  # fmt: skip


@dataclass(frozen=True)
class Modelfile:
    """The layout, what stands before and after each input, the system prompt, and solved examples."""

    layout: Layout
    before: str
    after: str
    system: str
    shown: tuple[tuple[str, str], ...]
    begin: str = ""  # what the tokenizer puts before every text by itself

    def rendered(self, input: str) -> str:
        """What Ollama makes of one input."""
        turns = [("system", self.system)] if self.system else []
        for asked, answer in self.shown:
            turns += [("user", self.before + asked + self.after), ("assistant", answer)]
        return self.begin + self.layout.render([*turns, ("user", self.before + input + self.after)])

    def text(self) -> str:
        """The file."""
        lines = [f"FROM ./{FILE}", f"TEMPLATE {_quoted(self._template())}"]
        if self.system:
            lines.append(f"SYSTEM {_quoted(self.system)}")
        for asked, answer in self.shown:
            lines += [f"MESSAGE user {_quoted(asked)}", f"MESSAGE assistant {_quoted(answer)}"]
        lines += ["PARAMETER temperature 0", f'PARAMETER stop "{self.layout.stop}"']
        return "\n".join(lines) + "\n"

    def _template(self) -> str:
        layout = self.layout
        content = "{{ .Content }}"
        if self.before or self.after:
            content = (
                f'{{{{ if eq .Role "user" }}}}{_go(self.before)}{content}{_go(self.after)}{{{{ else }}}}{content}'
                "{{ end }}"
            )
        return (
            "{{ range .Messages }}"
            + layout.before.replace("{role}", "{{ .Role }}")
            + content
            + layout.after
            + "{{ end }}"
            + layout.reply
        )


def modelfile_of(prompt: PromptVersion, tokenizer: Any, adds_begin: bool) -> Modelfile:
    """The Modelfile of a prompt for a model with this tokenizer. Raises `RunError` where it cannot be translated."""
    before, after = _around(prompt)
    shown = tuple((shown.input, shown.output) for shown in prompt.demonstrations)
    begin = tokenizer.bos_token if adds_begin else ""
    wanted = _render(tokenizer, prompt.messages(_MARK))
    for layout in LAYOUTS:
        for system in (prompt.system, _implied(layout, wanted)):
            found = Modelfile(layout, before, after, system, shown, begin)
            if found.rendered(_MARK) == wanted and not any(_TRIPLE in text for text in _texts(found)):
                return found
    known = ", ".join(layout.name for layout in LAYOUTS)
    raise RunError(
        f"The model's chat template cannot be written as Ollama's: it is none of {known}, or it adds something.",
        hint="Export it as `gguf`, and write a Modelfile with a TEMPLATE by hand.",
    )


def check(made: Modelfile, prompt: PromptVersion, tokenizer: Any, inputs: Sequence[str]) -> None:
    """Raise `RunError` where an input would be laid out otherwise than by the served model."""
    for text in inputs:
        if made.rendered(text) != _render(tokenizer, prompt.messages(text)):
            raise RunError(
                f"The Modelfile lays a chat out otherwise than the served model: {text[:60]!r}.",
                hint="Nothing was kept. Export it as `gguf`.",
            )


def write(made: Modelfile, folder: Path) -> None:
    (folder / "Modelfile").write_text(made.text(), "utf-8")


def _around(prompt: PromptVersion) -> tuple[str, str]:
    """What the prompt's template puts before and after the input. Raises `RunError` where it does more than that."""
    told = prompt.messages(_MARK)[-1].content
    before, found, after = told.partition(_MARK)
    other = "Something else.\nOn two lines"
    if not found or _MARK in after or prompt.messages(other)[-1].content != before + other + after:
        raise RunError(
            "The prompt's template does more than put text around the input, which Ollama cannot.",
            hint="Export it as `gguf`, and render the prompt yourself.",
        )
    return before, after


def _implied(layout: Layout, text: str) -> str:
    """The system prompt that a template puts in by itself where there is none."""
    before, after = (re.escape(part) for part in (layout.before.format(role="system"), layout.after))
    found = re.search(f"{before}(.*?){after}", text, re.DOTALL)
    return found[1] if found else ""


def _render(tokenizer: Any, chat: Sequence[Message]) -> str:
    turns = [message.model_dump() for message in chat]
    return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))


def _texts(made: Modelfile) -> list[str]:
    return [made.before, made.after, made.system, *(text for pair in made.shown for text in pair)]


def _quoted(text: str) -> str:
    return f"{_TRIPLE}{text}{_TRIPLE}"


def _go(text: str) -> str:
    """Text that Go's templates take as it is: only {{ means something to them."""
    return text.replace("{{", '{{ "{{" }}')
