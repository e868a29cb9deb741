"""What is said of a file, decided once for all who ask."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from rundlet.api.builds import BuildOptions
from rundlet.builder.dockerfile.parser import parse
from rundlet.engine.builds import checks
from rundlet.engine.builds.contexts import Read
from rundlet.errors import NoSuchImageError
from rundlet.image import variants
from rundlet.image.store import ImageStore
from rundlet.oci.config import ContainerConfig, ImageConfig

OPTIONS = BuildOptions(rich=True)


class Images:
    """``here`` is, with a variable S."""

    def get(self, name: str) -> Any:
        if name != "here":
            raise NoSuchImageError(name)
        return SimpleNamespace(id=name, platform=SimpleNamespace(os="linux", architecture="amd64"))

    def config(self, image: str) -> ImageConfig:
        assert image == "here"
        return ImageConfig(architecture="amd64", os="linux", config=ContainerConfig(env=["S=NONE"]))


@pytest.fixture(autouse=True)
def _one_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "choose", lambda images, name, _platform: images.get(name))


def verdict(text: str, *, asked: bool = False, **options: Any) -> checks.Verdict:
    found = Read(parse(text.encode()), text, None)
    return checks.verdict(found, msgspec.structs.replace(OPTIONS, **options), cast(ImageStore, Images()), asked=asked)


def why(said: checks.Verdict) -> tuple[str, str, str]:
    return tuple("" if one is None else one.why for one in (said.mistake, said.violation, said.wrong))  # type: ignore[return-value]


def test_a_mistake_goes_before_the_warnings_that_are_errors() -> None:
    text = "#check=error=true\nFROM scratch as base\nUSER x\n"
    violation = "lint violation found for rules: FromAsCasing"
    assert why(verdict(text)) == ("", violation, violation)
    said = verdict(text.replace("USER x", "STOPSIGNAL NONE"))
    assert why(said) == ("invalid signal: NONE", violation, "invalid signal: NONE")
    assert [one.rule for one in said.warnings] == ["FromAsCasing"]


def test_what_an_image_has_counts_unless_it_is_asked_for_anew() -> None:
    text = "FROM here\nSTOPSIGNAL $S\n"
    assert why(verdict(text))[0] == "invalid signal: NONE"
    assert why(verdict(text, pull=True))[0] == ""
    assert why(verdict(text.replace("here", "there")))[0] == ""


def test_each_platform_is_looked_at() -> None:
    text = "FROM scratch\nARG TARGETARCH\nENV LEFT=${TARGETARCH#arm64}\nUSER ${LEFT:?not for arm64}\n"
    assert why(verdict(text, platform="linux/amd64"))[0] == ""
    for platforms in ("linux/arm64", "linux/arm64,linux/amd64", "linux/amd64,linux/arm64"):
        assert "not for arm64" in why(verdict(text, platform=platforms))[0]


def test_who_only_asks_is_told_of_every_stage() -> None:
    text = "FROM scratch AS first\nENV a=$foo\nSTOPSIGNAL NONE\nFROM scratch\nUSER x\n"
    said = verdict(text)
    assert (list(said.warnings), said.wrong) == ([], None)
    said = verdict(text, asked=True)
    assert [one.rule for one in said.warnings] == ["UndefinedVar"]
    assert why(said)[0] == "invalid signal: NONE"
    assert verdict(text, asked=True, target="1").wrong is None
