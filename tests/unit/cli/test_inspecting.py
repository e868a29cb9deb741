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


TYPES = {"RootFS": "image.InspectResponse", "State": "container.InspectResponse", "Internal": "network.Inspect"}


def shown(capsys: pytest.CaptureFixture[str], value: Any, template: str) -> str:
    kind = next(name for key, name in TYPES.items() if key in value)
    inspect_all(["x"], lambda _name: (value, kind), template)
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
        (CONTAINER, "{{.Id}}{{.State.Nope}}", "Nope"),
    ],
)
def test_what_is_not_there_at_all(
    capsys: pytest.CaptureFixture[str], value: dict[str, Any], template: str, key: str
) -> None:
    with pytest.raises(CommandError, match=f'template parsing error: .*map has no entry for key "{key}"'):
        shown(capsys, value, template)


def test_documents_are_shown_as_they_came(capsys: pytest.CaptureFixture[str]) -> None:
    assert '"Health"' not in shown(capsys, CONTAINER, "")
    assert '"Health"' not in shown(capsys, CONTAINER, "json")


def test_templates_see_types(capsys: pytest.CaptureFixture[str]) -> None:
    state = '"OOMKilled":false,"Dead":false,"Pid":1,"ExitCode":0,"Error":"","StartedAt":"","FinishedAt":""}'
    assert shown(capsys, CONTAINER, "{{json .State}}").endswith(state)
    assert shown(capsys, CONTAINER, "{{.State}}") == "{running false false false false false 1 0    <nil>}"
    assert shown(capsys, CONTAINER, "{{.Config.Labels.nope}}") == "<no value>"
    assert shown(capsys, CONTAINER, "{{.HostConfig.NetworkMode.IsHost}} {{.HostConfig.Memory}}") == "false 0"


def test_what_the_types_do_not_know_is_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, CONTAINER, "{{.Id}} {{.State.Pid}}") == "1 1"
    assert shown(capsys, CONTAINER | {"Ports": {"80/tcp": "x"}}, '{{index .Ports "80/tcp"}}') == "x"


def test_a_name_that_is_not_found_leaves_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    def find(name: str) -> tuple[Any, str]:
        if name == "gone":
            raise CommandError("Error: No such object: gone")
        return CONTAINER, "container.InspectResponse"

    with pytest.raises(CommandError, match="No such object: gone"):
        inspect_all(["x", "gone"], find, "{{.State.Pid}}")
    assert capsys.readouterr().out == "1\n"
    with pytest.raises(CommandError, match="No such object: gone"):
        inspect_all(["gone"], find, "{{.State.Pid}}")
    assert capsys.readouterr().out == "\n"


def test_the_command_lines_own_documents(capsys: pytest.CaptureFixture[str]) -> None:
    volume = {"Name": "v<1>", "Labels": None}

    def find(_name: str) -> tuple[Any, str]:
        return volume, "volume.Volume"

    inspect_all(["v"], find, "json", made_here=True)
    assert capsys.readouterr().out == '[{"Name":"v\\u003c1\\u003e","Labels":null}]\n'
    with pytest.raises(CommandError, match=r"can't evaluate field Nope in type volume\.Volume"):
        inspect_all(["v"], find, "{{.Nope}}", made_here=True)
