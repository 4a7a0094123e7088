"""Counting tokens as the model will see them, without importing torch.

Owns rendering a model's own chat template and counting with its tokenizer. Refuses to truncate or to train.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from prompts.chat_model import Message
from prompts.errors import ModelError


class TokenCounter:
    """Renders and counts chats for one model folder. Raises `ModelError` where it has no chat template.

    `limit` is how many tokens the model can read, None where its files do not say. `marks` finds special tokens in a
    rendered text, on which it is always cut; `literals` are the texts by which the chat template may tell chats apart;
    `ends` are the tokens at which generation stops, as far as the model's files say.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._tokenizer.no_truncation()  # a saved tokenizer may hold on to what it was last used with
            self._tokenizer.no_padding()
            config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelError(
                f"The tokenizer in {folder} cannot be read: {error}.", hint="Use another model."
            ) from error
        self.limit = _limit(folder, config)
        self.ends = _ends(folder, self._tokenizer, _token_text(config.get("eos_token")))
        self.marks = _marks(self._tokenizer)
        self._special = {key: _token_text(config.get(key)) for key in ("bos_token", "eos_token", "unk_token")}
        try:
            self._template, self.literals = _compile(template_source(folder))
        except TemplateError as error:
            raise ModelError(
                f"The chat template in {folder} cannot be read: {error}.", hint="Use another model."
            ) from error

    def render(self, messages: Sequence[Message], *, for_reply: bool = True) -> str:
        """The exact text that the model reads for these messages."""
        turns = [message.model_dump() for message in messages]
        try:
            return str(
                self._template.render(
                    messages=turns, tools=None, documents=None, add_generation_prompt=for_reply, **self._special
                )
            )
        except (TemplateError, TypeError) as error:
            raise ModelError(
                f"The model's chat template refuses this chat: {error}.", hint="Edit the prompt."
            ) from error

    def count(self, messages: Sequence[Message], *, for_reply: bool = True) -> int:
        """How many tokens these messages take, special tokens included."""
        return self.counts([self.render(messages, for_reply=for_reply)])[0]

    def counts(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text takes that is rendered already. Many at once share the processor's cores."""
        return [len(found) for found in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


@lru_cache(maxsize=8)
def token_counter(folder: Path) -> TokenCounter:
    """The counter of a model folder, made once."""
    return TokenCounter(folder)


def _limit(folder: Path, tokenizer_config: dict[str, Any]) -> int | None:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        config = {}
    text = config.get("text_config", config)  # of a model that also sees, its language part
    stated = text.get("max_position_embeddings") or tokenizer_config.get("model_max_length")
    # Where a tokenizer knows no limit, transformers writes 1e30.
    return stated if isinstance(stated, int) and 0 < stated < 10**8 else None


def _ends(folder: Path, tokenizer: Tokenizer, eos: str) -> frozenset[str]:
    declared: Any = None
    for name in ("generation_config.json", "config.json"):
        try:
            declared = declared or json.loads((folder / name).read_text("utf-8")).get("eos_token_id")
        except (OSError, ValueError):
            continue
    ids = declared if isinstance(declared, list) else [declared] if isinstance(declared, int) else []
    return frozenset(filter(None, (eos, *(tokenizer.id_to_token(id) for id in ids))))


def _token_text(value: Any) -> str:
    return value.get("content", "") if isinstance(value, dict) else value or ""


def _marks(tokenizer: Tokenizer) -> re.Pattern[str]:
    """Finds the tokens that are told apart before anything else is done to a text, wherever they stand."""
    added = tokenizer.get_added_tokens_decoder().values()
    texts = {token.content for token in added if not token.normalized and not token.single_word}
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))) or r"(?!)")


def template_source(folder: Path) -> str:
    """The chat template of a model folder. Raises `ModelError` where it has none."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    source = json.loads((folder / "tokenizer_config.json").read_text("utf-8")).get("chat_template")
    if isinstance(source, list):  # several named templates
        source = next((entry["template"] for entry in source if entry["name"] == "default"), None)
    if not source:
        raise ModelError(f"{folder.name} has no chat template.", hint="Choose an instruct or chat model.")
    return str(source)


class _Generation(Extension):
    """`{% generation %}` marks an assistant's turn for training; for counting it is only its contents."""

    tags = {"generation"}  # noqa: RUF012  Jinja's own way

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _compile(source: str) -> tuple[Any, frozenset[str]]:
    """The template, and every text that stands in its expressions."""

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, ensure_ascii: bool = False, **how: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **how)

    # The same environment as transformers.utils.chat_template_utils, which cannot be imported without torch.
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = lambda pattern: datetime.now().strftime(pattern)
    constants = (node.value for node in env.parse(source).find_all(nodes.Const))
    return env.from_string(source), frozenset(value for value in constants if isinstance(value, str) and value)
