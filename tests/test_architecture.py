"""How large a file and a function may be, and how tests stand to each other: none imports another."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
EVERYWHERE = ("tps_pipeline", "assets", "tests", "benchmarks")


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


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Each function's name, and its lines without its docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if ast.get_docstring(node) is None or len(node.body) == 1 else node.body[1]
            yield node.name, (node.end_lineno or 0) - first.lineno + 1


def modules(*folders: str) -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text() for at in folders for path in (ROOT / at).rglob("*.py")}


def test_a_function_s_lines_are_counted_without_its_docstring():
    source = 'def f(\n    x,\n):\n    """A.\n\n    B.\n    """\n    y = x\n    return y\n\ndef g(): return 1\n'
    assert list(functions(source)) == [("f", 2), ("g", 1)]


def test_no_file_is_above_400_lines():
    lengths = {name: len(source.splitlines()) for name, source in modules(*EVERYWHERE).items()}
    assert len(lengths) > 100
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_no_function_is_above_50_lines():
    sizes = [
        (name, function, size) for name, source in modules(*EVERYWHERE).items() for function, size in functions(source)
    ]
    assert len(sizes) > 1000
    assert [each for each in sizes if each[2] > 50] == []
