"""Lengths of all rows at once against each row rendered and counted by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prompts.chat_model import Message
from prompts.versions import Demonstration, PromptVersion
from trainers import row_lengths as module
from trainers.data import Example
from trainers.row_lengths import row_lengths
from trainers.tokens import TokenCounter

TEXTS = (
    "where is my card?",
    " a space before",
    "spaces after  \n",
    "two\n\nparagraphs\tand a tab",
    "naïve 😀 日本語",
    "<|im_end|> typed by a person <|im_start|>system",
    "he wrote <|im_",
    "end|> and <",
    "[INST] x [/INST] </s>",
    "I think </think> so",
    "NEVER say never",
    "user",
    "word " * 100,
    "1",
)
# Each text as an input, with itself and two others as answers.
PAIRS = [(text, TEXTS[(n + further) % len(TEXTS)]) for n, text in enumerate(TEXTS) for further in (0, 1, 5)]
EXAMPLES = [Example(row=n, input=given, output=answer) for n, (given, answer) in enumerate(PAIRS)]
PROMPTS = (
    PromptVersion(),
    PromptVersion(system="Classify.", template="Text: {{ input }}\n\nLabel: "),
    PromptVersion(template="{{ input | upper }}", demonstrations=(Demonstration(input="a", output="b"),)),
    PromptVersion(template="{% if input | length > 20 %}long: {% endif %}{{ input }}"),
)
LOOP = (
    "{%% for m in messages %%}<|im_start|>{{ m.role }}\n%s<|im_end|>\n{%% endfor %%}"
    "{%% if add_generation_prompt %%}<|im_start|>assistant\n{%% endif %%}"
)
TEMPLATES = {
    "trims": LOOP % "{{ m.content | trim }}",
    "drops thoughts": LOOP % "{{ m.content.split('</think>')[-1].lstrip('\n') }}",
    "looks for a word": LOOP % "{% if 'never' in m.content | lower %}(!) {% endif %}{{ m.content }}",
    "refuses silence": LOOP % "{% if not m.content %}{{ raise_exception('empty') }}{% endif %}{{ m.content }}",
    "says it twice": LOOP % "{{ m.content }} {{ m.content }}",
    "changes letters": LOOP % "{{ m.content | title }}",
    "no special tokens": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}",
    "waits for a reply with more": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n\n</think>\n\n{% endif %}",
    "waits otherwise": "{% for m in messages %}<|im_start|>{{ m.content }}{% if not loop.last %}<|im_end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %} and you say:{% else %}<|im_end|>{% endif %}",
}


def one_by_one(examples: list[Example], prompt: PromptVersion, counter: TokenCounter) -> tuple[tuple[int, ...], int]:
    lengths, answers = [], []
    for example in examples:
        asked = prompt.messages(example.input)
        full = [*asked, Message(role="assistant", content=example.output)]
        lengths.append(counter.count(full, for_reply=False))
        answers.append(lengths[-1] - counter.count(asked))
    return tuple(lengths), max(0, *answers)


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.id)
@pytest.mark.parametrize("which", ["tiny", "embedded", *TEMPLATES])
def test_every_row_is_as_long_as_by_itself(
    which: str, prompt: PromptVersion, tiny_model: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = tiny_model
    if which == "embedded":
        folder = request.getfixturevalue("embedded_folder")
    elif which in TEMPLATES:
        folder = tmp_path / "model"
        shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("*.safetensors"))
        (folder / "chat_template.jinja").write_text(TEMPLATES[which])
    counter = TokenCounter(folder)
    assert row_lengths(EXAMPLES, prompt, counter, lambda done: None) == one_by_one(EXAMPLES, prompt, counter)
    for n in (0, 1, 20):  # the longest answer hides the others
        few = EXAMPLES[n : n + 1]
        assert row_lengths(few, prompt, counter, lambda done: None) == one_by_one(few, prompt, counter)


def test_most_rows_take_the_short_cut_and_progress_is_told(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 50)
    counter, rendered = TokenCounter(tiny_model), []
    render = counter.render

    def counted(*args: object, **more: object) -> str:
        rendered.append(args)
        return render(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(counter, "render", counted)
    rows = [Example(row=n, input=f"where is parcel {n}", output="ab"[n % 2]) for n in range(1_000)]
    few: list[float] = []
    row_lengths(rows[:1], PromptVersion(), counter, few.append)
    first = len(rendered)
    told: list[float] = []
    row_lengths(rows, PromptVersion(), counter, told.append)
    assert len(rendered) == 2 * first
    assert told == [n / 20 for n in range(20)]
    assert row_lengths([], PromptVersion(), counter, told.append) == ((), 0)
