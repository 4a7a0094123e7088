"""Scored answers are what a plain forward pass gives, whatever is shared, padded or cut into batches."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM

from prompts.allowed import Allowed
from prompts.chat_model import Message, Sampling
from prompts.errors import EngineError
from trainers.generate import Request, generate
from trainers.modeling import load_tokenizer
from trainers.scoring import Scored, best, encode, greedy, log_probs, score, score_all

SYSTEM = Message(role="system", content="Classify the ticket: billing, returns, technical.")
CHATS = [
    [SYSTEM, Message(role="user", content="I was billed twice")],
    [SYSTEM, Message(role="user", content="it crashes")],
    [Message(role="user", content="Hello")],
]
CANDIDATES = [["billing", "returns", "technical support, second line"], ["technical"], ["a", "b"]]


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


@pytest.fixture
def base(tiny_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model, attn_implementation="sdpa").eval()


@pytest.fixture
def tuned(base: Any) -> Any:
    """With a LoRA adapter that does something."""
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    return get_peft_model(base, config).eval()


def by_hand(model: Any, tokenizer: Any, chat: list[Message], answer: str) -> torch.Tensor:
    """Each answer token's log-probability from one unpadded forward pass over the rendered text."""
    rendered = tokenizer.apply_chat_template(
        [turn.model_dump() for turn in chat], add_generation_prompt=True, tokenize=False
    )
    prompt = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    whole = prompt + tokenizer(answer + "<|im_end|>", add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([whole])).logits[0]
    values = logits.log_softmax(-1)
    return torch.stack([values[at - 1, whole[at]] for at in range(len(prompt), len(whole))])


