"""Templates of ``inspect`` over what the API leaves out."""

from typing import Any

import pytest

from rundlet.cli.exit import CommandError
from rundlet.cli.inspecting import inspect_all

IMAGE: dict[str, Any] = {"Id": "sha256:1", "RootFS": {"Type": "layers"}, "Config": {"Env": ["A=b"], "Labels": None}}
CONTAINER: dict[str, Any] = {
    "Id": "1",
    "State": {"Status": "running", "Pid": 1},
    "HostConfig": {"Binds": None},
    "Config": {"Shell": ["/bin/bash"], "Env": []},
}


def shown(capsys: pytest.CaptureFixture[str], value: Any, template: str) -> str:
    inspect_all(["x"], lambda _name: value, template)
    return capsys.readouterr().out.removesuffix("\n")


@pytest.mark.parametrize(
    ("value", "template", "text"),
    [
        (IMAGE, "[{{.Variant}}] [{{.OsVersion}}] {{.VirtualSize}}", "[] [] 0"),
        (IMAGE, "{{.Config.ExposedPorts}} {{.Config.Shell}} {{.Config.Healthcheck}}", "map[] [] <nil>"),
        (IMAGE, "{{.Config.Env}} {{.Config.Labels}} {{json .Config.ExposedPorts}}", "[A=b] map[] null"),
        (CONTAINER, "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
        (CONTAINER, "{{.State.Health}} {{.Config.StopTimeout}} {{.SizeRw}}", "<nil> <nil> <nil>"),
        (CONTAINER, "{{.Config.Shell}} {{.HostConfig.Sysctls}} {{.HostConfig.Mounts}}", "[/bin/bash] map[] []"),
        (CONTAINER, "{{range $port, $_ := .Config.ExposedPorts}}{{$port}}{{end}}.", "."),
        ({**CONTAINER, "State": {"Health": {"Status": "healthy"}}}, "{{.State.Health.Status}}", "healthy"),
    ],
)  # fmt: skip
def test_what_is_left_out_is_empty(
    capsys: pytest.CaptureFixture[str], value: dict[str, Any], template: str, text: str
) -> None:
    assert shown(capsys, value, template) == text


@pytest.mark.parametrize(
    ("value", "template", "key"),
    [
        (IMAGE, "{{.Nope}}", "Nope"),
        (IMAGE, "{{.State}}", "State"),
        (CONTAINER, "{{.State.Health.Status}}", "Health"),
        ({"Name": "a network", "Internal": False}, "{{.Variant}}", "Variant"),
    ],
)
def test_what_is_not_there_at_all(
    capsys: pytest.CaptureFixture[str], value: dict[str, Any], template: str, key: str
) -> None:
    with pytest.raises(CommandError, match=f'template parsing error: .*map has no entry for key "{key}"'):
        shown(capsys, value, template)


def test_documents_are_shown_as_they_came(capsys: pytest.CaptureFixture[str]) -> None:
    assert '"Health"' not in shown(capsys, CONTAINER, "")
    assert shown(capsys, CONTAINER, "{{json .State}}") == '{"Status":"running","Pid":1}'
    assert '"Health' not in shown(capsys, CONTAINER, "{{json .}}")
    assert shown(capsys, CONTAINER, "{{range $name, $_ := .State}}{{$name}} {{end}}") == "Pid Status "
