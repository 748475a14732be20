"""How tests stand to each other: what several need is a module of its own, never a test or a fixture's file."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent


def imported(source: str) -> Iterator[str]:
    """The dotted names of all that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (".".join(filter(None, (node.module, alias.name))) for alias in node.names)


def is_of_a_test(name: str) -> bool:
    """Whether a dotted name leads into a test's module or a conftest."""
    return any(word == "conftest" or word.startswith("test_") for word in name.split("."))


def test_nothing_is_imported_from_a_test():
    modules = {path.relative_to(TESTS).as_posix(): path.read_text() for path in TESTS.rglob("*.py")}
    taken = {module: [name for name in imported(source) if is_of_a_test(name)] for module, source in modules.items()}
    assert len(modules) > 90
    assert not {module: names for module, names in taken.items() if names}
