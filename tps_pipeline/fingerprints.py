"""Fingerprints of code: of all definitions in a package that some of its definitions reach, by what they compute.

What a definition reaches is told by names, too much rather than too little: all methods of a class that is named, all
of a module that is used as a value. What no name shows is missed: the class of an argument (annotations are followed in
the fields of classes only), a file that is read. Which output has which fingerprint and version is not known here.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tps_pipeline import syntax
from tps_pipeline.syntax import FUNCTIONS, Reference

PLUMBING = (
    "tps_pipeline.training.checkpoint",
    "tps_pipeline.cli.console",
    "tps_pipeline.data.layout.progress",
    "tps_pipeline.device",
    "tps_pipeline.errors",
    "tps_pipeline.graph",
    "tps_pipeline.lineage",
    "tps_pipeline.outputs",
    "tps_pipeline.reading",
    "tps_pipeline.store",
    "tps_pipeline.training.loop._bar",
    "tps_pipeline.actions.swin._progress",
)
"""What is not followed, with all below it: where things are kept and what is shown, not what is computed."""

ON_IMPORT = "<module>"
"""The name of a module's statements that bind none: they count wherever anything of the module does."""


class Symbol(NamedTuple):
    """What a module defines or imports at its top level, or `Class.method`; a class is without its methods.

    Attributes:
        module: Its dotted name.
        name: The symbol's in it.
    """

    module: str
    name: str


class Definition(NamedTuple):
    """What a symbol is.

    Attributes:
        text: Its normalised source; an import's: where it is from.
        uses: The symbols that it uses.
    """

    text: str
    uses: frozenset[Symbol]


