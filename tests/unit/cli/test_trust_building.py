"""Which images of a Dockerfile have to be signed."""

import pytest

from rundlet.cli.exit import CommandError
from rundlet.cli.trust.building import names, signed_images

DOCKERFILE = b"""# FROM commented
ARG BASE=debian
FROM --platform=linux/amd64 golang:1.22 AS Build
RUN --mount=type=bind,from=tools:2,target=/t echo FROM nothing
from $BASE
FROM build
FROM scratch
  FROM debian@sha256:%s
COPY --chown=1 --from=build /a /b
COPY --from=0 /a /b
COPY --from=registry.example:5000/x/Y:Tag /a /b
""".replace(b"%s", b"0" * 64)


def test_the_names_that_count() -> None:
    assert names(DOCKERFILE) == ["golang:1.22", "tools:2", "registry.example:5000/x/Y:Tag"]


def test_a_dockerfile_that_only_the_engine_has() -> None:
    with pytest.raises(CommandError, match="content trust needs a Dockerfile"):
        signed_images(None, None)  # type: ignore[arg-type]
