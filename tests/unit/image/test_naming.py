"""Names that images are given."""

import pytest

from rundlet.errors import InvalidParameterError
from rundlet.image.naming import new_name


@pytest.mark.parametrize(
    ("repository", "tag", "name"),
    [
        ("app", "", "docker.io/library/app:latest"),
        ("app", "1", "docker.io/library/app:1"),
        ("app:1", "", "docker.io/library/app:1"),
        ("app:1", "2", "docker.io/library/app:2"),
        ("host:5000/sha256", "1", "host:5000/sha256:1"),
    ],
)
def test_names(repository: str, tag: str, name: str) -> None:
    assert new_name(repository, tag).canonical == name


@pytest.mark.parametrize(
    ("repository", "tag", "words"),
    [
        ("", "1", "invalid reference format"),
        ("app", "a@b", "invalid tag format"),
        (f"app@sha256:{'a' * 64}", "1", "cannot import digest reference"),
        ("sha256", "1", "refusing to create an ambiguous tag using digest algorithm as name"),
        (f"sha256:{'a' * 64}", "", "refusing to create an ambiguous tag using digest algorithm as name"),
        ("docker.io/library/sha256", "", "refusing to create an ambiguous tag using digest algorithm as name"),
    ],
)
def test_what_is_no_name(repository: str, tag: str, words: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"^{words}"):
        new_name(repository, tag)
