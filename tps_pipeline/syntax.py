"""Python source: its normal form, and the names that it binds, imports and reads; not what they stand for elsewhere."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from importlib.util import resolve_name
from typing import Any, NamedTuple

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
"""What defines a function."""
EXPRESSION_SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
"""Expressions with names of their own."""

Names = tuple[str, ...]
"""A name and the attributes after it: `("recipe", "VideoSwin")`."""


class Reference(NamedTuple):
    """Something that is looked up in a module.

    Attributes:
        module: Its dotted name.
        names: Looked up from it, each in the one before; without any, the module itself.
    """

    module: str
    names: Names


def normalised(source: bytes, package: str) -> ast.Module:
    """A module without what changes no result: docstrings, annotations but those of fields, imports for annotations.

    Args:
        source: Its text.
        package: What its relative imports start from.
    """
    return _Normaliser(package).visit(ast.parse(source))


class _Normaliser(ast.NodeTransformer):
    def __init__(self, package: str) -> None:
        self.package = package
        self.in_class = False

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._inside(node, in_class=True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._inside(node, in_class=False)

    def _inside(self, node: ast.AST, *, in_class: bool) -> ast.AST:
        outside, self.in_class = self.in_class, in_class
        self.generic_visit(node)
        self.in_class = outside
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if self.in_class:
            return node
        return ast.Assign([node.target], node.value) if node.value else None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING") else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        return ast.ImportFrom(resolve_name("." * node.level + (node.module or ""), self.package), node.names, 0)


def dump(node: Any) -> str:
    """As `ast.dump`, but alike in all versions of Python: empty fields are left out."""
    if isinstance(node, list):
        return f"[{', '.join(map(dump, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ", ".join(f"{name}={dump(value)}" for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({fields})"


def undecorated(node: ast.stmt) -> ast.stmt:
    """The same without decorators, if it is a function."""
    if isinstance(node, FUNCTIONS):
        node = copy.copy(node)
        node.decorator_list = []
    return node


def bound(node: ast.AST) -> Iterator[str]:
    """The names that a statement binds where it stands, those of imports apart."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif not isinstance(node, EXPRESSION_SCOPES):
        for each in ast.iter_child_nodes(node):
            yield from bound(each)


def imported(node: ast.AST) -> Iterator[tuple[str, Reference]]:
    """The names that are imported anywhere in code, each with what it is bound to."""
    for each in ast.walk(node):
        match each:
            case ast.Import(names=names):
                for alias in names:
                    module = alias.name if alias.asname else alias.name.partition(".")[0]
                    yield alias.asname or module, Reference(module, ())
            case ast.ImportFrom(module=str(module), names=names):
                for alias in names:
                    yield alias.asname or alias.name, Reference(module, (alias.name,))
            case _:
                pass


def read(node: ast.AST) -> Iterator[Names]:
    """The names that code reads, be they its own or not, with their attributes; `super()` alike."""
    names, root = (), node
    while isinstance(root, ast.Attribute):
        names, root = (root.attr, *names), root.value
    match root:
        case ast.Name(id=name, ctx=context):
            if names or isinstance(context, ast.Load):
                yield name, *names
        case ast.Call(func=ast.Name(id="super")) if names:
            yield "super", *names
        case _:
            for each in ast.iter_child_nodes(root):
                yield from read(each)


def looked_up(method: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """The names that a method looks up in its object or class; an empty one if it uses that as a value."""
    own = {"super", *(each.arg for each in (*method.args.posonlyargs, *method.args.args)[:1])}
    for statement in method.body:
        for name, *attributes in read(statement):
            if name in own:
                yield attributes[0] if attributes else ""
