"""Every form of export of a tiny model, loaded again; and planted faults, each of which must be refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from prompts.errors import ModelError, RunError
from prompts.versions import Demonstration, PromptVersion
from tests.trainers.runs import file_hashes
from trainers import jobs
from trainers.exporting import adapter, carry_out, checking, gguf_file, gguf_vocabulary, hub, merged, ollama, selftest
from trainers.exporting.carry_out import export
from trainers.exporting.records import ExportReport, Order, Progress, SelfTest
from trainers.modeling import load_tokenizer
from trainers.paths import PYTHON, Paths
from trainers.plan import TrainingPlan
from trainers.status import RunFolder, RunStatus

Plans = Callable[..., TrainingPlan]
PROMPT = PromptVersion(system='Label the ticket. Say {{ "nothing" }} else.', template="Ticket: {{ input }}\nLabel:")


def save_adapter(base: Path, folder: Path, config: Any, scale: float = 0.02) -> None:
    """Untrained, but not the base."""
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, values in model.named_parameters():
        if "lora_B" in name:
            values.data.normal_(std=scale)
    model.save_pretrained(folder)


def lora(**options: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **options)


@pytest.fixture
def bare(tiny_plan: Plans, measured_paths: Paths) -> RunFolder:
    """A run that has ended without a result."""
    run = jobs.create_run(tiny_plan().model_copy(update={"prompt": PROMPT}), measured_paths)
    run.write_status(RunStatus(state="done"))
    return run


@pytest.fixture
def run(bare: RunFolder, tiny_model: Path) -> RunFolder:
    save_adapter(tiny_model, bare.adapter, lora())
    return bare


def kept(folder: Path) -> list[str]:
    """What a refused export left."""
    return sorted(path.name for path in folder.parent.iterdir() if folder.name in path.name)


# Round trips


def test_the_adapter_is_copied_and_names_its_base(run: RunFolder, measured_paths: Paths, tmp_path: Path) -> None:
    before = file_hashes(run.adapter)
    told: list[float] = []
    order = Order(format="adapter", to=tmp_path / "out", base_id="me/tiny")
    report = export(run, order, measured_paths, lambda _, share: told.append(share))
    assert file_hashes(run.adapter) == before, "the run's own stays as it is"
    assert json.loads((tmp_path / "out/adapter_config.json").read_text())["base_model_name_or_path"] == "me/tiny"
    assert report.self_test.difference < 1e-5 and report.self_test.arrived == pytest.approx(1)
    assert report.self_test.from_base_divergence > 0.01 and report.self_test.places > 300
    assert told == sorted(told)
    files = {file.path: file.bytes for file in report.files}
    assert set(files) == {"README.md", "adapter_config.json", "adapter_model.safetensors", "prompt.json"}
    assert files["adapter_model.safetensors"] == (run.adapter / "adapter_model.safetensors").stat().st_size
    assert "base_model: me/tiny" in (tmp_path / "out/README.md").read_text("utf-8")
    written = ExportReport.model_validate_json((tmp_path / "out/export.json").read_text("utf-8"))
    assert written == report.model_copy(update={"folder": None})
    assert any("--enable-lora --max-lora-rank 8" in how.lines for how in report.how_to)


def test_an_examined_run_brings_its_card(run: RunFolder, measured_paths: Paths, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    from tests.reports import write_full_report
    from trainers.cards import card_text

    write_full_report(run)
    export(run, Order(format="adapter", to=tmp_path / "out"), measured_paths)
    card = (tmp_path / "out/README.md").read_text("utf-8")
    assert card == card_text(run) and ModelCard(card).data.to_dict()


@pytest.mark.parametrize("options", [{}, {"use_dora": True}], ids=["lora", "dora"])
def test_merged_is_a_whole_model_in_the_bases_number_type(
    bare: RunFolder, tiny_model: Path, measured_paths: Paths, tmp_path: Path, options: dict[str, Any]
) -> None:
    save_adapter(tiny_model, bare.adapter, lora(**options))
    report = export(bare, Order(format="merged", to=tmp_path / "out"), measured_paths)
    weights, base = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", tiny_model))
    assert weights.keys() == base.keys() and {v.dtype for v in weights.values()} == {torch.float32}
    assert not torch.equal(weights["model.layers.1.mlp.up_proj.weight"], base["model.layers.1.mlp.up_proj.weight"])
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (tiny_model / name).read_bytes()
    assert report.self_test.difference < 1e-3 and report.dtype == "float32"
    assert PromptVersion.model_validate_json((tmp_path / "out/prompt.json").read_text("utf-8")).id == PROMPT.id


def test_a_base_in_bfloat16_gives_a_merged_model_in_bfloat16(
    bare: RunFolder, tiny_model: Path, measured_paths: Paths, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    small = tmp_path / "small"
    AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16).save_pretrained(small)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(small)
    (small / "LICENSE").write_text("Do good.")
    (bare.path / "plan.yaml").write_text(bare.plan().model_copy(update={"base_model": str(small)}).to_yaml(), "utf-8")
    save_adapter(small, bare.adapter, lora())
    report = export(bare, Order(format="merged", to=tmp_path / "out"), measured_paths)
    assert report.dtype == "bfloat16" and report.self_test.dtype == "float32"
    assert {v.dtype for v in load_file(tmp_path / "out/model.safetensors").values()} == {torch.bfloat16}
    assert 1e-4 < report.self_test.difference < 0.5, "rounded, and no more than that"
    assert (tmp_path / "out/LICENSE").read_text() == "Do good." and not any("licence" in n for n in report.notes)


@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings=True.")  # which is what is tried
def test_a_head_that_was_trained_by_itself_is_stored_beside_the_embedding(
    bare: RunFolder, tiny_model: Path, measured_paths: Paths, tmp_path: Path
) -> None:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tied = tmp_path / "tied"
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tied)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tied)
    (bare.path / "plan.yaml").write_text(bare.plan().model_copy(update={"base_model": str(tied)}).to_yaml(), "utf-8")
    with_head = get_peft_model(AutoModelForCausalLM.from_pretrained(tied), lora(modules_to_save=["lm_head"]))
    for name, values in with_head.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            values.data += 0.05 * torch.randn_like(values)
    with_head.save_pretrained(bare.adapter)
    for form in ("merged", "gguf"):
        report = export(bare, Order.model_validate({"format": form, "to": tmp_path / form, "quantization": "f32"}),
                        measured_paths)  # fmt: skip
        assert report.self_test.difference < 1e-3, form
    assert json.loads((tmp_path / "merged/config.json").read_text())["tie_word_embeddings"] is False


def test_a_whole_model_is_copied(bare: RunFolder, tiny_model: Path, measured_paths: Paths, tmp_path: Path) -> None:
    from tests.tiny import build_tiny_model

    build_tiny_model(bare.model, seed=5)
    report = export(bare, Order(format="merged", to=tmp_path / "out"), measured_paths)
    assert file_hashes(bare.model).items() <= file_hashes(tmp_path / "out").items()
    assert report.self_test.difference == 0 and report.self_test.arrived == pytest.approx(1)
    with pytest.raises(RunError, match="whole model and no adapter"):
        export(bare, Order(format="adapter", to=tmp_path / "other"), measured_paths)


@pytest.mark.parametrize(("kind", "largest"), [("f32", 1e-4), ("f16", 0.05), ("q8_0", 0.5)])
def test_gguf_is_read_by_transformers_and_answers_alike(
    run: RunFolder, measured_paths: Paths, tmp_path: Path, kind: Any, largest: float
) -> None:
    from gguf import GGUFReader

    report = export(run, Order(format="gguf", to=tmp_path / "out", quantization=kind), measured_paths)
    assert report.self_test.difference < largest and report.self_test.arrived == pytest.approx(1, abs=0.05)
    reader = GGUFReader(tmp_path / "out/model.gguf")
    told = {name: field.contents() for name, field in reader.fields.items()}
    assert told["general.architecture"] == "llama" and told["tokenizer.ggml.pre"] == "gpt-2"
    assert told["tokenizer.ggml.add_bos_token"] is False
    assert told["tokenizer.ggml.tokens"][told["tokenizer.ggml.eos_token_id"]] == "<|im_end|>"
    assert told["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1], "special ones are told from the others"
    types = {t.tensor_type.name for t in reader.tensors if "norm" not in t.name}
    assert types == {kind.upper()} and {t.tensor_type.name for t in reader.tensors if "norm" in t.name} == {"F32"}


@pytest.mark.parametrize(("name", "head"), [("Qwen2", 32), ("Qwen3", 128)])  # as the real ones have it
def test_qwen_is_written_too(
    name: str, head: int, bare: RunFolder, tiny_model: Path, measured_paths: Paths, tmp_path: Path
) -> None:
    import transformers

    tokenizer, other = transformers.AutoTokenizer.from_pretrained(tiny_model), tmp_path / "qwen"
    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(tokenizer) + 3, hidden_size=64, intermediate_size=96, num_hidden_layers=2, head_dim=head,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True, max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(1)
    model = getattr(transformers, f"{name}ForCausalLM")(config)
    for key, values in model.named_parameters():
        if "bias" in key or "norm" in key:
            values.data.uniform_(0.5, 1.5)  # as made, a wrong place of theirs would not show
    model.save_pretrained(other)
    tokenizer.save_pretrained(other)
    (bare.path / "plan.yaml").write_text(bare.plan().model_copy(update={"base_model": str(other)}).to_yaml(), "utf-8")
    save_adapter(other, bare.adapter, lora(), scale=0.2)
    report = export(bare, Order(format="gguf", to=tmp_path / "out", quantization="f32"), measured_paths)
    assert report.self_test.difference < 1e-3 and report.self_test.arrived == pytest.approx(1, abs=1e-3)


def test_ollama_gets_a_modelfile_that_lays_out_as_the_served_model_is_asked(
    run: RunFolder, measured_paths: Paths, tmp_path: Path
) -> None:
    report = export(run, Order(format="ollama", to=tmp_path / "out"), measured_paths)
    text = (tmp_path / "out/Modelfile").read_text("utf-8")
    assert text.startswith('FROM ./model.gguf\nTEMPLATE """{{ range .Messages }}<|im_start|>{{ .Role }}\n')
    assert '{{ if eq .Role "user" }}Ticket: {{ .Content }}\nLabel:{{ else }}{{ .Content }}{{ end }}<|im_end|>' in text
    assert f'SYSTEM """{PROMPT.system}"""' in text
    assert 'PARAMETER temperature 0\nPARAMETER stop "<|im_end|>"' in text
    assert any("was not run here" in note for note in report.notes)
    assert "ollama create" in report.how_to[0].lines


