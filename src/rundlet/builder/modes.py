"""``--chmod``: octal."""

from rundlet.builder.dockerfile.errors import DockerfileError


def chmod_number(text: str) -> int:
    """The mode that ``text`` says. Raises DockerfileError."""
    if text.isascii() and text.isdigit() and not set(text) & {"8", "9"} and int(text, 8) <= 0o7777:
        return int(text, 8)
    raise DockerfileError(f'invalid chmod parameter: "{text}". it should be octal string and between 0 and 07777')
