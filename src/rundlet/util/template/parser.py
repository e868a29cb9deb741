"""Tokens to a syntax tree, by recursive descent.

Grammar: ``pipeline = [ variable {"," variable} (":=" | "=") ] command {"|" command}``; ``command = operand {operand}``;
``operand = term {field}``; ``term = literal | function | "." | field | variable | "(" pipeline ")"``.
"""

from __future__ import annotations

from rundlet.util.template import lexer, nodes
from rundlet.util.template.errors import TemplateError, line_and_column

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

MAX_DEPTH = 200
_OPERANDS = (lexer.FIELD, lexer.VARIABLE, lexer.STRING, lexer.NUMBER, lexer.CHARACTER, lexer.IDENTIFIER)


class Parser:
    """One template's text; ``definitions`` collects what ``define`` and ``block`` name."""

    def __init__(self, text: str, functions: Collection[str]) -> None:
        self.text = text
        self.functions = functions
        self.definitions: dict[str, list[nodes.Node]] = {}
        self._tokens = list(lexer.tokens(text))
        self._position = 0
        self._variables = ["$"]
        self._ranges = 0
        self._depth = 0
        self._action = -1  # where the action that is being read begins

    # Tokens

    def _peek(self) -> lexer.Token:
        return self._tokens[self._position]

    def _next(self) -> lexer.Token:
        token = self._tokens[self._position]
        if token.kind == lexer.ERROR:
            raise self._unexpected(token, "")
        if token.kind == lexer.LEFT:
            self._action = token.offset
        elif token.kind == lexer.RIGHT:
            self._action = -1
        self._position += 1
        return token

    def _skip_space(self) -> lexer.Token:
        while self._peek().kind == lexer.SPACE:
            self._position += 1
        return self._peek()

    def _is(self, token: lexer.Token, mark: str) -> bool:
        return token.kind == lexer.PUNCTUATION and token.value == mark

    def _error(self, offset: int, message: str) -> TemplateError:
        return TemplateError(self.text, offset, message)

    def _unexpected(self, token: lexer.Token, where: str) -> TemplateError:
        if token.error is not None:
            line = line_and_column(self.text, self._action)[0] if self._action >= 0 else token.error.line
            return token.error.in_action(line)
        if token.kind == lexer.END:
            return self._error(token.offset, "unexpected EOF")
        word = token.kind == lexer.KEYWORD or self._is(token, ".")
        shown = f"<{token.value}>" if word else lexer.go_quote(token.source[:10])
        if len(token.source) > 10 and not word:
            shown += "..."
        if token.kind == lexer.RIGHT:
            shown = '"}}"'
        elif token.kind == lexer.KEYWORD:
            shown = f"{{{{{token.value}}}}}" if where == "input" and token.value in ("else", "end") else shown
        return self._error(token.offset, f"unexpected {shown} in {where}")

    def _close(self, where: str) -> None:
        token = self._skip_space()
        if token.kind != lexer.RIGHT:
            raise self._unexpected(token, where)
        self._next()

    # Statements

    def parse(self) -> list[nodes.Node]:
        """The template's own body. Raises TemplateError."""
        body, end = self._list(top=True)
        if end:
            raise self._error(self._tokens[self._position - 1].offset, f"unexpected {{{{{end}}}}}")
        return body

    def _list(self, *, top: bool = False) -> tuple[list[nodes.Node], str]:
        """Nodes up to an ``end`` or ``else`` (which is returned, its word read), or the end of the text."""
        out: list[nodes.Node] = []
        while True:
            token = self._next()
            if token.kind == lexer.END:
                if not top:
                    raise self._error(token.offset, "unexpected EOF")
                return out, ""
            if token.kind == lexer.TEXT:
                out.append(nodes.Text(token.offset, token.value))
                continue
            word = self._skip_space()
            if word.kind == lexer.KEYWORD and word.value in ("end", "else"):
                self._next()
                return out, word.value
            node = self._statement(word, top=top)
            if node is not None:
                out.append(node)

    def _statement(self, word: lexer.Token, *, top: bool) -> nodes.Node | None:
        if word.kind != lexer.KEYWORD or word.value == "nil":
            # The variables of an action live on behind it: {{$x := 1}}…{{$x}}.
            pipeline = self._pipeline("command")
            self._close("command")
            return nodes.Action(word.offset, pipeline)
        self._next()
        if word.value in ("if", "range", "with"):
            return self._branch(word)
        if word.value in ("break", "continue"):
            if not self._ranges:
                raise self._error(word.offset, f"{{{{{word.value}}}}} outside {{{{range}}}}")
            self._close(word.value)
            return nodes.Jump(word.offset, word.value)
        if word.value == "template":
            return self._call(word)
        if word.value == "define" and not top:
            raise self._unexpected(word, "command")
        return self._definition(word)

    def _enter(self, offset: int) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(offset, "template is nested too deeply")

    def _branch(self, word: lexer.Token) -> nodes.Branch:
        self._enter(word.offset)
        kind = word.value
        scope = len(self._variables)
        pipeline = self._pipeline(kind)
        if kind != "range" and len(pipeline.variables) > 1:
            raise self._error(pipeline.offset, f"too many declarations in {kind}")
        self._close(kind)
        self._ranges += kind == "range"
        body, end = self._list()
        self._ranges -= kind == "range"
        otherwise: list[nodes.Node] | None = None
        if end == "else":
            otherwise = self._otherwise(kind)
        else:
            self._close("end")
        del self._variables[scope:]
        self._depth -= 1
        return nodes.Branch(word.offset, kind, pipeline, body, otherwise)

    def _otherwise(self, kind: str) -> list[nodes.Node]:
        """Behind ``else``: the other body, or ``else if`` and ``else with`` as a branch that shares the ``end``."""
        word = self._skip_space()
        if word.kind == lexer.KEYWORD and word.value == kind and kind in ("if", "with"):
            self._next()
            return [self._branch(word)]
        if word.kind != lexer.RIGHT:
            raise self._unexpected(word, "input" if word.value in ("if", "with") else "else")
        self._next()
        scope = len(self._variables)
        body, end = self._list()
        if end == "else":
            raise self._error(self._tokens[self._position - 1].offset, "expected end; found {{else}}")
        self._close("end")
        del self._variables[scope:]
        return body

    def _name(self, where: str) -> str:
        token = self._skip_space()
        if token.kind != lexer.STRING:
            raise self._unexpected(token, where)
        self._next()
        return token.value

    def _call(self, word: lexer.Token) -> nodes.Call:
        place = self._skip_space().offset
        name = self._name("template clause")
        pipeline = None
        if self._skip_space().kind != lexer.RIGHT:
            pipeline = self._pipeline("template clause")
        self._close("template clause")
        return nodes.Call(place, name, pipeline)

    def _definition(self, word: lexer.Token) -> nodes.Node | None:
        """``define`` (nothing where it stands) or ``block`` (a definition and a call)."""
        self._enter(word.offset)
        name = self._name(f"{word.value} clause")
        pipeline = self._pipeline("block clause") if word.value == "block" else None
        self._close(f"{word.value} clause")
        outer, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        body, end = self._list()
        if end == "else":
            raise self._error(
                self._tokens[self._position - 1].offset, f"unexpected {{{{else}}}} in {word.value} clause"
            )
        self._close("end")
        self._variables, self._ranges = outer, ranges
        self._depth -= 1
        if nodes.says_something(body) or name not in self.definitions:
            if nodes.says_something(self.definitions.get(name, ())):
                place = self._tokens[self._position - 1].offset
                raise self._error(place, f"template: multiple definition of template {lexer.go_quote(name)}")
            self.definitions[name] = body
        return nodes.Call(word.offset, name, pipeline) if word.value == "block" else None

    # Expressions

    def _pipeline(self, where: str) -> nodes.Pipeline:
        token = self._skip_space()
        self._enter(token.offset)
        variables, assign = self._declarations(where)
        commands: list[nodes.Command] = []
        while True:
            first = self._skip_space()
            if first.kind == lexer.RIGHT or self._is(first, ")"):
                if commands:
                    break  # Go lets a last bar stand.
                raise self._error(first.offset, f"missing value for {where}")
            if first.kind not in _OPERANDS and first.value not in ("(", ".", "nil"):
                raise self._unexpected(first, where)
            commands.append(self._command(where))
            if commands[1:] and not isinstance(
                commands[-1].operands[0], (nodes.Function, nodes.Field, nodes.Variable, nodes.Chain)
            ):
                operand = commands[-1].operands[0]
                raise self._error(operand.offset, f"non executable command in pipeline stage {len(commands)}")
            if not self._is(self._skip_space(), "|"):
                break
            self._next()
        if not assign:
            # Only now: {{$x := $x}} reads the outer one.
            self._variables += variables
        self._depth -= 1
        return nodes.Pipeline(token.offset, variables, commands, assign=assign)

    def _declarations(self, where: str) -> tuple[list[str], bool]:
        """Variables before ``:=`` or ``=``, and whether that is an assignment."""
        names: list[str] = []
        while self._skip_space().kind == lexer.VARIABLE:
            start = self._position
            name = self._next().value
            mark = self._skip_space()
            if self._is(mark, ":=") or self._is(mark, "="):
                self._next()
                return [*names, name], mark.value == "="
            if not self._is(mark, ","):
                self._position = start
                break
            self._next()
            names.append(name)
            if where != "range" or len(names) > 1:
                raise self._error(mark.offset, f"too many declarations in {where}")
            other = self._skip_space()
            if other.kind not in (lexer.VARIABLE, lexer.RIGHT) and not self._is(other, ")"):
                raise self._error(other.offset, "range can only initialize variables")
        return names, False

    def _known(self, name: str, offset: int) -> None:
        if name not in self._variables:
            raise self._error(offset, f"undefined variable {lexer.go_quote(name)}")

    def _command(self, where: str) -> nodes.Command:
        start = self._skip_space()
        operands: list[nodes.Node] = []
        while True:
            token = self._skip_space()
            if token.kind == lexer.RIGHT or self._is(token, "|") or self._is(token, ")"):
                break
            if operands and self._tokens[self._position - 1].kind != lexer.SPACE:
                raise self._unexpected(token, "operand")
            operands.append(self._operand())
        if not operands:
            raise self._error(start.offset, "empty command")
        return nodes.Command(start.offset, operands)

    def _operand(self) -> nodes.Node:
        start = self._peek()
        node = self._term()
        names: list[str] = []
        second = self._peek().offset
        while self._peek().kind == lexer.FIELD:
            names.append(self._next().value)
        if not names:
            return node
        if isinstance(node, (nodes.Field, nodes.Variable)):
            node.names += names
            # Go's errors point at the second field of a chain.
            node.offset = second
            return node
        if isinstance(node, (nodes.Literal, nodes.Dot)):
            raise self._error(start.offset, f"unexpected . after term {lexer.go_quote(str(node))}")
        return nodes.Chain(start.offset, node, names)

    def _term(self) -> nodes.Node:
        token = self._next()
        value = token.value
        if token.kind == lexer.FIELD:
            return nodes.Field(token.offset, [value])
        if token.kind == lexer.VARIABLE:
            self._known(value, token.offset)
            return nodes.Variable(token.offset, value, [])
        if token.kind == lexer.STRING:
            return nodes.Literal(token.offset, value, token.source)
        if token.kind == lexer.NUMBER:
            number = lexer.parse_number(value)
            if number is None:
                problem = "integer overflow" if value.lstrip("+-").isdigit() else "illegal number syntax"
                raise self._error(token.offset, f"{problem}: {lexer.go_quote(value)}")
            return nodes.Literal(token.offset, number, value)
        if token.kind == lexer.CHARACTER:
            return nodes.Literal(token.offset, ord(value), token.source)
        if token.kind == lexer.KEYWORD and value == "nil":
            return nodes.Literal(token.offset, None, "nil")
        if token.kind == lexer.IDENTIFIER:
            return self._word(token)
        if self._is(token, "."):
            return nodes.Dot(token.offset)
        if self._is(token, "("):
            inner = self._pipeline("parenthesized pipeline")
            closing = self._skip_space()
            if not self._is(closing, ")"):
                raise self._unexpected(closing, "parenthesized pipeline")
            self._next()
            return inner
        raise self._unexpected(token, "operand")

    def _word(self, token: lexer.Token) -> nodes.Node:
        if token.value in ("true", "false"):
            return nodes.Literal(token.offset, token.value == "true", token.value)
        if token.value not in self.functions:
            raise self._error(token.offset, f"function {lexer.go_quote(token.value)} not defined")
        return nodes.Function(token.offset, token.value)
