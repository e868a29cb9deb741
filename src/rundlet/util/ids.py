"""Identifiers as Docker makes them: 32 random bytes in lower-case hexadecimal."""

import secrets

ID_LENGTH = 64
SHORT_LENGTH = 12


def new_id() -> str:
    """A new 64-digit identifier whose short form is never all digits (a hostname would be taken for a number)."""
    while True:
        value = secrets.token_hex(32)
        if not value[:SHORT_LENGTH].isdigit():
            return value


def short(identifier: str) -> str:
    """The first 12 digits, without the algorithm of a digest."""
    return identifier.rpartition(":")[2][:SHORT_LENGTH]