# Faults


def test_an_export_that_is_secretly_the_base_is_refused_and_removed(
    run: RunFolder, tiny_model: Path, measured_paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgets(source: Any, served: Any) -> Any:
        return served.unload()  # takes the adapter off, and adds it nowhere

    monkeypatch.setattr(merged, "merge", forgets)
    for order in (Order(format="merged", to=tmp_path / "out"), Order(format="gguf", to=tmp_path / "out")):
        with pytest.raises(RunError, match="is the base and not the tuned model"):
            export(run, order, measured_paths)
        assert kept(tmp_path / "out") == []


def test_a_weak_training_is_told_from_the_base_even_behind_coarse_rounding(
    bare: RunFolder, tiny_model: Path, measured_paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its distance from the base is far within what q8_0 is allowed to be off."""
    save_adapter(tiny_model, bare.adapter, lora(), scale=0.002)
    order = Order(format="gguf", to=tmp_path / "out", quantization="q8_0")
    good = export(bare, order, measured_paths).self_test
    assert good.from_base_divergence < good.tolerance_divergence / 2 and good.arrived == pytest.approx(1, abs=0.2)
    monkeypatch.setattr(merged, "merge", lambda source, served: served.unload())
    with pytest.raises(RunError, match="is the base"):
        export(bare, order.model_copy(update={"to": tmp_path / "other"}), measured_paths)


def test_a_changed_tensor_is_refused(
    run: RunFolder, measured_paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = merged.write

    def damages(source: Any, model: Any, folder: Path) -> str:
        told = write(source, model, folder)
        weights = load_file(folder / "model.safetensors")
        weights["model.layers.0.self_attn.o_proj.weight"][3] *= 1.5  # one row of 128
        save_file(weights, folder / "model.safetensors", {"format": "pt"})
        return told

    monkeypatch.setattr(merged, "write", damages)
    with pytest.raises(RunError, match=r"does not answer as the served model: the largest difference is \d"):
        export(run, Order(format="merged", to=tmp_path / "out"), measured_paths)
    assert kept(tmp_path / "out") == []


def test_an_adapter_of_other_values_is_refused(
    run: RunFolder, tiny_model: Path, measured_paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = adapter.write

    def empties(source: Any, folder: Path) -> None:
        write(source, folder)
        weights = load_file(folder / "adapter_model.safetensors")
        zero = {name: v * 0 if "lora_B" in name else v for name, v in weights.items()}
        save_file(zero, folder / "adapter_model.safetensors", {"format": "pt"})

    monkeypatch.setattr(adapter, "write", empties)
    with pytest.raises(RunError, match="only 0% of what training changed"):
        export(run, Order(format="adapter", to=tmp_path / "out"), measured_paths)


def test_a_tokenizer_that_reads_otherwise_is_refused(
    run: RunFolder, measured_paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = merged.write

    def rewords(source: Any, model: Any, folder: Path) -> str:
        told = write(source, model, folder)
        place = folder / "chat_template.jinja"
        place.write_text(place.read_text("utf-8").replace("assistant", "bot"), "utf-8")
        return told

    monkeypatch.setattr(merged, "write", rewords)
    with pytest.raises(RunError, match="reads a chat otherwise"):
        export(run, Order(format="merged", to=tmp_path / "out"), measured_paths)


def test_a_training_that_moved_nothing_is_exported_and_said_to_be_that(
    bare: RunFolder, tiny_model: Path, measured_paths: Paths, tmp_path: Path
) -> None:
    save_adapter(tiny_model, bare.adapter, lora(), scale=0.0)
    report = export(bare, Order(format="merged", to=tmp_path / "out"), measured_paths)
    assert report.self_test.arrived is None
    assert any("Training changed nothing" in note for note in report.notes)


def test_no_room_is_said_before_anything_is_loaded(
    run: RunFolder, measured_paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "refer", lambda *_: pytest.fail("it was loaded"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(RunError, match=r"This export needs about 0\.1 GB, but only 0\.0 GB are free"):
        export(run, Order(format="merged", to=tmp_path / "out"), measured_paths)
    assert kept(tmp_path / "out") == []


def test_a_disk_that_fills_up_leaves_nothing(
    run: RunFolder, measured_paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fills(source: Any, model: Any, folder: Path) -> str:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(merged, "write", fills)
    with pytest.raises(RunError, match="No space left"):
        export(run, Order(format="merged", to=tmp_path / "out"), measured_paths)
    assert kept(tmp_path / "out") == []


def test_what_is_there_is_never_written_over(run: RunFolder, measured_paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(run, Order(format="adapter", to=tmp_path / "out"), measured_paths)
    before = file_hashes(tmp_path / "out")
    with pytest.raises(RunError, match="is there already"):
        export(run, Order(format="merged", to=tmp_path / "out"), measured_paths)
    assert file_hashes(tmp_path / "out") == before
    report = export(run, Order(format="adapter"), measured_paths)
    again = export(run, Order(format="adapter"), measured_paths)
    assert report.folder and again.folder == report.folder.with_name("adapter-2")
    assert report.folder == run.path / "exports/adapter"


def test_a_run_without_a_result_and_one_that_is_only_a_prompt_are_refused(
    bare: RunFolder, measured_paths: Paths
) -> None:
    with pytest.raises(RunError, match="no result to export"):
        export(bare, Order(format="merged"), measured_paths)
    bare.write_prompt(PROMPT)
    with pytest.raises(RunError, match=r"made a prompt and no weights") as told:
        export(bare, Order(format="merged"), measured_paths)
    assert "prompt.json" in told.value.hint


def test_a_run_whose_base_is_gone_is_refused(run: RunFolder, measured_paths: Paths, tmp_path: Path) -> None:
    gone = run.plan().model_copy(update={"base_model": str(tmp_path / "gone")})
    (run.path / "plan.yaml").write_text(gone.to_yaml(), "utf-8")
    with pytest.raises(ModelError, match="There is no base model"):
        export(run, Order(format="adapter"), measured_paths)
    assert not (run.path / "exports").exists()


def test_a_soft_prompt_is_exported_as_it_is_and_never_merged(
    bare: RunFolder, tiny_model: Path, measured_paths: Paths, tmp_path: Path
) -> None:
    from peft import PromptTuningConfig

    save_adapter(tiny_model, bare.adapter, PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"))
    report = export(bare, Order(format="adapter", to=tmp_path / "out"), measured_paths)
    assert report.self_test.difference < 1e-5 and report.self_test.from_base_divergence > 0
    for form in ("merged", "gguf", "ollama"):
        with pytest.raises(RunError, match=r"soft prompt.*cannot be merged") as told:
            export(bare, Order(format=form, to=tmp_path / "other"), measured_paths)
        assert "train with LoRA" in told.value.hint


def test_other_architectures_and_tokenizers_name_the_converter(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoConfig

    tokenizer, config = load_tokenizer(tiny_model), AutoConfig.from_pretrained(tiny_model)
    gguf_file.check(config, tokenizer, tiny_model)
    for change, why in (
        ({"model_type": "gpt2"}, "its architecture is gpt2"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0}}, "its positions are scaled"),
        ({"hidden_act": "gelu"}, "unusual"),
    ):
        other = SimpleNamespace(**{**config.to_dict(), **change})
        with pytest.raises(RunError, match=why) as told:
            gguf_file.check(other, tokenizer, tiny_model)
        assert "convert_hf_to_gguf.py" in told.value.hint
    raw = json.loads((tiny_model / "tokenizer.json").read_text("utf-8"))
    raw["pre_tokenizer"] = {"type": "Whitespace"}
    with pytest.raises(RunError, match="cuts text in a way"):
        gguf_vocabulary._pre_of(raw, tiny_model)
    monkeypatch.setenv("TUNEWRIGHT_LLAMA_CPP", str(tmp_path))
    with pytest.raises(RunError, match="there is no"):
        gguf_file.check(config, tokenizer, tiny_model)


def test_llama_cpps_own_converter_is_called_where_it_is_named(
    run: RunFolder, measured_paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a stand-in that is called as the real one; what it writes is held to the served model all the same."""
    good = export(run, Order(format="gguf", to=tmp_path / "good"), measured_paths)
    converter = tmp_path / "convert_hf_to_gguf.py"
    converter.write_text(
        "import shutil, sys\n"
        "folder, _, out, _, kind = sys.argv[1:]\n"
        "assert kind == 'f16' and open(folder + '/config.json') and open(folder + '/tokenizer.json')\n"
        f"shutil.copy({str(tmp_path / 'good/model.gguf')!r}, out)\n"
    )
    monkeypatch.setenv("TUNEWRIGHT_LLAMA_CPP", str(tmp_path))
    report = export(run, Order(format="gguf", to=tmp_path / "out"), measured_paths)
    assert report.self_test.difference == good.self_test.difference
    assert not (tmp_path / "out/.merged").exists()
    converter.write_text("raise SystemExit('Model FooForCausalLM is not supported')")
    with pytest.raises(RunError, match="FooForCausalLM is not supported"):
        export(run, Order(format="gguf", to=tmp_path / "third"), measured_paths)
    assert kept(tmp_path / "third") == []


# The pieces


def test_the_share_that_arrived_is_not_moved_by_rounding_or_by_constants() -> None:
    torch.manual_seed(0)
    base = torch.randn(300, 500)
    change = 0.01 * torch.randn(300, 500)
    rounding = 0.02 * torch.randn(300, 500)
    served = base + change
    constant = 5 * torch.randn(300, 1)
    assert selftest.arrived(base, served, served + rounding + constant) == pytest.approx(1, abs=0.05)
    assert selftest.arrived(base, served, base + rounding + constant) == pytest.approx(0, abs=0.05)
    assert selftest.divergence(base, base + constant) == pytest.approx(0, abs=1e-9)
    one, other = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    p = torch.softmax(other, -1)[0]
    assert selftest.divergence(one, other) == pytest.approx(float(-0.5 * (2 * p).log().sum()), rel=1e-6)


def test_logits_that_are_no_numbers_fail_whatever_is_allowed() -> None:
    nan = float("nan")
    test = SelfTest(chats=1, places=1, difference=nan, divergence=0.0, tolerance=1, tolerance_divergence=1,
                    from_base=1, from_base_divergence=1, arrived=nan, dtype="float32")  # fmt: skip
    with pytest.raises(RunError):
        selftest.judge(test)
    with pytest.raises(RunError):
        selftest.judge(test.model_copy(update={"arrived": None}))


def test_pre_tokenizers_are_told_by_their_steps() -> None:
    cut = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    raw: dict[str, Any] = {"model": {"type": "BPE"}, "normalizer": None}
    digits = {"type": "Digits", "individual_digits": True}
    steps = {"type": "Sequence", "pretokenizers": [digits, cut]}
    assert gguf_vocabulary._pre_of({**raw, "pre_tokenizer": steps}, Path("x")) == "smollm"
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    split = {"type": "Split", "pattern": {"Regex": PRETOKENIZE_REGEX}, "behavior": "Isolated", "invert": False}
    steps = {"type": "Sequence", "pretokenizers": [split, {**cut, "use_regex": False}]}
    assert gguf_vocabulary._pre_of({**raw, "pre_tokenizer": steps}, Path("x")) == "qwen2"
    with pytest.raises(RunError, match="SentencePiece"):
        gguf_vocabulary._pre_of({**raw, "model": {"type": "BPE", "byte_fallback": True}}, Path("x"))


def test_a_modelfile_takes_examples_and_a_system_prompt_that_the_template_implies(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    shown = PROMPT.revised(reason="shown", demonstrations=(Demonstration(input="a", output="b"),))
    made = ollama.modelfile_of(shown, tokenizer, False)
    assert 'MESSAGE user """a"""\nMESSAGE assistant """b"""' in made.text()
    ollama.check(made, shown, tokenizer, ["x", "two\nlines"])
    plain = PromptVersion(template="Show {{ '{{ x }}' }}: {{ input }}")
    tokenizer.chat_template = "<|im_start|>system\nBe Smol.<|im_end|>\n" + tokenizer.chat_template
    implied = ollama.modelfile_of(plain, tokenizer, False)
    assert implied.system == "Be Smol." and 'Show {{ "{{" }} x }}: {{ .Content }}' in implied.text()
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "</turn>")
    with pytest.raises(RunError, match="none of ChatML, Llama 3, Zephyr"):
        ollama.modelfile_of(plain, tokenizer, False)
    with pytest.raises(RunError, match="more than put text around"):
        ollama.modelfile_of(PromptVersion(template="{{ input | upper }}"), tokenizer, False)


# The hub


class FakeApi:
    """As much of HfApi as a push asks for."""

    def __init__(self, private: bool | None = None) -> None:
        self.private, self.sent = private, list[str]()

    def create_repo(self, repo: str, *, repo_type: str, private: bool, exist_ok: bool) -> None:
        if self.private is None:
            self.private = private

    def repo_info(self, repo: str, *, repo_type: str) -> Any:
        return SimpleNamespace(private=self.private)

    def upload_folder(self, *, folder_path: Path, repo_id: str, repo_type: str, allow_patterns: list[str],
                      commit_message: str) -> str:  # fmt: skip
        assert all((folder_path / name).is_file() for name in allow_patterns)
        self.sent += allow_patterns
        return f"https://huggingface.co/{repo_id}"


def test_the_hub_gets_nothing_before_it_is_asked_for_and_then_what_was_tested(
    run: RunFolder, measured_paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = FakeApi()
    dry = Order(format="hub", repo="me/tickets")
    report = export(run, dry, measured_paths, api=api)
    assert report.upload and not report.upload.pushed and report.upload.private and api.sent == []
    assert {file.path for file in report.upload.files} >= {"adapter_model.safetensors", "README.md"}
    told = "".join(
        p.read_text("utf-8")
        for p in (run.path / "exports/hub").glob("*.*")
        if p.name in ("README.md", "adapter_config.json", "prompt.json")
    )
    assert str(Path(run.plan().base_model)) not in told, "no folder of this machine"
    assert report.folder == run.path / "exports/hub" and report.upload.bytes == report.bytes
    monkeypatch.setattr(selftest, "refer", lambda *_: pytest.fail("it was tested already"))
    sent = export(run, dry.model_copy(update={"push": True}), measured_paths, api=api)
    assert sent.upload and sent.upload.pushed and sent.upload.url and api.private is True
    assert sorted(api.sent) == sorted(file.path for file in report.files), "and not our own report, with its folders"


def test_the_hub_gets_no_changed_files_and_no_public_place_unasked(run: RunFolder, measured_paths: Paths) -> None:
    order = Order(format="hub", repo="me/tickets", push=True)
    public = FakeApi(private=False)
    with pytest.raises(RunError, match="everybody can read it"):
        export(run, order, measured_paths, api=public)
    assert public.sent == []
    asked = export(run, order.model_copy(update={"public": True}), measured_paths, api=public)
    assert asked.upload and asked.upload.pushed and not asked.upload.private and public.sent
    (run.path / "exports/hub/adapter_config.json").write_text("{}")
    with pytest.raises(RunError, match="not those that were tested"):
        export(run, order, measured_paths, api=FakeApi())


def test_a_hub_that_is_not_there_or_refuses_is_said_in_words(
    run: RunFolder, measured_paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    from huggingface_hub import HfApi

    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(403)
            self.send_header("X-Error-Message", "You have no rights to me")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    order = Order(format="hub", repo="me/tickets")
    report = export(run, order, measured_paths)
    assert report.folder
    server = HTTPServer(("127.0.0.1", 0), Refuses)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.raises(RunError, match=r"The hub refused me/tickets: .*You have no rights to me"):
        hub.push(order, report, report.folder, HfApi(endpoint=url, token="hf_x"))
    server.shutdown()
    server.server_close()
    thread.join()
    with pytest.raises(RunError, match="The hub cannot be reached"):
        hub.push(order, report, report.folder, HfApi(endpoint=url, token="hf_x"))
    assert (report.folder / "adapter_model.safetensors").is_file(), "the export stays"


@pytest.mark.parametrize(
    "wrong", [{"format": "hub"}, {"format": "hub", "repo": "tickets"}, {"format": "gguf", "push": True},
              {"format": "onnx"}, {"format": "gguf", "quantization": "q2"}]
)  # fmt: skip
def test_orders_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Order.model_validate(wrong)


# The process


def test_a_cancelled_process_leaves_nothing_and_a_refusal_is_told(
    run: RunFolder, measured_paths: Paths, tmp_path: Path
) -> None:
    def start(order: Order) -> subprocess.Popen[str]:
        command = [*PYTHON, "trainers.exporting", str(run.path), order.model_dump_json()]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ)

    first = start(Order(format="merged", to=tmp_path / "cancelled"))
    assert first.stdout
    begun = Progress.model_validate_json(first.stdout.readline())
    assert begun.message.startswith("Loading the served model") and (tmp_path / ".cancelled.draft").exists()
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 3
    first.stdout.close()
    assert kept(tmp_path / "cancelled") == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    refused = start(Order(format="adapter", to=tmp_path / "full"))
    out, _ = refused.communicate(timeout=60)
    assert refused.returncode == 1
    assert "is there already" in Progress.model_validate_json(out.splitlines()[-1]).error


def test_two_exports_to_one_folder_do_not_meet(run: RunFolder, measured_paths: Paths, tmp_path: Path) -> None:
    from filelock import FileLock

    with FileLock(tmp_path / ".out.lock"), pytest.raises(RunError, match="Another export"):
        export(run, Order(format="adapter", to=tmp_path / "out"), measured_paths)


def test_what_the_packages_are_for_is_light() -> None:
    code = (
        "import sys, trainers.exporting.carry_out, assistant.exportbench\n"
        "sys.exit(bool({'torch', 'transformers', 'peft'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert carry_out.source_of is checking.source_of
