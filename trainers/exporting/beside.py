"""What lies beside the weights of an export: licence, prompt, card. Never imports torch.

Owns these files and the list of all files. Says nothing of the model that was not measured: the card is the run's own
where it was examined, else a few lines of what this is.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from trainers.cards import card_text
from trainers.exporting.checking import Source
from trainers.exporting.records import REPORT, File
from trainers.models import catalogue

_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*", "USE_POLICY*")
_LIBRARY = {"adapter": "peft", "merged": "transformers", "gguf": "gguf"}


def write(source: Source, folder: Path) -> tuple[str, ...]:
    """Put them into the folder. Returns what a person has to know of the licence."""
    (folder / "prompt.json").write_text(source.run.result_prompt().model_dump_json(indent=1), "utf-8")
    card = card_text(source.run) if source.run.report() else short_card(source)
    (folder / "README.md").write_text(card, "utf-8")
    found = [file for pattern in _LICENCES for file in sorted(source.base.folder.glob(pattern)) if file.is_file()]
    for file in found:
        shutil.copyfile(file, folder / file.name)
    if found:
        return ()
    known = next((entry.licence for entry in catalogue() if entry.ref == source.plan.base_model), "")
    told = f"It is {known}, says our list of models" if known else "Look it up where the base comes from"
    return (f"The base's folder holds no licence file. {told}; what you pass on stands under it.",)


def short_card(source: Source) -> str:
    """A card with what is certain: the base, the kind of file, and how the model wants to be asked."""
    # A folder of this machine is no name that a hub knows.
    named = [f"base_model: {source.base_id}"] if re.fullmatch(r"[\w.-]+/[\w.-]+", source.base_id) else []
    prompt = source.run.result_prompt()
    head = ["---", f"library_name: {_LIBRARY[source.content]}", *named, "pipeline_tag: text-generation", "---"]
    body = [
        f"# {source.run.name}",
        f"{source.plan.strategy.title} on {source.base.name}, by Tunewright, run {source.run.id}. Not examined here: "
        "the run has no card.",
        "It was trained with the prompt in prompt.json (version "
        f"{prompt.id}); asked otherwise, it may answer otherwise.",
    ]
    return "\n".join(head) + "\n\n" + "\n\n".join(body) + "\n"


def files_in(folder: Path) -> tuple[File, ...]:
    """All files of an export but its own report."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / REPORT]
    return tuple(
        File(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=_sha256(path))
        for path in found
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
