"""The syntax tree. ``str(node)`` is the node as Go writes it in its error messages."""

from __future__ import annotations

from rundlet.util.template.lexer import go_quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Node:
    """Anything in the tree; ``offset`` is where it begins in the text."""

    __slots__ = ("offset",)

    def __init__(self, offset: int) -> None:
        self.offset = offset


class Text(Node):
    __slots__ = ("text",)

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(offset)
        self.text = text


class Dot(Node):
    __slots__ = ()

    def __str__(self) -> str:
        return "."


class Literal(Node):
    """A string, number, boolean or character constant, or nil."""

    __slots__ = ("source", "value")

    def __init__(self, offset: int, value: str | float | bool | None, source: str) -> None:
        super().__init__(offset)
        self.value = value
        self.source = source

    def __str__(self) -> str:
        return self.source


class Field(Node):
    """``.A.B``, from dot."""

    __slots__ = ("names",)

    def __init__(self, offset: int, names: Sequence[str]) -> None:
        super().__init__(offset)
        self.names = list(names)

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(Node):
    """``$x.A.B``; ``name`` includes the dollar sign."""

    __slots__ = ("name", "names")

    def __init__(self, offset: int, name: str, names: Sequence[str]) -> None:
        super().__init__(offset)
        self.name = name
        self.names = list(names)

    def __str__(self) -> str:
        return self.name + "".join(f".{name}" for name in self.names)


class Function(Node):
    """An identifier: the name of a function."""

    __slots__ = ("name",)

    def __init__(self, offset: int, name: str) -> None:
        super().__init__(offset)
        self.name = name

    def __str__(self) -> str:
        return self.name


class Chain(Node):
    """``(pipeline).A.B``."""

    __slots__ = ("names", "operand")

    def __init__(self, offset: int, operand: Node, names: Sequence[str]) -> None:
        super().__init__(offset)
        self.operand = operand
        self.names = list(names)

    def __str__(self) -> str:
        inner = f"({self.operand})" if isinstance(self.operand, Pipeline) else str(self.operand)
        return inner + "".join(f".{name}" for name in self.names)


class Command(Node):
    """Operands side by side: a value, or a function and its arguments."""

    __slots__ = ("operands",)

    def __init__(self, offset: int, operands: Sequence[Node]) -> None:
        super().__init__(offset)
        self.operands = list(operands)

    def __str__(self) -> str:
        return " ".join(f"({node})" if isinstance(node, Pipeline) else str(node) for node in self.operands)


class Pipeline(Node):
    """Commands joined by ``|``; ``variables`` are what it declares or, with ``assign``, sets."""

    __slots__ = ("assign", "commands", "variables")

    def __init__(self, offset: int, variables: Sequence[str], commands: Sequence[Command], *, assign: bool) -> None:
        super().__init__(offset)
        self.variables = list(variables)
        self.commands = list(commands)
        self.assign = assign

    def __str__(self) -> str:
        head = ""
        if self.variables:
            head = ", ".join(self.variables) + (" = " if self.assign else " := ")
        return head + " | ".join(str(command) for command in self.commands)


class Action(Node):
    """``{{pipeline}}``."""

    __slots__ = ("pipeline",)

    def __init__(self, offset: int, pipeline: Pipeline) -> None:
        super().__init__(offset)
        self.pipeline = pipeline


class Branch(Node):
    """``if``, ``range`` or ``with``: ``kind`` says which."""

    __slots__ = ("body", "kind", "otherwise", "pipeline")

    def __init__(
        self, offset: int, kind: str, pipeline: Pipeline, body: list[Node], otherwise: list[Node] | None
    ) -> None:
        super().__init__(offset)
        self.kind = kind
        self.pipeline = pipeline
        self.body = body
        self.otherwise = otherwise


class Jump(Node):
    """``break`` or ``continue``."""

    __slots__ = ("kind",)

    def __init__(self, offset: int, kind: str) -> None:
        super().__init__(offset)
        self.kind = kind


class Call(Node):
    """``{{template "name" pipeline}}``."""

    __slots__ = ("name", "pipeline")

    def __init__(self, offset: int, name: str, pipeline: Pipeline | None) -> None:
        super().__init__(offset)
        self.name = name
        self.pipeline = pipeline

    def __str__(self) -> str:
        tail = f" {self.pipeline}" if self.pipeline else ""
        return f"{{{{template {go_quote(self.name)}{tail}}}}}"


def says_something(body: Iterable[Node]) -> bool:
    """Whether a definition is more than blanks and definitions: only then it stands against another of its name."""
    return any(not isinstance(node, Text) or node.text.strip() for node in body)