class Code:
    """A package's source, which is read once. A file that is no Python is passed over: nothing that runs reaches it.

    Args:
        root: The package's folder; or the file of a module that is in none.
    """

    def __init__(self, root: Path) -> None:
        self._names: dict[str, set[str]] = defaultdict(set)  # that modules bind
        self._nodes: dict[Symbol, list[ast.stmt]] = defaultdict(list)
        self._imports: dict[Symbol, list[Reference]] = defaultdict(list)
        self._methods: dict[Symbol, set[Symbol]] = defaultdict(set)
        self._definition = functools.cache(self._define)
        for path in root.rglob("*.py") if root.is_dir() else [root]:
            package = ".".join(path.parent.relative_to(root.parent).parts)
            self._names.setdefault(package, set())
            with suppress(SyntaxError):
                tree = syntax.normalised(path.read_bytes(), package)
                self._bind(package if path.stem == "__init__" else f"{package}.{path.stem}".lstrip("."), tree)

    def fingerprint(self, entries: Iterable[str], extra: str = "") -> str:
        """A short hash of all that some definitions reach.

        Args:
            entries: As `reached` takes them.
            extra: What else counts: a table's schema, say.
        """
        return hashlib.sha256(repr((sorted(self.reached(entries).items()), extra)).encode()).hexdigest()[:16]

    def reached(self, entries: Iterable[str]) -> dict[str, str]:
        """All that some definitions reach: normalised source by dotted name.

        Args:
            entries: Dotted names, where they are defined, of modules, of classes, and of functions and methods, which
                count without their own decorators. Of a method's class and its bases count what is not a method, and
                those methods that are looked up in `self` on the way or that Python calls (`__init__`).

        Raises:
            LookupError: There is no such definition.
        """
        named, found, todo = dict[Symbol, str](), dict[Symbol, str](), set[Symbol]()
        for entry in sorted(entries):
            for symbol, (text, uses) in self._entry(entry).items():
                named[symbol] = text
                todo |= uses
        while todo:
            symbol = todo.pop()
            found[symbol], uses = self._definition(symbol)
            todo |= uses - found.keys()
        return {".".join(symbol): text for symbol, text in (found | named).items()}

    def _bind(self, module: str, tree: ast.Module) -> None:
        """Take up what a module defines and imports."""
        for statement in tree.body:
            names = set(syntax.bound(statement))
            if isinstance(statement, ast.ClassDef):
                methods = [node for node in statement.body if isinstance(node, FUNCTIONS)]
                statement.body = [node for node in statement.body if node not in methods]
                for node in methods:
                    self._nodes[Symbol(module, f"{statement.name}.{node.name}")].append(node)
                    self._methods[Symbol(module, statement.name)].add(Symbol(module, f"{statement.name}.{node.name}"))
            elif not isinstance(statement, FUNCTIONS):
                for name, origin in syntax.imported(statement):
                    if origin != (module, (name,)):  # a package's own module, which it has anyway
                        self._names[module].add(name)
                        self._imports[Symbol(module, name)].append(origin)
                if not names and not isinstance(statement, ast.Import | ast.ImportFrom):
                    names = {ON_IMPORT}
            self._names[module] |= names
            for name in names:
                self._nodes[Symbol(module, name)].append(statement)

    def _entry(self, entry: str) -> dict[Symbol, Definition]:
        """What counts by being named."""
        names, found = entry.split("."), dict[Symbol, Definition]()
        cut = next((n for n in range(len(names), 0, -1) if ".".join(names[:n]) in self._names), len(names))
        module = ".".join(names[:cut])
        match names[cut:]:
            case []:
                found = {each: self._definition(each) for each in self._symbols(Reference(module, ()))}
            case [name] if (symbol := Symbol(module, name)) in self._nodes:
                found = {symbol: self._definition(symbol, bare=True)}
            case [name, method]:
                found = self._method(Symbol(module, name), method)
            case _:
                pass
        if not found:
            raise LookupError(f"{entry} is not defined in the package")
        return found

    def _method(self, owner: Symbol, name: str) -> dict[Symbol, Definition]:
        """A method with what counts of its class; nothing if the class has none of that name."""
        classes, methods = self._classes(owner), defaultdict[str, set[Symbol]](set)
        for method in set[Symbol]().union(*(self._methods.get(each, ()) for each in classes)):
            methods[method.name.partition(".")[2]].add(method)
        if name not in methods:
            return {}
        kept, todo = set[str](), {name, *(each for each in methods if each.startswith("__"))}
        while todo:
            kept |= todo
            nodes = [node for each in todo for method in methods[each] for node in self._nodes[method]]
            found = {each for node in nodes if isinstance(node, FUNCTIONS) for each in syntax.looked_up(node)}
            todo = (methods.keys() if "" in found else methods.keys() & found) - kept
        called = {method: self._definition(method, bare=each == name) for each in kept for method in methods[each]}
        # Where the body of a class names its bases, they mean no more than what is kept of them.
        narrowed = classes.union(*methods.values())
        bodies = {each: self._definition(each) for each in classes}
        return called | {each: Definition(text, uses - narrowed) for each, (text, uses) in bodies.items()}

    def _classes(self, symbol: Symbol) -> frozenset[Symbol]:
        """A class with its bases in the package and theirs; nothing if it is no class."""
        nodes = [node for node in self._nodes.get(symbol, ()) if isinstance(node, ast.ClassDef)]
        names = {names for node in nodes for base in node.bases for names in syntax.read(base)}
        bases = {base for each in names for base in self._symbols(Reference(symbol.module, each))}
        return frozenset({symbol} if nodes else ()).union(*map(self._classes, bases))

    def _define(self, symbol: Symbol, bare: bool = False) -> Definition:
        """A symbol's definition; a bare one is without its decorators, if it is a function."""
        nodes = [syntax.undecorated(node) if bare else node for node in self._nodes.get(symbol, ())]
        texts = [".".join((module, *names)) for module, names in self._imports.get(symbol, ())]
        uses = self._methods.get(symbol, set()) | ({Symbol(symbol.module, ON_IMPORT)} & self._nodes.keys())
        for node in nodes:
            texts.append(syntax.dump(node))
            origins = list(syntax.imported(node))
            for names in set(syntax.read(node)):
                inner = (Reference(module, first + names[1:]) for name, (module, first) in origins if name == names[0])
                for reference in (Reference(symbol.module, names), *inner):
                    uses.update(self._symbols(reference))
        return Definition("\n".join(texts), frozenset(uses))

    def _symbols(self, reference: Reference) -> Iterator[Symbol]:
        """What a reference means, with the imports on the way there."""
        module, names = self._located(reference)
        bound = self._names.get(module, set())
        if ".".join((module, *names, "")).startswith(tuple(f"{each}." for each in PLUMBING)):
            return
        for name in bound & {names[0]} if names else bound:
            yield Symbol(module, name)
            for origin in self._imports.get(Symbol(module, name), ()):
                target = self._located(origin)
                if names or target.names:  # all of a module is not all of the modules that it imports
                    yield from self._symbols(Reference(target.module, target.names + names[1:]))

    def _located(self, reference: Reference) -> Reference:
        """The same with the modules among its names in its module."""
        module, names = reference
        while names and names[0] not in self._names.get(module, ()) and f"{module}.{names[0]}" in self._names:
            module, names = f"{module}.{names[0]}", names[1:]
        return Reference(module, names)
