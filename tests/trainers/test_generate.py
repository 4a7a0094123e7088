"""One batch, each row answered by what it asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model

from prompts.allowed import Allowed
from prompts.chat_model import Message, Sampling
from prompts.errors import EngineError
from tests.trainers.runs import Started
from trainers.drawing import Drawn
from trainers.generate import BASE, Request, can_share_batch, first_logits, generate
from trainers.hardware import Compute
from trainers.modeling import load_base, load_tokenizer
from trainers.stopping import UpToStop

COMPUTE = Compute(device="cpu", dtype="float32", reason="float32: for exact comparisons", gflops=1)


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


@pytest.fixture(scope="module")
def pristine(tiny_model: Path) -> Any:
    return load_base(tiny_model, COMPUTE)


def with_adapter(folder: Path, name: str = "tuned", **how: object) -> Any:
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM", **how)
    return get_peft_model(load_base(folder, COMPUTE), config, adapter_name=name).eval()


@pytest.fixture(scope="module")
def lora(tiny_model: Path) -> Any:
    """Two random adapters on one base."""
    model = with_adapter(tiny_model)
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    model.add_adapter("other", config)
    return model.eval()


def asked(text: str, adapter: str = BASE, max_tokens: int = 12, temperature: float = 0.0, **how: Any) -> Request:
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature)
    return Request([Message(role="user", content=text)], sampling, adapter, **how)


def answers(model: Any, tokenizer: Any, *requests: Request) -> list[str]:
    generate(model, tokenizer, requests)
    return [request.text for request in requests]


TEXTS = ["hi", "a much longer question about the delivery of my parcel", "billing?"]


# Who answers.


def test_a_base_row_gets_the_pristine_bases_logits_and_a_tuned_row_others(
    lora: Any, pristine: Any, tokenizer: Any
) -> None:
    ids = tokenizer(["the support ticket"] * 3, return_tensors="pt")
    with torch.inference_mode():
        base, tuned, other = lora(**ids, adapter_names=[BASE, "tuned", "other"]).logits
        untouched = pristine(**ids).logits[0]
    assert torch.equal(base, untouched)
    assert not torch.allclose(tuned, untouched, atol=0.1)
    assert not torch.allclose(tuned, other, atol=0.1)


def test_a_mixed_batch_gives_each_row_what_it_gets_alone(lora: Any, pristine: Any, tokenizer: Any) -> None:
    order = [BASE, "tuned", BASE, "other"]
    rows = [(text, adapter) for text in TEXTS for adapter in order]
    together = answers(lora, tokenizer, *(asked(*row) for row in rows))
    alone = [answers(lora, tokenizer, asked(*row))[0] for row in rows]
    assert together == alone
    assert [together[i] for i, row in enumerate(rows) if row[1] == BASE] == [
        answers(pristine, tokenizer, asked(*row))[0] for row in rows if row[1] == BASE
    ]
    for text in TEXTS:
        by_adapter = {adapter: said for (shown, adapter), said in zip(rows, together, strict=True) if shown == text}
        assert len(set(by_adapter.values())) == 3, "three models, three answers"


@pytest.mark.parametrize("adapter", ["unknown", "default", ""])
def test_an_adapter_that_is_not_held_is_refused(lora: Any, pristine: Any, tokenizer: Any, adapter: str) -> None:
    for model in (lora, pristine):
        request = asked("hi", adapter)
        with pytest.raises(EngineError, match="cannot answer as"):
            generate(model, tokenizer, [asked("hi"), request])
        assert request.text == ""


def test_a_dora_model_answers_as_itself_but_not_as_the_base(tiny_model: Path, pristine: Any, tokenizer: Any) -> None:
    model = with_adapter(tiny_model, use_dora=True)
    assert not can_share_batch(model.peft_config["tuned"])
    with pytest.raises(EngineError, match="cannot answer as __base__"):
        generate(model, tokenizer, [asked("hi", BASE), asked("hi", "tuned")])
    own = answers(model, tokenizer, asked("hi", "tuned"))
    base = answers(pristine, tokenizer, asked("hi"))
    assert own != base
    with model.disable_adapter():
        assert answers(model, tokenizer, asked("hi", BASE)) == base
        with pytest.raises(EngineError, match="cannot answer as tuned"):
            generate(model, tokenizer, [asked("hi", "tuned")])


# How long, and how it ends.


def test_each_row_has_its_own_limit(pristine: Any, tokenizer: Any) -> None:
    rows = [asked("hi", max_tokens=n) for n in (1, 7, 3)]
    generate(pristine, tokenizer, rows)
    assert [(row.tokens, row.finish_reason) for row in rows] == [(1, "length"), (7, "length"), (3, "length")]
    assert rows[1].text.startswith(rows[2].text)
    assert rows[2].text.startswith(rows[0].text)


def test_a_row_stops_at_the_end_of_its_answer(trained: Started, tiny_model: Path, tokenizer: Any) -> None:
    model = PeftModel.from_pretrained(load_base(tiny_model, COMPUTE), trained.run.adapter, adapter_name="tuned")
    rows = [asked(f"Ticket 1 about {label}", "tuned", 50) for label in ("billing", "returns")]
    generate(model, tokenizer, rows)
    assert [(row.text, row.finish_reason) for row in rows] == [("billing", "stop"), ("returns", "stop")]
    assert all(row.tokens < 10 for row in rows)


def test_a_cancelled_row_stops_and_the_others_go_on(pristine: Any, tokenizer: Any) -> None:
    pieces: list[str] = []
    rows = [asked("hi", on_text=pieces.append, cancelled=lambda: len(pieces) >= 3), asked("billing?")]
    generate(pristine, tokenizer, rows)
    assert rows[0].finish_reason == "cancelled"
    assert rows[0].text == "".join(pieces)
    assert len(pieces) == 3
    assert rows[0].tokens < 12
    assert rows[1].finish_reason == "length"
    assert [rows[1].text] == answers(pristine, tokenizer, asked("billing?"))


def test_a_batch_that_is_all_cancelled_ends_at_once(pristine: Any, tokenizer: Any) -> None:
    rows = [asked("hi", max_tokens=500, cancelled=lambda: True) for _ in range(2)]
    generate(pristine, tokenizer, rows)
    assert [(row.text, row.tokens, row.finish_reason) for row in rows] == [("", 0, "cancelled")] * 2


def test_streamed_pieces_join_to_the_text(pristine: Any, tokenizer: Any) -> None:
    streamed: dict[str, list[str]] = {text: [] for text in TEXTS}
    rows = [asked(text, on_text=streamed[text].append, max_tokens=30) for text in TEXTS]
    generate(pristine, tokenizer, rows)
    for row, text in zip(rows, TEXTS, strict=True):
        assert "".join(streamed[text]) == row.text
        assert len(streamed[text]) > 1
        assert "" not in streamed[text]


@pytest.mark.parametrize(("max_context", "max_tokens"), [(None, 1024), (16, 10), (None, 5000)])
def test_a_prompt_that_leaves_no_room_is_refused(
    pristine: Any, tokenizer: Any, max_context: int | None, max_tokens: int
) -> None:
    with pytest.raises(EngineError, match="but the model takes") as caught:
        generate(pristine, tokenizer, [asked("hello there", max_tokens=max_tokens)], max_context=max_context)
    assert caught.value.hint


# How it is drawn.


def test_greedy_rows_are_unchanged_beside_sampled_ones(lora: Any, tokenizer: Any) -> None:
    alone = answers(lora, tokenizer, asked("hi", "tuned"), asked("billing?"))
    torch.manual_seed(0)
    rows = [
        asked("hi", "tuned"),
        asked("hi", "tuned", temperature=5.0),
        asked("billing?"),
        asked("hi", temperature=0.7),
    ]
    mixed = answers(lora, tokenizer, *rows)
    assert [mixed[0], mixed[2]] == alone
    assert mixed[1] != mixed[0]


def test_sampling_varies_and_follows_the_seed(pristine: Any, tokenizer: Any) -> None:
    def drawn(seed: int) -> str:
        torch.manual_seed(seed)
        return answers(pristine, tokenizer, asked("hi", temperature=2.0))[0]

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) > 1


def test_a_very_small_top_p_is_greedy(pristine: Any, tokenizer: Any) -> None:
    sampling = Sampling(max_tokens=12, temperature=1.0, top_p=1e-6)
    row = Request([Message(role="user", content="hi")], sampling)
    assert answers(pristine, tokenizer, row) == answers(pristine, tokenizer, asked("hi"))


def test_a_base_that_gave_its_adapter_back_answers_as_before(tiny_model: Path, pristine: Any, tokenizer: Any) -> None:
    bare = with_adapter(tiny_model).unload()
    assert answers(bare, tokenizer, asked("hi")) == answers(pristine, tokenizer, asked("hi"))


SEEDED = {"temperature": 1.5, "max_tokens": 16}


def drawn(text: str, adapter: str = BASE, **how: Any) -> Request:
    return Request([Message(role="user", content=text)], Sampling(**(SEEDED | how)), adapter)


def test_a_seed_draws_the_same_reply_again_and_other_seeds_others(pristine: Any, tokenizer: Any) -> None:
    seeds = [0, 1, 2, 3, 2**32 - 1, 2**64 - 2]  # on a CPU the lower 32 bits count
    first, again = ([answers(pristine, tokenizer, drawn("hi", seed=s))[0] for s in seeds] for _ in range(2))
    assert first == again
    assert len(set(first)) == len(seeds)


def test_a_seed_draws_the_same_reply_in_any_company(lora: Any, tokenizer: Any) -> None:
    """The neighbours draw too, at other temperatures, from other seeds and from none, and end earlier and later."""
    alone = {adapter: answers(lora, tokenizer, drawn("hi", adapter, seed=5))[0] for adapter in (BASE, "tuned")}
    company = [
        drawn(TEXTS[1], seed=6, max_tokens=30),
        drawn("hi", BASE, seed=5),
        drawn("hi", "other", temperature=3.0, max_tokens=3),
        drawn("hi", "tuned", seed=5),
        asked("hi", "tuned"),
        drawn("hi", BASE, seed=5),
    ]
    together = answers(lora, tokenizer, *company)
    assert [together[1], together[3], together[5]] == [alone[BASE], alone["tuned"], alone[BASE]]
    assert together[0] == answers(lora, tokenizer, drawn(TEXTS[1], seed=6, max_tokens=30))[0]
    assert answers(lora, tokenizer, *company[:2][::-1])[0] == alone[BASE]


def first_tokens(model: Any, tokenizer: Any, count: int, **how: Any) -> list[int]:
    """What so many seeds would begin a reply to "hi" with."""
    with torch.inference_mode():
        scores = model(torch.tensor([prompt_of(tokenizer, "hi")])).logits[:, -1].repeat(count, 1)
    rows = Drawn([Sampling(seed=seed, **how) for seed in range(count)], lambda row: False)
    left = rows(torch.zeros(count, 1, dtype=torch.long), scores)
    assert (left > -torch.inf).sum() == count, "each row is left one token"
    return [int(token) for token in left.argmax(-1)]


def likely(model: Any, tokenizer: Any, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain Transformers' probabilities of the first token after "hi", the likeliest first, and their tokens."""
    with torch.inference_mode():
        logits = model(torch.tensor([prompt_of(tokenizer, "hi")])).logits[0, -1]
    found = (logits / temperature).softmax(-1).sort(descending=True)
    return found.values, found.indices


