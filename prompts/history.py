"""The versions of a prompt as a tree: what grew from what. Owns the order it is walked in; refuses to draw or store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prompts.versions import PromptVersion


@dataclass(frozen=True)
class Node:
    """A version in the tree. `depth` counts forks above it, so that a straight line of versions stays straight."""

    version: PromptVersion
    depth: int
    children: int


def tree_of(versions: Sequence[PromptVersion]) -> tuple[Node, ...]:
    """The versions, the oldest first, each followed by what grew from it; a fork's first branch comes last.

    So the line that was written last stands right below. A version whose parent is not there stands at the root, and so
    does one that would make a ring: a version that was written again from one of its own children keeps its place.
    """
    order = {version.id: index for index, version in enumerate(versions)}
    below: dict[str | None, list[PromptVersion]] = defaultdict(list)
    for version in versions:
        parent = version.parent if version.parent in order and order[version.parent] < order[version.id] else None
        below[parent].append(version)

    def walk(version: PromptVersion, depth: int) -> Iterator[Node]:
        while True:  # a straight line may be longer than Python lets functions call themselves
            children = below[version.id]
            yield Node(version, depth, len(children))
            if not children:
                return
            for child in reversed(children[1:]):
                yield from walk(child, depth + 1)
            version = children[0]

    return tuple(node for root in below[None] for node in walk(root, 0))


def path_to(versions: Sequence[PromptVersion], id: str) -> tuple[PromptVersion, ...]:
    """The version and all that it grew from, the oldest first; empty for an unknown id."""
    known = {version.id: version for version in versions}
    path: list[PromptVersion] = []
    while id in known and known[id] not in path:
        path.append(known[id])
        id = known[id].parent or ""
    return tuple(reversed(path))
