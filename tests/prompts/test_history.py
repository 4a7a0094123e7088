"""The tree of versions."""

from __future__ import annotations

from prompts.history import path_to, tree_of
from prompts.versions import PromptVersion


def child(parent: PromptVersion | None, system: str) -> PromptVersion:
    return parent.revised(reason=system, system=system) if parent else PromptVersion(system=system)


def test_a_line_stays_straight_and_a_fork_moves_in() -> None:
    a = child(None, "a")
    b = child(a, "b")
    c = child(b, "c")
    fork = child(a, "fork")
    other = PromptVersion(system="other")
    nodes = tree_of([a, b, c, fork, other])
    assert [(node.version.system, node.depth) for node in nodes] == [
        ("a", 0), ("fork", 1), ("b", 0), ("c", 0), ("other", 0)
    ]  # fmt: skip
    assert [node.children for node in nodes] == [2, 0, 1, 0, 0]


def test_every_version_stands_there_once_whatever_its_parent() -> None:
    a = child(None, "a")
    b = child(a, "b")
    again = a.model_copy(update={"parent": b.id})  # written once more from its own child
    lost = PromptVersion(system="lost", parent="nowhere")
    assert sorted(node.version.system for node in tree_of([again, b, lost])) == ["a", "b", "lost"]
    assert tree_of([]) == ()


def test_a_long_line_can_be_walked() -> None:
    versions = [PromptVersion(system="0")]
    for number in range(1, 3000):
        versions.append(child(versions[-1], str(number)))
    nodes = tree_of(versions)
    assert len(nodes) == 3000 and {node.depth for node in nodes} == {0}
    assert len(path_to(versions, versions[-1].id)) == 3000


def test_the_way_to_a_version() -> None:
    a = child(None, "a")
    b = child(a, "b")
    c = child(a, "c")
    assert [v.system for v in path_to([a, b, c], c.id)] == ["a", "c"]
    assert path_to([a, b, c], "unknown") == ()