def prompt_of(tokenizer: Any, text: str) -> list[int]:
    chat = [{"role": "user", "content": text}]
    return list(tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False))


def test_tokens_are_drawn_as_often_as_they_are_likely(pristine: Any, tokenizer: Any) -> None:
    count = 1000
    found = first_tokens(pristine, tokenizer, count, temperature=2.0)
    values, tokens = likely(pristine, tokenizer, 2.0)
    for p, token in zip(values[:8].tolist(), tokens[:8].tolist(), strict=True):
        expected, spread = count * p, (count * p * (1 - p)) ** 0.5
        assert abs(found.count(token) - expected) < 4 * spread, token


def test_top_k_leaves_the_k_likeliest(pristine: Any, tokenizer: Any) -> None:
    found = set(first_tokens(pristine, tokenizer, 200, temperature=5.0, top_k=3))
    assert found == set(likely(pristine, tokenizer)[1][:3].tolist())


def test_a_top_k_of_one_is_greedy(pristine: Any, tokenizer: Any) -> None:
    rows = [drawn(text, top_k=1, temperature=5.0, max_tokens=12) for text in TEXTS]
    assert answers(pristine, tokenizer, *rows) == answers(pristine, tokenizer, *(asked(text) for text in TEXTS))


@pytest.mark.parametrize("temperature", [1e-9, 1e-4])
def test_a_very_low_temperature_is_greedy(pristine: Any, tokenizer: Any, temperature: float) -> None:
    cold = answers(pristine, tokenizer, drawn("hi", temperature=temperature, seed=1))
    assert cold == answers(pristine, tokenizer, asked("hi", max_tokens=16))


