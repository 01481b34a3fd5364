"""A rule's YAML as nodes that know their line and column.

In: text, however hostile. Out: a `Node` a document, or a `RuleError` at the exact spot. Never: an alias followed, a tag
obeyed, more than `LIMIT_BYTES` read, or nesting deeper than `LIMIT_DEPTH`.

YAML 1.1 as PyYAML reads it (yaml.org/spec/1.1), since that is what Sigma's own tools use: there ``NO`` is a boolean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from egress_watch.errors import RuleError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import yaml

LIMIT_BYTES = 256 * 1024
LIMIT_DOCUMENTS = 50
"""Documents of one file: a rule, the correlations over it, and their filters."""
LIMIT_DEPTH = 12
"""A Sigma rule needs five levels: rule, detection, search, item, list of values."""

TRUE_WORDS = ("true", "yes", "on")


@dataclass(frozen=True, slots=True)
class Node:
    """A piece of the document. Lines and columns are 1-based."""

    kind: str
    """map, list, or for a scalar the end of its YAML tag: str int float bool null timestamp ..."""
    line: int
    column: int
    text: str = ""
    """A scalar as written, quotes taken off."""
    plain: bool = False
    """Written without quotes and not as a block."""
    items: tuple[Node, ...] = ()
    pairs: tuple[tuple[Node, Node], ...] = ()

    def get(self, key: str) -> Node | None:
        """Return the value under ``key``, None where there is none (or this is no map)."""
        return next((value for name, value in self.pairs if name.text == key), None)

    def values(self) -> tuple[Node, ...]:
        """Return the items of a list, or this one scalar as a list."""
        return self.items if self.kind == "list" else (self,)


class Finding(NamedTuple):
    """Something wrong with a rule, and where."""

    what: str
    line: int
    column: int
    remedy: str = ""

    def error(self, origin: str) -> RuleError:
        """Return the finding as an exception that names the rule's origin."""
        return RuleError(self.what, where=origin, remedy=self.remedy, line=self.line, column=self.column)


def at(node: Node, what: str, remedy: str = "") -> Finding:
    """Return a finding at a node."""
    return Finding(what, node.line, node.column, remedy)


def shown(text: str) -> str:
    """Return a piece of a rule as it may stand in a message: quoted, escaped, short."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and everything below it."""
    yield node
    for child in (*node.items, *(part for pair in node.pairs for part in pair)):
        yield from walk(child)


def python(node: Node) -> Any:
    """Return a node as the plain Python value that pySigma expects; map keys are always text."""
    if node.kind == "map":
        return {key.text: python(value) for key, value in node.pairs}
    if node.kind == "list":
        return [python(item) for item in node.items]
    if node.kind == "null":
        return None
    if node.kind == "bool":
        return node.text.lower() in TRUE_WORDS
    return int(node.text) if node.kind == "int" and node.text.lstrip("-").isdecimal() else node.text


def read(text: str, origin: str) -> tuple[Node, ...]:
    """Return the documents of ``text``, one or more; raises RuleError where it is broken, too large, or too many."""
    # A character is at least one byte, so the short test spares encoding what is far too long.
    if len(text) > LIMIT_BYTES or len(text.encode("utf-8", "surrogatepass")) > LIMIT_BYTES:
        what = f"the rule is larger than {LIMIT_BYTES // 1024} KiB"
        raise RuleError(what, where=origin, line=1, column=1, remedy="split it, or put long lists in a set")
    import yaml

    try:
        return _documents(_loader(text, origin), origin)
    except yaml.MarkedYAMLError as error:
        raise _broken(error, origin) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        what = f"YAML allows no character U+{ord(text[error.position]):04X}"
        raise RuleError(what, where=origin, line=line, column=column, remedy="delete it") from None


def _documents(loader: Any, origin: str) -> tuple[Node, ...]:
    """Return the documents behind a loader; an empty one, as behind a last ``---``, is none."""
    found: list[Node] = []
    while loader.check_node():
        mark = loader.peek_event().start_mark
        if len(found) == LIMIT_DOCUMENTS:
            what = f"more than {LIMIT_DOCUMENTS} documents in one file"
            raise RuleError(what, where=origin, line=mark.line + 1, column=1, remedy="give each rule its own file")
        found += [node for node in [_node(loader.get_node())] if node.kind != "null"]
    if not found:
        raise RuleError("there is no rule here", where=origin, line=1, column=1, remedy="start from a shipped rule")
    return tuple(found)


def _loader(text: str, origin: str) -> Any:
    """Return a YAML loader that composes nodes only, and stops at the first alias, anchor, tag or deep nesting."""
    import yaml

    class Strict(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave the parser untyped
            if trouble := _refused(event, self.depth):
                mark, (what, remedy) = event.start_mark, trouble
                raise RuleError(what, where=origin, line=mark.line + 1, column=mark.column + 1, remedy=remedy)
            self.depth += 1
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

    return Strict(text)


def _refused(event: Any, depth: int) -> tuple[str, str] | None:
    """Return what is wrong with a YAML event, and the remedy; None where all is well."""
    import yaml

    if isinstance(event, yaml.AliasEvent) or event.anchor:
        # "Billion laughs": a few aliases of aliases unfold to gigabytes.
        return (
            "YAML anchors and aliases (& and *) are refused",
            "write it out, or quote a value that begins with & or *",
        )
    if event.tag:
        return "YAML tags (!) are refused", "leave the tag out, or quote a value that begins with !"
    if depth >= LIMIT_DEPTH:
        return f"nested deeper than {LIMIT_DEPTH} levels", "a rule needs five"
    return None


def _broken(error: yaml.MarkedYAMLError, origin: str) -> RuleError:
    """Return PyYAML's complaint in the house's form."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    begun = f" from line {error.context_mark.line + 1}" if error.context and error.context_mark else ""
    what = "broken YAML: " + ", ".join(part for part in (f"{error.context or ''}{begun}", error.problem) if part)
    remedy = "check the indentation (spaces, never tabs) and the quotes"
    return RuleError(what, where=origin, line=line, column=column, remedy=remedy)


def _node(node: Any) -> Node:
    """Return a PyYAML node as ours; the depth is bounded by the loader."""
    import yaml

    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    if isinstance(node, yaml.MappingNode):
        return Node("map", line, column, pairs=tuple((_node(key), _node(value)) for key, value in node.value))
    if isinstance(node, yaml.SequenceNode):
        return Node("list", line, column, items=tuple(_node(item) for item in node.value))
    return Node(node.tag.rpartition(":")[2], line, column, text=node.value, plain=node.style is None)
