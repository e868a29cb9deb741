"""The types of Docker's documents as its command line has them in Go, for templates of ``inspect`` and the like.

A template runs over these: a field that the engine left out is zero there and no error, one that the type does not have
is an error, and what is printed whole is printed in this order. The names and types are those of Docker 28's API.
"""

from rundlet.cli.format.types.documents import decoded, raw

__all__ = ["decoded", "raw"]