# Where its text ends.


def spoken(pristine: Any, tokenizer: Any, text: str = "hi", max_tokens: int = 40) -> list[str]:
    """The pieces of the greedy reply, one for each token that completes a character."""
    pieces: list[str] = []
    generate(pristine, tokenizer, [asked(text, on_text=pieces.append, max_tokens=max_tokens)])
    return pieces


def straddling(pieces: list[str]) -> str:
    """A text that begins in the midst of one piece and ends in the midst of another, and that occurs there first."""
    whole = "".join(pieces)
    at = len("".join(pieces[:-4]))
    for start in range(at, 0, -1):
        stop = whole[start : start + 5]
        ends = {len("".join(pieces[:n])) for n in range(len(pieces))}
        if whole.index(stop) == start and start not in ends and start + 5 not in ends:
            return stop
    raise AssertionError(f"no such text in {pieces}")


def test_a_reply_ends_before_a_stop_text_that_straddles_tokens(pristine: Any, tokenizer: Any) -> None:
    text = "a much longer question about the delivery of my parcel"
    pieces = spoken(pristine, tokenizer, text)
    whole, stop = "".join(pieces), straddling(pieces)
    said: list[str] = []
    sampling = Sampling(max_tokens=40, stop=("never said", stop))
    row = Request([Message(role="user", content=text)], sampling, on_text=said.append)
    neighbour = asked(text, max_tokens=40)
    generate(pristine, tokenizer, [row, neighbour])
    assert (row.text, row.finish_reason, row.stopped_by) == (whole[: whole.index(stop)], "stop", stop)
    assert "".join(said) == row.text and "" not in said
    assert row.tokens < neighbour.tokens and neighbour.text == whole


