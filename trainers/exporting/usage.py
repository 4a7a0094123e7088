"""Lines to paste that use an export. Owns their wording; refuses to run them."""

from __future__ import annotations

import shlex
from pathlib import Path

from trainers.exporting.checking import Source
from trainers.exporting.gguf_file import FILE
from trainers.exporting.ollama import Modelfile
from trainers.exporting.records import HowTo, Order


def how_to(source: Source, order: Order, folder: Path, modelfile: Modelfile | None = None) -> tuple[HowTo, ...]:
    """The ways to use what is in `folder`, the simplest first."""
    if order.format == "ollama":
        return (_ollama(source, folder),)
    if source.content == "gguf":
        return (_llama_cpp(source, folder),)
    if source.content == "adapter":
        return (_peft(source, folder), *_vllm_adapter(source, folder))
    return (_transformers(folder), _vllm(source, folder))


def _name(source: Source) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in source.run.name.lower()).strip("-.") or "tuned"


def _asks(load: str) -> str:
    return (
        f"{load}\n"
        'chat = [{"role": "user", "content": "..."}]  # with the system prompt and template of prompt.json\n'
        'ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)\n'
        "said = model.generate(**ids, max_new_tokens=64, do_sample=False)\n"
        'print(tokenizer.decode(said[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))'
    )


def _peft(source: Source, folder: Path) -> HowTo:
    base = str(source.base.folder if source.base.kind in ("embedded", "gguf") else source.base_id)
    load = (
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"base = {base!r}\n"
        "tokenizer = AutoTokenizer.from_pretrained(base)\n"
        f"model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), {str(folder)!r}).eval()"
    )
    return HowTo(title="Transformers and PEFT", lines=_asks(load))


def _transformers(folder: Path) -> HowTo:
    load = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({str(folder)!r})\n"
        f"model = AutoModelForCausalLM.from_pretrained({str(folder)!r}).eval()"
    )
    return HowTo(title="Transformers", lines=_asks(load))


def _vllm(source: Source, folder: Path) -> HowTo:
    return HowTo(title="vLLM", lines=f"vllm serve {shlex.quote(str(folder))} --served-model-name {_name(source)}")


def _vllm_adapter(source: Source, folder: Path) -> tuple[HowTo, ...]:
    """For what vLLM loads as a LoRA, which has no DoRA and no other kind."""
    from trainers.adapters import read_config

    config = read_config(source.artefact)
    if config.get("peft_type") != "LORA" or config.get("use_dora"):
        return ()
    base = str(source.base.folder if source.base.kind in ("embedded", "gguf") else source.base_id)
    ranks = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's option takes
    rank = next((r for r in ranks if r >= int(config.get("r") or 0)), ranks[-1])
    lines = (
        f"vllm serve {shlex.quote(base)} --enable-lora --max-lora-rank {rank} "
        f"--lora-modules {_name(source)}={shlex.quote(str(folder))}"
    )
    return (HowTo(title="vLLM", lines=lines),)


def _llama_cpp(source: Source, folder: Path) -> HowTo:
    place = shlex.quote(str(folder / FILE))
    return HowTo(title="llama.cpp", lines=f"llama-server -m {place} --jinja --alias {_name(source)}")


def _ollama(source: Source, folder: Path) -> HowTo:
    name = _name(source)
    lines = f"cd {shlex.quote(str(folder))}\nollama create {name} -f Modelfile\nollama run {name} 'your input'"
    return HowTo(title="Ollama", lines=lines)
