"""The house rules: imports run one way, the light modules stay light, files stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("prompts", "trainers", "assistant")  # each may import those before it
FORBIDDEN = {
    "prompts": {"torch", "gradio", "transformers", "peft", "trl", "trainers", "assistant"},
    "trainers": {"gradio", "assistant"},
    "assistant": set(),
}
# These load torch when they are imported; they run in the worker, the embedded engine or a child process.
HEAVY = {
    *(f"trainers.{name}" for name in ("building", "callbacks", "generate", "measure", "meta", "meta_run", "modeling")),
    *(f"trainers.{name}" for name in ("prefixes", "recovery", "resumable", "scoring", "unfreezing")),
    *(f"trainers.{name}" for name in ("drawing", "logprobs", "soft_payload")),
    *(f"trainers.{name}" for name in ("evaluation.arm", "evaluation.examine", "exporting.selftest")),
    *(f"trainers.trials.{name}" for name in ("carrying", "here", "scoring", "sharing", "wording")),
    *(f"assistant.serving.{name}" for name in ("embedded_lanes", "embedded_server")),
}
MOST_LINES = 400
EXCUSE = f"longer than {MOST_LINES} lines because"

FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, module: str, path: Path) -> Iterator[str]:
    """Every imported module's full name, also inside functions and under TYPE_CHECKING."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            yield ".".join([*above, node.module or ""]).strip(".")


def all_files(*paths: Path) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths or FILES, ids=lambda path: str(path.relative_to(ROOT)))


def test_there_is_something_to_look_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(LAYERS)
    assert len(FILES) > 30
    assert {module_name(path) for path in FILES} >= HEAVY


@all_files()
def test_imports_run_one_way(path: Path) -> None:
    module = module_name(path)
    roots = {name.split(".")[0] for name in imported(ast.parse(path.read_text("utf-8")), module, path)}
    assert not roots & FORBIDDEN[module.split(".")[0]]


@all_files()
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@all_files()
def test_files_stay_short_or_say_why(path: Path) -> None:
    text = path.read_text("utf-8")
    if text.count("\n") > MOST_LINES:
        assert EXCUSE in " ".join((ast.get_docstring(ast.parse(text)) or "").split())


def test_the_light_modules_load_no_torch() -> None:
    """All at once in a fresh process; where one of them loads torch, which one it was."""
    light = [name for name in map(module_name, FILES) if name not in HEAVY and not name.endswith("__main__")]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    heavy = {'torch', 'transformers', 'peft', 'trl', 'datasets'} & sys.modules.keys()\n"
        "    if heavy: sys.exit(f'{name} loads {sorted(heavy)}')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, *light], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_what_counts_as_heavy_does_load_torch() -> None:
    """So that the list above cannot grow to hide a module that went heavy by mistake."""
    for path in FILES:
        if (module := module_name(path)) in HEAVY:
            top = ast.Module(list(ast.parse(path.read_text("utf-8")).body), [])
            names = set(imported(top, module, path))
            assert names & HEAVY or {name.split(".")[0] for name in names} & {
                "torch",
                "transformers",
                "trl",
                "datasets",
            }, module