def test_what_only_begins_like_a_stop_text_is_said_in_the_end(pristine: Any, tokenizer: Any) -> None:
    whole = "".join(spoken(pristine, tokenizer))
    said: list[str] = []
    sampling = Sampling(max_tokens=40, stop=(whole[-3:] + "and more",))
    row = Request([Message(role="user", content="hi")], sampling, on_text=said.append)
    generate(pristine, tokenizer, [row])
    assert (row.text, row.finish_reason, row.stopped_by) == (whole, "length", "")
    assert "".join(said) == whole and said[-1].endswith(whole[-3:])


@pytest.mark.parametrize(
    ("stops", "said", "found"),
    [
        ((), "aabaabbc", ""),
        (("",), "aabaabbc", ""),
        (("abb",), "aaba", "abb"),
        (("abb", "aab"), "", "aab"),
        (("bbc", "bb"), "aabaa", "bb"),
        (("bb", "abb"), "aabaa", "bb"),
        (("abb", "bb"), "aaba", "abb"),  # both are complete at once: the first of the list, as in vLLM
        (("cc", "bcd"), "aabaabbc", ""),
    ],
)
def test_a_text_ends_before_the_stop_text_that_is_complete_first(stops: tuple[str, ...], said: str, found: str) -> None:
    for size in (1, 2, 3):
        text = UpToStop(stops)
        pieces: list[str] = []
        for start in range(0, 8, size):
            pieces.append(text.take("aabaabbc"[start : start + size]))
            assert found or "".join(pieces) == "aabaabbc"[: len("".join(pieces))]
            if text.found:
                break
        else:
            pieces.append(text.rest())
        if size == 1 or len(stops) < 2:
            assert ("".join(pieces), text.found) == (said, found)


# What is told of it.


def logprobs_of(model: Any, tokenizer: Any, request: Request, **how: Any) -> torch.Tensor:
    """Plain Transformers' log-probabilities at each place of a reply, from one forward pass over prompt and reply."""
    prompt = prompt_of(tokenizer, request.messages[0].content)
    taken = how.pop("tokens")
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *taken]]), **how).logits[0]
    return logits.log_softmax(-1)[len(prompt) - 1 : -1]


