"""Where a plan may be carried out: this machine as it was measured, and a list of cards and processors.

Owns the list `machines.yaml`, which a person can edit and add to, and finding this machine in it. Refuses to measure
(that is `hardware`) and to estimate.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from prompts.errors import RunError
from trainers.energy import NOTHING_SAID, Rates
from trainers.estimating.records import Machine
from trainers.hardware import Compute, Hardware
from trainers.paths import default_paths

_FILE = "machines.yaml"
_MARKS = re.compile(r"nvidia |\(r\)|\(tm\)")
# Where it was not measured: two cores of a Xeon, and a common card.
_GB_PER_SECOND = {"cpu": 56.0, "cuda": 300.0}


def this_machine(hardware: Hardware, compute: Compute, rates: Rates = NOTHING_SAID) -> Machine:
    """This machine, as measured. Watts are those of the list, where that has this card or processor; what an hour costs
    is what the person says (TUNEWRIGHT_COST_PER_HOUR), and else it is not known: the list's prices are for renting."""
    on_gpu = compute.device == "cuda" and bool(hardware.gpus)
    name = hardware.gpus[0].name if on_gpu else hardware.cpu
    listed = next((one for one in known_machines() if _is(one, name)), None)
    return Machine(
        name=str(hardware),
        device=compute.device,
        dtype=compute.dtype,
        memory_gb=hardware.gpus[0].memory_gb if on_gpu else hardware.memory_gb,
        gflops=compute.gflops,
        gb_per_second=compute.gb_per_second or (listed.gb_per_second if listed else _GB_PER_SECOND[compute.device]),
        watts=listed.watts if listed else None,
        per_hour=rates.cost_per_hour,
    )


def known_machines() -> tuple[Machine, ...]:
    """The machines of the list and of the person's own, the smallest memory first.

    Raises `RunError` for an own file that cannot be read, with what is wrong in it.
    """
    own = default_paths().home / _FILE
    changed = own.stat().st_mtime_ns if own.is_file() else 0
    return _known(own, changed)


@cache
def _known(own: Path, changed: int) -> tuple[Machine, ...]:
    found = {one.name: one for one in _parsed(files(__package__).joinpath(_FILE).read_text("utf-8"), _FILE)}
    if changed:
        found |= {one.name: one for one in _parsed(own.read_text("utf-8", errors="replace"), str(own))}
    return tuple(sorted(found.values(), key=lambda machine: (machine.memory_gb, machine.name)))


def _parsed(text: str, where: str) -> list[Machine]:
    try:
        raw: Any = yaml.safe_load(text)
        rows = list(raw["machines"])
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise RunError(
            f"{where} cannot be read: {' '.join(str(error).split())}.",
            hint="It needs a list under `machines:`, as our own trainers/estimating/machines.yaml has it.",
        ) from error
    return [_machine(row, number, where) for number, row in enumerate(rows, start=1)]


def _machine(row: Any, number: int, where: str) -> Machine:
    try:
        return Machine.model_validate({key: value for key, value in row.items() if key != "source"})
    except (ValidationError, AttributeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": ("entry",), "msg": "is no mapping"}
        field = ".".join(map(str, first["loc"]))
        raise RunError(f"{where}, machine {number}: {field}: {first['msg']}.", hint="Mend or remove it.") from error


def _is(listed: Machine, name: str) -> bool:
    """Whether this is that card or processor, however its driver calls it; an "RTX 4060 Ti" is no "RTX 4060"."""
    plain, called = (_MARKS.sub("", text.lower()) for text in (listed.name.split(",")[0], name))
    return re.search(rf"\b{re.escape(plain.strip())}(?!\w| ?ti\b| ?super\b)", called) is not None
