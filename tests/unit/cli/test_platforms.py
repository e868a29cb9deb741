"""``--platform`` is read here as the engine reads it."""

import json

import pytest

from rundlet.cli.exit import CommandError
from rundlet.cli.platforms import platform_json, platforms_json
from rundlet.oci.platform import InvalidPlatformError, Platform

GOOD = (
    "linux linux/amd64 Linux/x86_64 linux/arm64/v8 linux/arm/v7 amd64 x86_64 aarch64 armhf windows "
    "windows(10.0.17763)/amd64 linux()/amd64 darwin/arm64 macos linux/nosuch 386 riscv64"
).split()
BAD = [",", "bogus", "a/b/c/d", "linux/,", "linux/amd64/;", "", "/", "linux/", "linux(1/amd64", "é/amd64", "linux/*"]


@pytest.mark.parametrize("text", GOOD)
def test_both_sides_agree_on_what_is_meant(text: str) -> None:
    sent = json.loads(platform_json(text))
    asked = Platform(sent["architecture"], sent["os"], sent.get("variant", ""), sent.get("os.version", ""))
    assert asked.normalized() == Platform.parse(text).normalized()


@pytest.mark.parametrize("text", BAD)
def test_both_sides_refuse_in_the_same_words(text: str) -> None:
    with pytest.raises(InvalidPlatformError) as theirs:
        Platform.parse(text)
    with pytest.raises(CommandError) as ours:
        platform_json(text, "invalid platform: ")
    assert ours.value.message == f"invalid platform: {theirs.value}"


def test_one_or_several() -> None:
    assert platforms_json("linux/amd64") == [platform_json("linux/amd64")]
    assert platforms_json(["linux/amd64", "linux/arm64"]) == [
        platform_json("linux/amd64"),
        platform_json("linux/arm64"),
    ]