def greedy_tokens(model: Any, tokenizer: Any, text: str, count: int) -> list[int]:
    ids = torch.tensor([prompt_of(tokenizer, text)])
    with torch.inference_mode():
        out = model.generate(ids, max_new_tokens=count, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return list(out[0, ids.shape[1] :].tolist())


@pytest.mark.parametrize("top", [0, 1, 5, 20])
def test_log_probabilities_are_those_of_the_plain_model(pristine: Any, tokenizer: Any, top: int) -> None:
    rows = [asked(text, max_tokens=12, top_logprobs=top) for text in TEXTS]
    silent = asked("hi", max_tokens=30)
    generate(pristine, tokenizer, [rows[0], silent, *rows[1:]])
    assert silent.logprobs == []
    for row in rows:
        taken = greedy_tokens(pristine, tokenizer, row.messages[0].content, 12)
        expected = logprobs_of(pristine, tokenizer, row, tokens=taken)
        assert len(row.logprobs) == row.tokens == len(taken)
        for place, (found, token) in enumerate(zip(row.logprobs, taken, strict=True)):
            assert found.logprob == pytest.approx(float(expected[place, token]), abs=1e-4)
            best = expected[place].topk(top).values.tolist()
            assert [value for _, value in found.likeliest] == pytest.approx(best, abs=1e-4)
            assert found.likeliest[:1] == (((found.text, found.logprob),) if top else ())


def test_log_probabilities_are_before_temperature_and_constraint(lora: Any, tokenizer: Any) -> None:
    """And of the row's own adapter."""
    allowed = Allowed(choices=("billing", "delivery"))
    row = Request(
        [Message(role="user", content="hi")],
        Sampling(max_tokens=8, temperature=3.0, top_k=5, seed=1, allowed=allowed),
        "tuned",
        top_logprobs=3,
    )
    generate(lora, tokenizer, [asked("hi"), row])
    assert row.text in allowed.choices
    taken = tokenizer.convert_tokens_to_ids([entry.text for entry in row.logprobs])
    assert tokenizer.decode(taken) == row.text and len(taken) == row.tokens
    expected = logprobs_of(lora, tokenizer, row, tokens=taken, adapter_names=["tuned"])
    for place, (found, token) in enumerate(zip(row.logprobs, taken, strict=True)):
        assert found.logprob == pytest.approx(float(expected[place, token]), abs=1e-4)
        best = expected[place].topk(3).values.tolist()
        assert [value for _, value in found.likeliest] == pytest.approx(best, abs=1e-4)


def test_the_texts_of_the_tokens_join_to_the_reply(pristine: Any, tokenizer: Any) -> None:
    """The tiny model says many characters of several tokens: all but the last of those read as nothing."""
    rows = [drawn(text, temperature=4.0, seed=s, max_tokens=40) for s, text in enumerate(TEXTS * 3)]
    for row in rows:
        row.top_logprobs = 0
    generate(pristine, tokenizer, rows)
    ends = {tokenizer.decode([token]) for token in tokenizer.all_special_ids}
    joined = ["".join(entry.text for entry in row.logprobs if entry.text not in ends) for row in rows]
    assert any(entry.text == "" for row in rows for entry in row.logprobs)
    for row, text in zip(rows, joined, strict=True):
        assert text.replace("\ufffd", "") == row.text.replace("\ufffd", "")


def test_a_first_logit_is_the_plain_models(lora: Any, pristine: Any, tokenizer: Any) -> None:
    chats = [[Message(role="user", content=text)] for text in TEXTS]
    found = {adapter: first_logits(lora, tokenizer, chats, adapter) for adapter in (BASE, "tuned")}
    for adapter, logits in found.items():
        assert logits.shape == (3, len(tokenizer)) and logits.dtype == torch.float32
        for text, row in zip(TEXTS, logits, strict=True):
            ids = torch.tensor([prompt_of(tokenizer, text)])
            with torch.inference_mode():
                expected = lora(ids, adapter_names=[adapter]).logits[0, -1]
            torch.testing.assert_close(row, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[BASE], first_logits(pristine, tokenizer, chats), atol=1e-4, rtol=1e-4)
    with pytest.raises(EngineError, match="but the model takes 1024 in all"):
        first_logits(lora, tokenizer, [[Message(role="user", content="word " * 1000)]])


def test_prompts_are_counted_by_the_tokenizer(pristine: Any, tokenizer: Any) -> None:
    rows = [asked(text) for text in TEXTS]
    generate(pristine, tokenizer, rows)
    assert [row.prompt_tokens for row in rows] == [len(prompt_of(tokenizer, text)) for text in TEXTS]


def test_virtual_tokens_are_counted_and_take_room(tiny_model: Path, tokenizer: Any) -> None:
    config = PromptTuningConfig(num_virtual_tokens=6, task_type="CAUSAL_LM")
    model = get_peft_model(load_base(tiny_model, COMPUTE), config, adapter_name="soft").eval()
    room = len(prompt_of(tokenizer, "hi")) + 6 + 12
    fits = asked("hi", "soft")
    generate(model, tokenizer, [fits], max_context=room)
    assert fits.prompt_tokens == room - 12
    with pytest.raises(EngineError, match=f"The prompt has {room - 12} tokens"):
        generate(model, tokenizer, [asked("hi", "soft")], max_context=room - 1)


def test_an_open_ended_reply_takes_what_the_context_leaves(pristine: Any, tokenizer: Any) -> None:
    rows = [asked(text, max_tokens=1, open_ended=True) for text in ("hi", "hi there")] + [asked("hi", max_tokens=3)]
    generate(pristine, tokenizer, rows, max_context=40)
    for row in rows[:2]:
        assert row.finish_reason == "stop" or row.tokens == 40 - row.prompt_tokens
    assert rows[2].tokens == 3
    with pytest.raises(EngineError, match="the reply may have 1, but the model takes 5"):
        generate(pristine, tokenizer, [asked("hi", open_ended=True)], max_context=5)
