"""The documentation site: the repository's own Markdown files where they lie, and reference pages from docstrings.

Pages keep their paths, so a link that works in the repository works on the site; files that they link to and that are
no pages are copied. Reference pages follow from the package alone: a new module needs no entry anywhere.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.hooks.site")  # warnings of mkdocs' loggers fail a strict build

ROOT = Path(__file__).parent.parent.parent
PACKAGE = "tps_pipeline"
REFERENCE = "reference"
LOOKED_UP = ("recipe", "outputs", "tables", "labels")
"""Modules whose names are shown although they say by themselves what they are."""

PLUMBING = ("logging.getLogger(", "TypeVar(")
"""What constants begin with that need no docstring: loggers and type variables say by themselves what they are."""

RECORDS = ("NamedTuple", "Struct", "BaseModel")
"""Bases that make fields of what is annotated in a class's body, as `dataclass` does."""

PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docker/README.md")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the repository's pages, what they link to, and the reference in the place of the folder's files."""
    theirs = [file for file in files if Path(file.abs_src_path or "").is_relative_to(config.docs_dir)]
    for file in theirs:
        files.remove(file)
    pages = [*PAGES, *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md")))]
    linked = {path for page in pages for path in _linked(ROOT / page)} - set(pages)
    for path in [*pages, *sorted(linked), "docs/site/extra.css"]:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    package = griffe.load(PACKAGE, search_paths=[ROOT], try_relative_path=False, docstring_parser="google")
    assert isinstance(package, griffe.Module)
    for path, text in _reference(package):
        files.append(File.generated(config, path, content=text, inclusion=InclusionLevel.INCLUDED))
    config.nav = [*(config.nav or []), {"Reference": _nav(package)}]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Give the first page the width of its commands: it is short enough without a table of contents."""
    if page.is_homepage:
        page.meta["hide"] = ["toc"]
    return markdown


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show a docstring's literal block (after a double colon) as Markdown does."""
    if not page.file.src_uri.startswith(f"{REFERENCE}/"):
        return html
    return re.sub(r"(?<=\w)::</p>", ":</p>", html.replace("<p>::</p>", ""))


def _linked(page: Path) -> Iterator[str]:
    """The files of the repository that a page links to, or shows; what is not there is for mkdocs to say."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve()
        if path.is_file() and path.is_relative_to(ROOT):
            yield path.relative_to(ROOT).as_posix()


def _reference(module: griffe.Module) -> Iterator[tuple[str, str]]:
    """A page for each public module below this one and for itself; what is not documented is warned of."""
    _complain(module)
    options: list[str] = []
    if module.path.removeprefix(f"{PACKAGE}.").startswith(LOOKED_UP):
        options.append("      show_if_no_docstring: true")
    members = "\n".join(f"        - {name}" for name in _own(module))
    options.append(f"      members:\n{members}" if members else "      members: false")
    text = "\n".join([f"---\ntitle: {module.name}\n---\n", f"::: {module.path}", "    options:", *options, ""])
    if module.path == PACKAGE:
        text += "\n## What others may import\n\n" + _face(module)
    if inside := _modules(module):
        rows = [f"| [`{each.name}`][{each.path}] | {_summary(each)} |" for each in inside]
        text += "\n".join(["", "## Modules", "", "| | |", "|---|---|", *rows, ""])
    yield _page(module), text
    for each in inside:
        yield from _reference(each)


def _face(package: griffe.Module) -> str:
    """The names in the package's `__all__`, each with where it stands in the reference."""
    rows = ["| | |", "|---|---|"]
    for name in package.exports or []:
        member = package.members[str(name)]
        target: Any = member.final_target if isinstance(member, griffe.Alias) else member
        if not target.has_docstring:
            log.warning("%s.%s has no docstring", PACKAGE, name)
        label = f"[`{name}`][{target.path}]" if target.path != f"{PACKAGE}.{name}" or target.is_module else f"`{name}`"
        rows.append(f"| {label} | {_summary(target)} |")
    return "\n".join([*rows, ""])


def _nav(module: griffe.Module) -> list[Any]:
    """The pages of a package: its own, then its modules; packages last."""
    inside = sorted(_modules(module), key=lambda each: (bool(_modules(each)), each.name))
    return [_page(module), *({each.name: _nav(each) if _modules(each) else _page(each)} for each in inside)]


def _page(module: griffe.Module) -> str:
    inside = "/".join(module.path.split(".")[1:])
    return f"{REFERENCE}/{inside + '/' if inside else ''}index.md" if _modules(module) else f"{REFERENCE}/{inside}.md"


def _modules(module: griffe.Module) -> list[griffe.Module]:
    public = (each for name, each in sorted(module.modules.items()) if not name.startswith("_"))
    return [each for each in public if not each.is_alias]


def _own(item: griffe.Module | griffe.Class) -> list[str]:
    """The public names that are defined here, in the order of the source, modules apart."""
    members = (
        (each.lineno or 0, name)
        for name, each in item.members.items()
        if not (each.is_alias or each.is_module or name.startswith("_"))
    )
    return [name for _, name in sorted(members)]


def _complain(item: griffe.Module | griffe.Class) -> None:
    """Warn of public modules, classes, functions, methods, constants and fields without a docstring."""
    if item.is_module and not item.has_docstring:
        log.warning("%s has no docstring", item.path)
    for name in _own(item):
        member = item.members[name]
        if isinstance(member, griffe.Attribute) and not _speaks(item, member):
            continue
        if not member.has_docstring:
            log.warning("%s has no docstring", member.path)
        if isinstance(member, griffe.Class):
            _complain(member)


def _speaks(owner: griffe.Module | griffe.Class, attribute: griffe.Attribute) -> bool:
    """Whether an attribute needs a docstring of its own: constants do, and fields that no `Attributes:` names."""
    if owner.is_module:
        return not str(attribute.value).startswith(PLUMBING)
    assert isinstance(owner, griffe.Class)
    sections = owner.docstring.parse("google") if owner.docstring else []
    named = {
        each.name for part in sections if part.kind is griffe.DocstringSectionKind.attributes for each in part.value
    }
    return _has_fields(owner) and attribute.annotation is not None and attribute.name not in named


def _has_fields(item: griffe.Class) -> bool:
    """Whether a class is a record: what is annotated in its body are fields, unlike what `__init__` sets."""
    if any(each.callable_path.endswith("dataclass") for each in item.decorators):
        return True
    if any(str(base).rpartition(".")[2] in RECORDS for base in item.bases):
        return True
    return any(isinstance(base, griffe.Class) and _has_fields(base) for base in item.resolved_bases)


def _summary(item: griffe.Object) -> str:
    """The first line of a docstring, for a table's cell."""
    first = item.docstring.value.split("\n\n")[0].replace("\n", " ") if item.docstring else ""
    return first.replace("|", "\\|")
