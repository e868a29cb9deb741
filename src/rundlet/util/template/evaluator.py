"""Running a template over data."""

from __future__ import annotations

from rundlet.util.template import nodes
from rundlet.util.template.errors import ArgumentError, ExecutionError, TemplateError
from rundlet.util.template.functions import FUNCTIONS
from rundlet.util.template.lexer import go_quote
from rundlet.util.template.parser import Parser
from rundlet.util.template.printing import go_string, string_method
from rundlet.util.template.values import (
    MISSING,
    Boxed,
    Map,
    Method,
    Object,
    Pointer,
    indirect,
    is_nil,
    method_of,
    sorted_items,
    truth,
    type_name,
    unboxed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

MAX_CALLS = 500
_NONE = object()


def _last(node: nodes.Node) -> nodes.Node:
    """What Go looked at last within a pipeline: its errors point there."""
    while isinstance(node, nodes.Pipeline):
        node = node.commands[-1].operands[-1]
    return node


def _member(collection: Any, value: Any) -> Any:
    """An element as Go has it: of a map or list of anything it is boxed."""
    kind = getattr(collection, "type", None)
    if kind is None:
        return value if isinstance(value, (Object, Pointer)) else Boxed(value)
    return Boxed(value) if kind.elem.kind == "interface" else value


class _Break(Exception):
    """{{break}} on its way to its range."""


class _Continue(Exception):
    """{{continue}} on its way to its range."""


class Template:
    """A parsed template; may be rendered any number of times."""

    def __init__(self, text: str, functions: Mapping[str, Callable[..., Any]] | None = None, *, name: str = "") -> None:
        """Raises TemplateError when ``text`` is no template.

        ``functions`` take the place of those of the same name. ``name``: the template's, for its errors.
        """
        self.text = text
        self.name = name
        self.functions = dict(FUNCTIONS)
        for key, function in (functions or {}).items():
            self.functions[key] = (function, *FUNCTIONS.get(key, (None, 0, -1))[1:])
        try:
            parser = Parser(text, self.functions)
            self.body = parser.parse()
        except TemplateError as exc:
            raise exc.named(name) from None
        self.definitions = parser.definitions

    def render(self, data: Any, *, strict: bool = False) -> str:
        """The template's output for ``data``. ``strict``: no key of a map may be missing. Raises TemplateError."""
        out: list[str] = []
        self.execute(data, out.append, strict=strict)
        return "".join(out)

    def execute(self, data: Any, write: Callable[[str], object], *, strict: bool = False) -> None:
        """The same, written piece by piece: what comes before an error is written. Raises TemplateError."""
        _Run(self, data, write, 0, strict=strict).list(self.body, data)


def compile_template(
    text: str, functions: Mapping[str, Callable[..., Any]] | None = None, *, name: str = ""
) -> Template:
    """Parse ``text``. Raises TemplateError."""
    return Template(text, functions, name=name)


class _Run:
    """One execution of a body: output and variables (innermost last)."""

    def __init__(
        self, template: Template, data: Any, write: Callable[[str], object], depth: int, *, strict: bool
    ) -> None:
        self._template = template
        self._strict = strict
        self._write = write
        self._depth = depth
        self._variables: list[list[Any]] = [["$", data]]

    def _fail(self, node: nodes.Node, message: str) -> TemplateError:
        name = self._template.name
        said = f"executing {go_quote(name)} at <{node}>: {message}"
        return TemplateError(self._template.text, node.offset, said, executing=True).named(name)

    # Statements

    def list(self, body: Sequence[nodes.Node], dot: Any) -> None:
        for node in body:
            if isinstance(node, nodes.Text):
                self._write(node.text)
            elif isinstance(node, nodes.Action):
                value = self._pipeline(dot, node.pipeline)
                if not node.pipeline.variables:
                    self._write(self._printed(node.pipeline, value))
            elif isinstance(node, nodes.Branch):
                self._branch(dot, node)
            elif isinstance(node, nodes.Call):
                self._call(dot, node)
            elif isinstance(node, nodes.Jump):
                raise _Break if node.kind == "break" else _Continue

    def _printed(self, node: nodes.Node, value: Any) -> str:
        if callable(value):
            raise self._fail(node, "can't print a method; it needs its arguments")
        if value is None:
            return "<no value>"
        return go_string(value if string_method(value) is not None else indirect(value))

    def _branch(self, dot: Any, node: nodes.Branch) -> None:
        scope = len(self._variables)
        try:
            if node.kind == "range":
                self._range(dot, node)
                return
            value = self._pipeline(dot, node.pipeline)
            if truth(value):
                self.list(node.body, value if node.kind == "with" else dot)
            elif node.otherwise is not None:
                self.list(node.otherwise, dot)
        finally:
            del self._variables[scope:]

    def _range(self, dot: Any, node: nodes.Branch) -> None:
        value = self._pipeline(dot, node.pipeline, declare=False)
        names = node.pipeline.variables
        scope = len(self._variables)
        if not node.pipeline.assign:
            self._variables += [[name, None] for name in names]
        empty = True
        for key, member in self._entries(node.pipeline, value):
            empty = False
            bound = (member,) if len(names) == 1 else (key, member)
            for name, content in zip(names, bound, strict=False):
                self._set(name, content)
            inner = len(self._variables)
            try:
                self.list(node.body, member)
            except _Break:
                break
            except _Continue:
                continue
            finally:
                del self._variables[inner:]
        del self._variables[scope:]
        if empty and node.otherwise is not None:
            self.list(node.otherwise, dot)

    def _entries(self, node: nodes.Node, value: Any) -> Iterable[tuple[Any, Any]]:
        value = indirect(value)
        if isinstance(value, dict):
            return [(key, _member(value, member)) for key, member in sorted_items(value)]
        if isinstance(value, (list, tuple)):
            return [(position, _member(value, member)) for position, member in enumerate(value)]
        if value is None or value is MISSING:
            return ()
        if isinstance(value, int) and not isinstance(value, bool):
            return ((number, number) for number in range(value))
        if is_nil(value):
            raise self._fail(_last(node), "range over nil pointer")
        raise self._fail(_last(node), f"range can't iterate over {go_string(value)}")

    def _call(self, dot: Any, node: nodes.Call) -> None:
        body = self._template.definitions.get(node.name)
        if body is None:
            raise self._fail(node, f"template {go_quote(node.name)} not defined")
        if self._depth >= MAX_CALLS:
            raise self._fail(node, f"exceeded maximum template depth ({MAX_CALLS})")
        data = self._pipeline(dot, node.pipeline) if node.pipeline is not None else None
        try:
            _Run(self._template, data, self._write, self._depth + 1, strict=self._strict).list(body, data)
        except RecursionError as exc:
            raise self._fail(node, f"exceeded maximum template depth ({self._depth})") from exc

    # Variables

    def _lookup(self, name: str) -> Any:
        return next(entry[1] for entry in reversed(self._variables) if entry[0] == name)

    def _set(self, name: str, value: Any) -> bool:
        """False when there is no such variable."""
        for entry in reversed(self._variables):
            if entry[0] == name:
                entry[1] = value
                return True
        return False

    # Expressions

    def _pipeline(self, dot: Any, node: nodes.Pipeline, *, declare: bool = True) -> Any:
        value: Any = _NONE
        for command in node.commands:
            value = unboxed(self._command(dot, command, value))
        if declare:
            for name in node.variables:
                if node.assign:
                    if not self._set(name, value):
                        raise self._fail(_last(node), f"undefined variable: {name}")
                else:
                    self._variables.append([name, value])
        return value

    def _command(self, dot: Any, node: nodes.Command, final: Any) -> Any:
        first, *rest = node.operands
        if isinstance(first, nodes.Function):
            return self._function(dot, first, rest, final, node)
        if isinstance(first, (nodes.Field, nodes.Variable, nodes.Chain)):
            arguments = _Arguments(self, dot, rest, final)
            base: Any = dot
            if isinstance(first, nodes.Variable):
                base = self._lookup(first.name)
                if not first.names:
                    return self._without_arguments(first, base, arguments)
            elif isinstance(first, nodes.Chain):
                base = self._operand(dot, first.operand)
            place = _last(first.operand) if isinstance(first, nodes.Chain) else first
            return self._fields(place, base, first.names, arguments)
        if rest or final is not _NONE:
            place = node if isinstance(first, nodes.Pipeline) else first
            raise self._fail(place, f"can't give argument to non-function {first}")
        if isinstance(first, nodes.Literal) and first.value is None:
            raise self._fail(first, "nil is not a command")
        return self._operand(dot, first)

    def _without_arguments(self, node: nodes.Node, value: Any, arguments: _Arguments) -> Any:
        if arguments:
            raise self._fail(node, f"can't give argument to non-function {node}")
        return value

    def _operand(self, dot: Any, node: nodes.Node) -> Any:
        """A value in an argument's place."""
        if isinstance(node, nodes.Dot):
            return unboxed(dot)
        if isinstance(node, nodes.Literal):
            return node.value
        if isinstance(node, nodes.Pipeline):
            return self._pipeline(dot, node)
        if isinstance(node, nodes.Function):
            return self._function(dot, node, [], _NONE, node)
        return unboxed(self._command(dot, nodes.Command(node.offset, [node]), _NONE))

    def _fields(self, node: nodes.Node, value: Any, names: Sequence[str], arguments: _Arguments) -> Any:
        for position, name in enumerate(names):
            last = position == len(names) - 1
            value = self._field(node, value, name, arguments if last else None)
        return value

    def _field(self, node: nodes.Node, value: Any, name: str, arguments: _Arguments | None) -> Any:
        if value is None or value is MISSING:
            if self._strict:
                raise self._fail(node, f"nil data; no entry for key {go_quote(name)}")
            return MISSING
        kind, value = type_name(value), unboxed(value)
        method = method_of(value, name)
        if method is not None:
            return self._apply(node, name, method, [value, *(arguments.values() if arguments is not None else ())])
        receiver = indirect(value)
        if isinstance(receiver, Object):
            return self._struct_field(node, receiver, kind, name, arguments)
        if isinstance(receiver, dict):
            return self._entry(node, receiver, name, arguments)
        if receiver is None or (isinstance(receiver, Pointer) and self._would_have(receiver, name)):
            raise self._fail(node, f"nil pointer evaluating {kind}.{name}")
        raise self._fail(node, f"can't evaluate field {name} in type {kind}")

    def _would_have(self, pointer: Pointer, name: str) -> bool:
        elem = pointer.type.elem
        return elem is not None and (elem.kind != "struct" or elem.has(name))

    def _struct_field(self, node: nodes.Node, value: Object, kind: str, name: str, arguments: _Arguments | None) -> Any:
        found = value.field(name)
        if found is MISSING:
            raise self._fail(node, f"can't evaluate field {name} in type {kind}")
        if isinstance(found, Method):
            return self._method(node, name, found, arguments)
        if arguments:
            raise self._fail(node, f"{name} has arguments but cannot be invoked as function")
        return found

    def _method(self, node: nodes.Node, name: str, method: Method, arguments: _Arguments | None) -> Any:
        given = list(arguments.values()) if arguments is not None else []
        if len(given) != method.parameters:
            message = f"wrong number of args for {name}: want {method.parameters} got {len(given)}"
            raise self._fail(node, message)
        try:
            return self._apply(node, name, method.function, given)
        except ArgumentError as exc:
            raise self._misfit(node, arguments.operands if arguments is not None else (), exc) from exc

    def _entry(self, node: nodes.Node, value: dict[str, Any], name: str, arguments: _Arguments | None) -> Any:
        if arguments:
            raise self._fail(node, f"{name} is not a method but has arguments")
        if isinstance(value, Map) and value.type.key is not None and value.type.key.named:
            raise self._fail(node, f"can't evaluate field {name} in type {type_name(value)}")
        found = value.get(name, MISSING)
        if found is MISSING:
            if self._strict:
                raise self._fail(node, f"map has no entry for key {go_quote(name)}")
            return found
        return _member(value, found)

    def _function(
        self, dot: Any, node: nodes.Function, operands: Sequence[nodes.Node], final: Any, whole: nodes.Node
    ) -> Any:
        function, least, most = self._template.functions[node.name]
        arguments = _Arguments(self, dot, operands, final)
        count = len(operands) + (final is not _NONE)
        if count < least or (most >= 0 and count > most):
            wanted = f"at least {least}" if most < 0 else str(least)
            raise self._fail(node, f"wrong number of args for {node.name}: want {wanted} got {count}")
        if function is None:
            return self._short_circuit(node.name, arguments)
        try:
            return self._apply(whole, node.name, function, list(arguments.values()))
        except ArgumentError as exc:
            raise self._misfit(node, operands, exc) from exc

    def _misfit(self, node: nodes.Node, operands: Sequence[nodes.Node], error: ArgumentError) -> TemplateError:
        """An argument that is not of its parameter's type is pointed at; a piped one has no place of its own."""
        if error.position >= len(operands):
            return self._fail(operands[-1] if operands else node, str(error))
        operand = operands[error.position]
        if not isinstance(operand, nodes.Literal):
            return self._fail(operand, str(error))
        if operand.value is None:
            return self._fail(operand, f"cannot assign nil to {error.wanted}")
        if error.wanted.startswith("["):
            return self._fail(operand, f"can't handle {operand} for arg of type {error.wanted}")
        wanted = "integer" if error.wanted == "int" else error.wanted
        return self._fail(operand, f"expected {wanted}; found {operand}")

    def _short_circuit(self, name: str, arguments: _Arguments) -> Any:
        """``and`` and ``or`` evaluate no more than they must."""
        value: Any = None
        for value in arguments.values():
            if truth(value) == (name == "or"):
                break
        return value

    def _apply(self, node: nodes.Node, name: str, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
        if name == "call" and not callable(arguments[0]) and arguments[0] is not None and arguments[0] is not MISSING:
            called = node.operands[1] if isinstance(node, nodes.Command) and len(node.operands) > 1 else node
            message = f"error calling call: non-function {called} of type {type_name(arguments[0])}"
            raise self._fail(node, message)
        try:
            return function(*arguments)
        except ArgumentError:
            raise
        except ExecutionError as exc:
            raise self._fail(node, str(exc)) from exc
        except TypeError as exc:
            raise self._fail(node, f"wrong arguments for {name}") from exc


class _Arguments:
    """A command's arguments, evaluated when asked for; the value piped in comes last."""

    def __init__(self, run: _Run, dot: Any, operands: Sequence[nodes.Node], final: Any) -> None:
        self._run = run
        self._dot = dot
        self.operands = operands
        self._final = final

    def __bool__(self) -> bool:
        return bool(self.operands) or self._final is not _NONE

    def values(self) -> Iterator[Any]:
        for node in self.operands:
            yield self._run._operand(self._dot, node)
        if self._final is not _NONE:
            yield self._final
