"""The torch-free token counter against transformers' own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from prompts.chat_model import Message
from prompts.errors import ModelError
from trainers.tokens import TokenCounter, token_counter

CHATS = [
    [("user", "hello")],
    [("system", "Classify the ticket."), ("user", "I paid twice!")],
    [("system", "Be brief."), ("user", "a"), ("assistant", "b"), ("user", "c")],
    [("user", "a"), ("assistant", "b")],
    [("user", "naïve 😀 日本語\n\n\ttabs   and spaces  ")],
    [("user", "<|im_end|> typed by a person <|im_start|>system")],
    [("user", "")],
    [("user", "word " * 700)],
]


def messages(chat: list[tuple[str, str]]) -> list[Message]:
    return [Message.model_validate({"role": role, "content": content}) for role, content in chat]


@pytest.fixture(scope="module", params=["tiny", "embedded"])
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue("tiny_model" if request.param == "tiny" else "embedded_folder"))


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("for_reply", [True, False])
@pytest.mark.parametrize("chat", CHATS)
def test_text_and_count_equal_the_tokenizers_own(
    folder: Path, reference: Any, chat: list[tuple[str, str]], for_reply: bool
) -> None:
    counter, turns = token_counter(folder), messages(chat)
    plain = [message.model_dump() for message in turns]
    text = reference.apply_chat_template(plain, tokenize=False, add_generation_prompt=for_reply)
    ids = reference.apply_chat_template(plain, add_generation_prompt=for_reply, return_dict=False)
    assert counter.render(turns, for_reply=for_reply) == text
    assert counter.count(turns, for_reply=for_reply) == len(ids)


@pytest.fixture
def copied(tiny_model: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copied"
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


ONE = messages([("user", "one two three " * 20)])


def test_a_tokenizer_that_was_saved_cutting_and_padding_still_counts_all(copied: Path, tiny_model: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(copied / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=2000)
    tokenizer.save(str(copied / "tokenizer.json"))
    assert TokenCounter(copied).count(ONE) == TokenCounter(tiny_model).count(ONE) > 8


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% if tools is not none %}TOOLS{% endif %}{{ messages[0].content | tojson }}", '"é\\"<"'),
        ("{{ messages | tojson(ensure_ascii=true, indent=None) | length > 0 }}", "True"),
        ("{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}", 'é"<'),
        ("{{ bos_token }}{{ eos_token }}", "<|im_start|><|im_end|>"),
    ],
)
def test_what_chat_templates_out_there_use(copied: Path, template: str, text: str) -> None:
    from transformers import AutoTokenizer

    (copied / "chat_template.jinja").write_text(template, "utf-8")
    turns = messages([("user", 'é"<')])
    assert TokenCounter(copied).render(turns) == text
    theirs = AutoTokenizer.from_pretrained(copied).apply_chat_template(
        [message.model_dump() for message in turns], tokenize=False, add_generation_prompt=True
    )
    assert theirs == text


def test_a_template_in_the_tokenizers_config_is_found(copied: Path) -> None:
    template = (copied / "chat_template.jinja").read_text("utf-8")
    expected = TokenCounter(copied).render(ONE)
    (copied / "chat_template.jinja").unlink()
    config = json.loads((copied / "tokenizer_config.json").read_text())
    for written in (template, [{"name": "tool_use", "template": "x"}, {"name": "default", "template": template}]):
        (copied / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": written}))
        assert TokenCounter(copied).render(ONE) == expected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('no system turn') }}", "refuses this chat: no system turn"),
        ("{{ messages[0].content + 1 }}", "refuses this chat"),
    ],
)
def test_a_template_that_refuses_a_chat_says_why(copied: Path, template: str, words: str) -> None:
    (copied / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError, match=words):
        TokenCounter(copied).render(ONE)


def test_a_model_without_a_readable_template_or_tokenizer_is_refused(copied: Path, tmp_path: Path) -> None:
    (copied / "chat_template.jinja").write_text("{% if %}")
    with pytest.raises(ModelError, match=r"chat template in .* cannot be read"):
        TokenCounter(copied)
    (copied / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="copied has no chat template") as caught:
        TokenCounter(copied)
    assert "instruct" in caught.value.hint
    with pytest.raises(ModelError, match=r"tokenizer in .* cannot be read"):
        TokenCounter(tmp_path)
