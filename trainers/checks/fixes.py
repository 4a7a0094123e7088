"""Carrying out the fix that a finding suggests.

Owns the three actions. Refuses to write files or to decide: the caller shows `fix.words` and asks first.
"""

from __future__ import annotations

from trainers.checks.finding import Finding
from trainers.checks.hidden import cleaned
from trainers.checks.personal import masked
from trainers.data import Mapping
from trainers.reading import Table, table_of

_REWRITES = {"mask": masked, "clean": cleaned}


def apply_fix(table: Table, mapping: Mapping, finding: Finding) -> Table:
    """The table with the finding's fix applied to its rows. Without a fix, nothing changes."""
    if finding.fix is None:
        return table
    chosen = set(finding.rows)
    if finding.fix.action == "drop_rows":
        return table_of([row for number, row in table.numbered() if number not in chosen], table.path)
    rewrite = _REWRITES[finding.fix.action]

    def changed(row: dict[str, str]) -> dict[str, str]:
        return row | {name: rewrite(row[name]) for name in (mapping.input, mapping.output)}

    rows = [changed(row) if number in chosen else row for number, row in table.numbered()]
    return table_of(rows, table.path)
