"""What log options add to messages: labels, variables, and the tag, a Go template."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rundlet.errors import InvalidParameterError
from rundlet.util import regular

_SHORT: Final = 12
_TEMPLATE_NAME: Final = "log-tag"
_NO_FIELD: Final = re.compile(r'map has no entry for key "(\w+)"')


@dataclass(frozen=True, slots=True)
class Subject:
    """What of a container a tag and attributes may tell. ``image_id`` is a digest as text."""

    id: str
    name: str
    image: str
    image_id: str
    command: tuple[str, ...]
    env: tuple[str, ...]
    labels: Mapping[str, str]
    host: str
    created: str


def attributes(subject: Subject, options: Mapping[str, str]) -> dict[str, str]:
    """Raises InvalidParameterError for an expression that is none."""
    env = dict(entry.partition("=")[::2] for entry in subject.env)
    found: dict[str, str] = {}
    for values, key in ((subject.labels, "labels"), (env, "env")):
        names = [name.strip() for name in options.get(key, "").split(",")]
        found |= {name: values[name] for name in names if name in values}
        pattern = options.get(f"{key}-regex", "")
        if pattern:
            expression = _compile(pattern)
            found |= {name: value for name, value in values.items() if expression.search(name)}
    return found


def tag(subject: Subject, template: str) -> str:
    """Raises InvalidParameterError for a template that is none."""
    # Hardly any container has a tag: an engine that is started does not wait for a parser of templates.
    from rundlet.util.template import TemplateError, compile_template

    try:
        compiled = compile_template(template)
    except TemplateError as error:
        raise InvalidParameterError(f"template: {_TEMPLATE_NAME}:{error.line}: {error.message}") from None
    try:
        return compiled.render(_data(subject), strict=True)
    except TemplateError as error:
        text = error.message.replace('executing ""', f'executing "{_TEMPLATE_NAME}"')
        text = _NO_FIELD.sub(r"can't evaluate field \1 in type *logger.Info", text)
        raise InvalidParameterError(f"template: {_TEMPLATE_NAME}:{error.line}:{error.column}: {text}") from None


def _data(subject: Subject) -> dict[str, Any]:
    """Docker's ``logger.Info``: its fields and its methods."""
    image = subject.image_id.partition(":")[2]
    entry, *arguments = subject.command or ("",)
    return {
        "ID": subject.id[:_SHORT],
        "FullID": subject.id,
        "Name": subject.name,
        "ImageID": image[:_SHORT],
        "ImageFullID": subject.image_id,
        "ImageName": subject.image,
        "Command": " ".join(subject.command),
        "Hostname": subject.host,
        "DaemonName": "docker",
        "ContainerID": subject.id,
        "ContainerName": f"/{subject.name}",
        "ContainerEntrypoint": entry,
        "ContainerArgs": arguments,
        "ContainerImageID": subject.image_id,
        "ContainerImageName": subject.image,
        "ContainerCreated": subject.created,
        "ContainerEnv": list(subject.env),
        "ContainerLabels": dict(subject.labels),
    }


def _compile(pattern: str) -> regular.Expression:
    try:
        return regular.expression(pattern)
    except regular.PatternError as error:
        raise InvalidParameterError(f"error parsing regexp: {error}") from None
