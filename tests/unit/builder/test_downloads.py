"""URLs of git repositories."""

import pytest

from rundlet.builder.downloads import GitSource, git_source
from rundlet.builder.errors import BuildError

URL = "https://host/x.git"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (URL, GitSource(URL)),
        (f"{URL}#main:sub", GitSource(URL, "main", "sub")),
        (f"{URL}?branch=main&subdir=sub", GitSource(URL, "refs/heads/main", "sub")),
        (f"{URL}?tag=v1&keep-git-dir", GitSource(URL, "refs/tags/v1", keep_metadata=True)),
        (f"{URL}?ref=v1&submodules=false#v1", GitSource(URL, "v1", submodules=False)),
        (f"{URL}?commit=abc", GitSource(URL, "abc", commit="abc")),
        (f"{URL}?checksum=abc#main", GitSource(URL, "main", commit="abc")),
        ("git@host:x.git#main", GitSource("git@host:x.git", "main")),
        ("github.com/a/b", GitSource("https://github.com/a/b")),
        ("https://host/x.tar.gz", None),
        ("./x.git", None),
    ],
)
def test_what_is_meant(text: str, source: GitSource | None) -> None:
    assert git_source(text) == source


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("colour=red", 'unexpected query "colour"'),
        ("ref=", 'query "ref" has no value'),
        ("ref=a#b", 'ref conflicts: "b" vs "a"'),
        ("submodules=perhaps", 'invalid submodules value: "perhaps"'),
    ],
)
def test_what_is_not(query: str, words: str) -> None:
    with pytest.raises(BuildError, match=words):
        git_source(f"{URL}?{query}")
