"""``system df -v`` with a format: the same objects that its tables show, each with its columns."""

import json
from typing import Any

import pytest

from rundlet.cli.exit import CommandError
from rundlet.cli.format.disk_usage import summary, verbose_document, verbose_text
from rundlet.cli.format.templated import Format
from rundlet.util.template.json_text import encode

USAGE: dict[str, Any] = {
    "Images": [
        {
            "Id": "sha256:" + "a" * 64,
            "RepoTags": ["box:latest"],
            "Created": 1,
            "Size": 1000,
            "SharedSize": 400,
            "Containers": 2,
        }
    ],
    "Containers": [],
    "Volumes": [{"Name": "data", "Driver": "local", "UsageData": {"RefCount": 1, "Size": 2000}}],
    "BuildCache": [
        {
            "ID": "b" * 64,
            "Type": "regular",
            "InUse": True,
            "Size": 3,
            "CreatedAt": "2026-01-02T03:04:05.5Z",
            "LastUsedAt": "2026-01-02T03:04:05.5Z",
            "UsageCount": 1,
        }
    ],
}


def shown(usage: dict[str, Any], template: str) -> str:
    return Format(template).render(verbose_document(usage))


def test_templates_see_every_object() -> None:
    template = "{{range .Images}}{{.Repository}} {{.UniqueSize}} {{.SharedSize}}{{end}} {{len .Containers}}"
    assert shown(USAGE, template) == "box 600B 400B 0"
    assert shown(USAGE, "{{range .Volumes}}{{.Name}} {{.Links}} {{.Size}}{{end}}") == "data 1 2kB"
    cache = "{{range .BuildCache}}{{.ID}} {{.CreatedAt}} {{.InUse}}{{end}}"
    assert shown(USAGE, cache) == "b" * 64 + "* 2026-01-02 03:04:05.5 +0000 UTC true"


def test_an_image_has_one_row_and_the_cache_is_in_order_of_use() -> None:
    image = USAGE["Images"][0]
    named = image | {"RepoTags": ["a:1", "b:2"], "RepoDigests": ["c@sha256:" + "d" * 64]}
    unnamed = image | {"RepoTags": [], "RepoDigests": ["c@sha256:" + "d" * 64]}
    cache = [
        {"ID": "2", "LastUsedAt": "2026-01-02T03:04:05.10Z", "CreatedAt": "2026-01-02T03:04:05Z", "UsageCount": 1},
        {"ID": "1", "LastUsedAt": "2026-01-02T03:04:05Z", "CreatedAt": "2026-01-02T03:04:05Z", "UsageCount": 1},
        {"ID": "3", "CreatedAt": "2026-01-02T03:04:05Z", "UsageCount": 0},
    ]
    usage = USAGE | {"Images": [named, unnamed], "BuildCache": cache}
    template = "{{range .Images}}{{.Repository}}:{{.Tag}} {{end}}{{range .BuildCache}}{{.ID}} {{end}}"
    assert shown(usage, template).split() == ["a:1", "<none>:<none>", "3", "1", "2"]


def test_json_and_tables() -> None:
    document = json.loads(encode(verbose_document(USAGE)))
    assert list(document) == ["Images", "Containers", "Volumes", "BuildCache"]
    assert document["Images"][0]["ID"] == "sha256:" + "a" * 64
    text = verbose_text(USAGE)
    assert "bbbbbbbbbbbb*   regular" in text
    assert "Build cache usage: 3B" in text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Nope}}", "can't evaluate field Nope in type *formatter.diskUsageContext"),
        ("{{range .Images}}{{.Nope}}{{end}}", "can't evaluate field Nope in type *formatter.imageContext"),
        ("{{range .BuildCache}}{{.Nope}}{{end}}", "can't evaluate field Nope in type *formatter.buildCacheContext"),
    ],
)
def test_what_an_object_has_not(template: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        shown(USAGE, template)
    assert caught.value.message.endswith(message)


def test_what_is_shared_is_counted_once() -> None:
    """Shared build cache is an image's; what an image shares may be unknown."""
    shared = USAGE["BuildCache"][0] | {"ID": "c" * 64, "Shared": True, "Size": 5000}
    image = USAGE["Images"][0] | {"SharedSize": -1, "Containers": -1}
    usage = USAGE | {"BuildCache": [*USAGE["BuildCache"], shared], "Images": [image], "LayersSize": 1000}
    assert "\nBuild cache usage: 3B\n" in verbose_text(usage)
    assert verbose_text(usage).splitlines()[3].split()[-3:] == ["N/A", "N/A", "N/A"]
    rows = {row["Type"]: row for row in summary(usage)}
    assert (rows["Build Cache"]["Size"], rows["Build Cache"]["Reclaimable"]) == ("3B", "0B")
    assert rows["Images"]["Reclaimable"] == "1kB (100%)"
