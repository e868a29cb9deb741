"""A Dockerfile's text to its instructions: the one entry to this package."""

from rundlet.builder.dockerfile.ast import Arg, Dockerfile, Instruction, Position, Stage, Warning_
from rundlet.builder.dockerfile.errors import DockerfileError, DockerfileSyntaxError, InstructionError
from rundlet.builder.dockerfile.instructions import From, read_line
from rundlet.builder.dockerfile.lines import Line, Reader


def parse(text: bytes) -> Dockerfile:
    """Read a whole file. Bytes that are no UTF-8 become replacement characters.

    Raises DockerfileError: DockerfileSyntaxError where the text doesn't fall into instructions, InstructionError where
    one makes no sense.
    """
    source = text.decode("utf-8", "replace")
    reader = Reader(source)
    # Docker looks at the whole text before it looks at what instructions mean: its first complaint is about the former.
    lines = list(reader.lines())
    global_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for line in lines:
        found = _read(line)
        reader.warnings += _descriptions(line, found)
        if isinstance(found, From):
            stages.append((found, []))
        elif stages:
            stages[-1][1].append(found)
        elif isinstance(found, Arg):
            global_args.append(found)
        else:
            raise DockerfileError("no build stage in current context", line.position.line, line.position.end)
    if not stages:
        raise DockerfileError("dockerfile contains no stages to build")
    return Dockerfile(
        tuple(_stage(index, found, body) for index, (found, body) in enumerate(stages)),
        tuple(global_args),
        reader.directives,
        source,
        tuple(reader.warnings),
    )


def parse_instruction(text: str, escape: str = "\\") -> Instruction:
    """One instruction on its own: an ONBUILD trigger, a ``--change``. Raises DockerfileError."""
    reader = Reader(f"# escape={escape}\n{text}")
    lines = list(reader.lines())
    if len(lines) != 1:
        raise DockerfileSyntaxError("one instruction expected")
    found = _read(lines[0])
    if isinstance(found, From):
        raise InstructionError("FROM isn't allowed as an ONBUILD trigger")
    return found


def _descriptions(line: Line, found: From | Instruction) -> list[Warning_]:
    """Of a comment right above a stage or an argument: a description begins with the name."""
    names = [found.name] if isinstance(found, From) else []
    if isinstance(found, Arg):
        names = [variable.name for variable in found.variables]
    if not line.comments or not any(names) or line.comments[-1].split(" ")[0] in names:
        return []
    keyword = "FROM" if isinstance(found, From) else "ARG"
    name = names[0] if len(names) == 1 else "<arg_key>"
    text = f"Comment for {keyword} should follow the format: `# {name} <description>`"
    return [Warning_("InvalidDefinitionDescription", text, line.position)]


def _read(line: Line) -> From | Instruction:
    try:
        return read_line(line)
    except DockerfileError as exc:
        kind = type(exc) if isinstance(exc, InstructionError) else InstructionError
        if isinstance(exc, DockerfileSyntaxError):
            kind = DockerfileSyntaxError  # type: ignore[assignment]
        raise kind(exc.why, line.position.line, line.position.end) from None


def _stage(index: int, found: From, body: list[Instruction]) -> Stage:
    end = body[-1].position.end if body else found.position.end
    return Stage(
        index,
        found.base,
        found.code,
        found.position,
        found.name,
        found.platform,
        found.comment,
        tuple(body),
        Position(found.position.line, end),
    )