@pytest.mark.parametrize("which", ["base", "tuned"])
@pytest.mark.parametrize("at_once", [1, 2, 128])
def test_scores_equal_a_plain_forward_pass(
    which: str, at_once: int, tokenizer: Any, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(which)
    scored = score_all(model, tokenizer, CHATS, CANDIDATES, at_once=at_once)
    for chat, given, found in zip(CHATS, CANDIDATES, scored, strict=True):
        assert [one.answer for one in found] == given
        for one in found:
            expected = by_hand(model, tokenizer, chat, one.answer)
            assert one.tokens == len(expected)
            assert one.sum == pytest.approx(float(expected.sum()), abs=1e-3)
            assert one.mean == pytest.approx(float(expected.mean()), abs=1e-3)


@pytest.mark.parametrize(
    ("name", "value"), [("layer_types", ["linear_attention", "full_attention"]), ("sliding_window", 64)]
)
def test_where_nothing_can_be_kept_the_scores_are_the_same(base: Any, tokenizer: Any, name: str, value: Any) -> None:
    shared = score_all(base, tokenizer, CHATS, CANDIDATES)
    begun: list[int] = []
    base.register_forward_pre_hook(lambda module, args, given: begun.append(len(given["input_ids"])), with_kwargs=True)
    setattr(base.config, name, value)
    alone = score_all(base, tokenizer, CHATS, CANDIDATES)
    assert begun == [1] * 6, "every answer by itself"
    for first, second in zip(shared, alone, strict=True):
        assert [one.sum for one in second] == pytest.approx([one.sum for one in first], abs=1e-3)


def test_one_chat_is_scored_as_one_of_many(base: Any, tokenizer: Any) -> None:
    one = score(base, tokenizer, CHATS[0], CANDIDATES[0])
    many = score_all(base, tokenizer, CHATS, CANDIDATES)[0]
    assert [found.sum for found in one] == pytest.approx([found.sum for found in many], abs=1e-3)


def test_the_adapter_counts(tuned: Any, tokenizer: Any) -> None:
    with_it = score(tuned, tokenizer, CHATS[0], ["billing"])[0].sum
    with tuned.disable_adapter():
        without = score(tuned, tokenizer, CHATS[0], ["billing"])[0].sum
    assert abs(with_it - without) > 0.1


def test_an_answer_ends_with_the_end_token_and_nothing_after_it(base: Any, tokenizer: Any) -> None:
    row = encode(base, tokenizer, CHATS[0], ["billing"])
    assert tokenizer.decode(row.prompt).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(row.answers[0]) == "billing<|im_end|>"


def test_a_template_that_forgets_the_end_token_or_rewrites_the_chat_still_ends(base: Any, tokenizer: Any) -> None:
    plain = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    for template in (plain, plain + "{% if add_generation_prompt %}Answer:{% endif %}"):
        tokenizer.chat_template = template
        row = encode(base, tokenizer, CHATS[2], ["billing"])
        assert row.answers[0][-1] == tokenizer.eos_token_id
        assert tokenizer.decode(row.answers[0]).startswith("billing")


def test_gradients_are_those_of_a_plain_forward_pass(tuned: Any, tokenizer: Any) -> None:
    rows = [encode(tuned, tokenizer, chat, given[:1]) for chat, given in zip(CHATS, CANDIDATES, strict=True)]
    parameters = {name: p for name, p in tuned.named_parameters() if p.requires_grad}
    torch.cat([answer for [answer] in log_probs(tuned, rows)]).sum().backward()  # type: ignore[no-untyped-call]
    shared = {name: p.grad.clone() for name, p in parameters.items()}
    tuned.zero_grad()
    for row in rows:
        whole = torch.tensor([[*row.prompt, *row.answers[0]]])
        values = tuned(input_ids=whole).logits[0, len(row.prompt) - 1 : -1].log_softmax(-1)
        values.gather(-1, torch.tensor(row.answers[0])[:, None]).sum().backward()
    for name, parameter in parameters.items():
        assert torch.allclose(shared[name], parameter.grad, atol=1e-3), name


def test_scoring_leaves_the_mode_and_makes_no_gradients(tuned: Any, tokenizer: Any) -> None:
    tuned.train()
    score(tuned, tokenizer, CHATS[0], CANDIDATES[0])
    assert tuned.training
    assert all(parameter.grad is None for parameter in tuned.parameters())


def test_the_best_by_sum_and_by_mean_may_differ() -> None:
    short, long = Scored("short", sum=-2.0, tokens=1), Scored("long", sum=-3.0, tokens=3)
    assert best([long, short]) == "short"
    assert best([short, long], by="mean") == "long"
    assert best([short, Scored("other", -2.0, 1)]) == "short", "of equals the first"


def test_what_cannot_be_scored_is_refused(base: Any, tokenizer: Any) -> None:
    with pytest.raises(EngineError, match="no candidates"):
        score(base, tokenizer, CHATS[0], [])
    with pytest.raises(EngineError, match="the model takes 1024"):
        score(base, tokenizer, [Message(role="user", content="word " * 1100)], ["billing"])
    with pytest.raises(ValueError, match="3 chats"):
        score_all(base, tokenizer, CHATS, [["a"]])


@pytest.mark.parametrize("kind", [PromptTuningConfig, PrefixTuningConfig])
def test_behind_a_soft_prompt_it_is_as_if_every_answer_stood_alone(base: Any, tokenizer: Any, kind: Any) -> None:
    torch.manual_seed(1)
    soft = get_peft_model(copy.deepcopy(base), kind(num_virtual_tokens=4, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for parameter in soft.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    soft.eval()
    found = score_all(soft, tokenizer, CHATS, CANDIDATES)
    for chat, candidates, scored in zip(CHATS, CANDIDATES, found, strict=True):
        row = encode(soft, tokenizer, chat, candidates)
        for answer, one in zip(row.answers, scored, strict=True):
            whole = torch.tensor([row.prompt + answer])
            with torch.inference_mode():
                logits = soft(input_ids=whole).logits[0, -whole.shape[1] :]
            values = logits[len(row.prompt) - 1 : -1].log_softmax(-1)
            alone = values.gather(-1, torch.tensor(answer).unsqueeze(-1)).sum()
            assert one.sum == pytest.approx(float(alone), abs=1e-3)
    without = score_all(base, tokenizer, CHATS, CANDIDATES)
    assert abs(found[0][0].sum - without[0][0].sum) > 0.01, "the soft prompt counts"


def test_greedy_says_what_decoding_held_to_the_answers_says(base: Any, tokenizer: Any) -> None:
    allowed = Allowed(choices=("billing", "billing again", "returns", "return label", "technical"))
    chats = [[SYSTEM, Message(role="user", content=f"ticket {i}: {'no ' * (i % 4)}answer")] for i in range(12)]
    found = score_all(base, tokenizer, chats, [allowed.choices] * len(chats))
    requests = [Request(chat, Sampling(max_tokens=40, allowed=allowed)) for chat in chats]
    generate(base, tokenizer, requests)
    assert [greedy(scored) for scored in found] == [request.text for request in requests]


def test_greedy_goes_token_by_token_and_not_by_the_sum() -> None:
    first = Scored("first", -3.0, 2, ((1, -0.5), (9, -2.5)))
    second = Scored("second", -1.0, 2, ((2, -0.9), (9, -0.1)))
    assert (best([first, second]), greedy([first, second])) == ("second", "first")
    longer = Scored("first one", -0.7, 2, ((1, -0.5), (3, -0.2)))
    assert greedy([first, second, longer]) == "first one", "of those that begin alike the likelier goes on"
