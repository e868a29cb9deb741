"""Go types of data that came as JSON: what fields a struct has, in which order, and what they are called.

A schema is text, read type by type when one is asked for. A type's line has its name and what it is made of::

    nat.PortMap map[nat.Port][]nat.PortBinding
    container.State struct
      Pid int
      ID string Id            (called otherwise in JSON)
      Health *container.Health ?      (left out of JSON when empty)
      Memory int64 memory?            (both)
      UserName string -               (never in JSON)
      +*container.Base                (embedded)
      Metadata any(command.Data)      (an interface with a value of this type)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

BASIC = {
    "bool": "bool",
    "string": "string",
    "float64": "float",
    **dict.fromkeys(("int", "int8", "int16", "int32", "int64"), "int"),
    **dict.fromkeys(("uint", "uint8", "uint16", "uint32", "uint64"), "uint"),
}


class Type:
    """``kind`` is bool, int, uint, float, string, slice, array, map, pointer, struct, interface or time.

    ``name`` is how Go writes the type; ``methods`` are called with the value first; ``text`` is its String method.
    ``sorted``: a struct whose JSON has its fields in alphabetical order.
    """

    __slots__ = ("_fields", "elem", "fields_of", "key", "kind", "length", "methods", "name", "named", "sorted", "text")

    def __init__(
        self, kind: str, name: str, *, elem: Type | None = None, key: Type | None = None, length: int = 0
    ) -> None:
        self.kind = kind
        self.name = name
        self.elem = elem
        self.key = key
        self.length = length
        self.named = False
        self.sorted = False
        self.fields_of: Callable[[], list[FieldType]] | None = None
        self._fields: list[FieldType] | None = None
        self.methods: Mapping[str, Callable[..., Any]] = {}
        self.text: Callable[[Any], str] | None = None

    @property
    def fields(self) -> list[FieldType]:
        """Of a struct, in order."""
        if self._fields is None:
            self._fields = self.fields_of() if self.fields_of is not None else []
        return self._fields

    def has(self, name: str) -> bool:
        """Whether a struct, or one that it embeds, has the field."""
        return any(field.name == name or (field.embedded and field.struct.has(name)) for field in self.fields)


class FieldType:
    """One field of a struct; ``key`` is its name in JSON, empty when it has none."""

    __slots__ = ("embedded", "key", "name", "omit_empty", "type")

    def __init__(self, name: str, kind: Type, key: str, *, omit_empty: bool, embedded: bool) -> None:
        self.name = name
        self.type = kind
        self.key = key
        self.omit_empty = omit_empty
        self.embedded = embedded

    @property
    def struct(self) -> Type:
        """Of an embedded field: the struct, also behind a pointer."""
        return self.type.elem if self.type.kind == "pointer" and self.type.elem is not None else self.type


class Schema:
    """The types that a text describes."""

    def __init__(
        self,
        *texts: str,
        methods: Mapping[str, Mapping[str, Callable[..., Any]]] | None = None,
        texts_of: Mapping[str, Callable[[Any], str]] | None = None,
    ) -> None:
        """``methods``: of the types of these names; ``texts_of``: their String methods."""
        self._methods = methods or {}
        self._texts_of = texts_of or {}
        self._blocks: dict[str, tuple[str, list[str]]] = {}
        self._types: dict[str, Type] = {}
        for text in texts:
            lines: list[str] = []
            for line in text.splitlines():
                if line.startswith(" "):
                    lines.append(line)
                elif line:
                    name, _, made_of = line.partition(" ")
                    lines = []
                    self._blocks[name] = (made_of, lines)

    def type(self, text: str) -> Type:
        """The type that Go writes as ``text``. Raises KeyError when the schema does not have it."""
        found = self._types.get(text)
        if found is None:
            found = self._types[text] = self._made(text)
            found.methods = self._methods.get(text.lstrip("*"), {})
            found.text = self._texts_of.get(text)
        return found

    def _made(self, text: str) -> Type:
        if text in BASIC:
            return Type(BASIC[text], text)
        if text == "any" or text.startswith("any("):
            inside = text[4:-1]
            return Type("interface", "interface {}", elem=self.type(inside) if inside else None)
        if text == "struct{}":
            return Type("struct", "struct {}")
        if text == "time.Time":
            return Type("time", text)
        if text[0] == "*":
            elem = self.type(text[1:])
            return Type("pointer", f"*{elem.name}", elem=elem)
        if text[0] == "[":
            size, _, rest = text[1:].partition("]")
            elem = self.type(rest)
            return Type("array" if size else "slice", f"[{size}]{elem.name}", elem=elem, length=int(size or 0))
        if text.startswith("map["):
            key_text, _, rest = text[4:].partition("]")
            key, elem = self.type(key_text), self.type(rest)
            return Type("map", f"map[{key.name}]{elem.name}", elem=elem, key=key)
        return self._named(text)

    def _named(self, text: str) -> Type:
        made_of, lines = self._blocks[text]
        if made_of.startswith("struct"):
            named = Type("struct", made_of if " {" in made_of else text)
            named.sorted = made_of == "struct sorted"
            named.fields_of = lambda: [self._field(line.split()) for line in lines]
        else:
            under = self.type(made_of)
            named = Type(under.kind, text, elem=under.elem, key=under.key, length=under.length)
        named.named = True
        return named

    def _field(self, words: list[str]) -> FieldType:
        if words[0].startswith("+"):
            kind = self.type(words[0][1:])
            return FieldType(kind.name.rpartition(".")[2], kind, "", omit_empty=False, embedded=True)
        name, kind_text, key = (*words, "")[:3]
        given = key.removesuffix("?")
        shown = "" if given == "-" else given or name
        return FieldType(name, self.type(kind_text), shown, omit_empty=key.endswith("?"), embedded=False)
