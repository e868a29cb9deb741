"""CDI: the YAML it is written in, names, and what is changed in a container."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml as reference
from hypothesis import given
from hypothesis import strategies as st

from rundlet.api.container_config import DeviceRequest
from rundlet.engine.cdi import apply, edits_for, yaml
from rundlet.engine.cdi.edits import Edits
from rundlet.engine.cdi.registry import CdiError
from rundlet.engine.cdi.requests import NoDeviceDriverError

NVIDIA = """\
---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/null
    major: 1   # as it is everywhere
    minor: 3
    type: c
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  - "QUOTED=a: b # c"
  mounts:
  - containerPath: /usr/bin/tool
    hostPath: /bin/true
    options:
      - ro
      - nosuid
      - bind
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/card0
      hostPath: /dev/zero
  name: "0"
- name: '1'
  containerEdits:
    env: ["CARD=1"]
    additionalGids: [44]
- name: all
  containerEdits:
    env:
    - CARD=all
kind: nvidia.com/gpu
"""


def test_the_yaml_is_read_as_a_whole_parser_reads_it() -> None:
    assert yaml.parse(NVIDIA) == reference.safe_load(NVIDIA)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.text(st.characters(codec="ascii"), max_size=12)
)
KEYS = st.text("abcXYZ01_./-", min_size=1, max_size=8).filter(lambda text: text[0].isalpha())
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, DOCUMENTS, min_size=1, max_size=4))
def test_what_a_yaml_writer_writes_is_read_or_refused_never_misread(document: dict[str, Any]) -> None:
    text = reference.safe_dump(document, default_flow_style=False, allow_unicode=True, width=10**6)
    try:
        found = yaml.parse(text)
    except yaml.YamlError:
        return
    assert found == reference.safe_load(text)


@pytest.mark.parametrize("text", ["a: &x 1", "a: !!str x", "a: |\n  x", "a: 1\na: 2", "a:\n    b: 1\n  c: 2", "\ta: 1"])
def test_what_is_not_read_is_refused(text: str) -> None:
    with pytest.raises(yaml.YamlError):
        yaml.parse(text)


@pytest.fixture
def directory(tmp_path: Path) -> str:
    (tmp_path / "nvidia.yaml").write_text(NVIDIA)
    hooked = {"kind": "vendor.com/hooked", "devices": [{"name": "x", "containerEdits": {"hooks": [HOOK]}}]}
    (tmp_path / "hooked.json").write_text(json.dumps(hooked))
    (tmp_path / "broken.json").write_text("{")
    return str(tmp_path)


HOOK = {"hookName": "createContainer", "path": "/usr/bin/hook", "args": ["hook", "x"]}


def gpus(**values: Any) -> list[DeviceRequest]:
    return [DeviceRequest(**({"capabilities": (("gpu",),)} | values))]


def configuration() -> dict[str, Any]:
    return {"process": {"env": ["A=1", "CARD=0"]}, "linux": {"devices": [], "resources": {"devices": []}}, "mounts": []}


def test_edits_of_one_device(directory: str) -> None:
    oci = configuration()
    edits = edits_for(gpus(device_ids=("0", "1")), [directory])
    apply(edits, oci)
    assert oci["process"]["env"] == ["A=1", "NVIDIA_VISIBLE_DEVICES=void", "QUOTED=a: b # c", "CARD=1"]
    devices = {device["path"]: (device["type"], device["major"], device["minor"]) for device in oci["linux"]["devices"]}
    assert devices == {"/dev/null": ("c", 1, 3), "/dev/card0": ("c", 1, 5)}
    assert [(rule["major"], rule["minor"]) for rule in oci["linux"]["resources"]["devices"]] == [(1, 3), (1, 5)]
    assert oci["mounts"] == [
        {"destination": "/usr/bin/tool", "source": "/bin/true", "type": "bind", "options": ["ro", "nosuid", "bind"]}
    ]
    assert edits.groups == (44,)


@pytest.mark.parametrize(
    ("request_", "cards"),
    [
        (gpus(count=-1), ["CARD=all"]),
        (gpus(count=2), ["CARD=1"]),
        (gpus(driver="nvidia", device_ids=("1",)), ["CARD=1"]),
        ([DeviceRequest(driver="cdi", device_ids=("nvidia.com/gpu=all",))], ["CARD=all"]),
    ],
)
def test_which_devices_are_meant(directory: str, request_: list[DeviceRequest], cards: list[str]) -> None:
    found = edits_for(request_, [directory])
    assert [entry for entry in found.env if entry.startswith("CARD")] == cards


def test_what_is_not_there(directory: str, tmp_path: Path) -> None:
    with pytest.raises(NoDeviceDriverError, match=r'could not select device driver "" with capabilities: \[\[gpu\]\]'):
        edits_for(gpus(count=-1), [str(tmp_path / "none")])
    with pytest.raises(NoDeviceDriverError, match=r'device driver "amd" with capabilities: \[\[gpu utility\]\]'):
        edits_for(gpus(driver="amd", capabilities=(("gpu", "utility"),)), [directory])
    with pytest.raises(CdiError, match=r"unresolvable CDI devices vendor.com/x=y \(.*broken.json"):
        edits_for([DeviceRequest(driver="cdi", device_ids=("vendor.com/x=y",))], [directory])
    with pytest.raises(NoDeviceDriverError, match='could not select device driver "cdi"'):
        edits_for([DeviceRequest(driver="cdi", device_ids=("vendor.com/x=y",))], [])
    with pytest.raises(CdiError, match="3 GPUs were asked for, this machine has 2"):
        edits_for(gpus(count=3), [directory])


def test_hooks(directory: str) -> None:
    edits = edits_for([DeviceRequest(driver="cdi", device_ids=("vendor.com/hooked=x",))], [directory])
    with pytest.raises(CdiError, match="invalid later hook: '/x'"):
        apply(Edits(hooks=(("later", {"path": "/x"}),)), configuration())
    oci = configuration()
    apply(edits, oci)
    assert oci["hooks"] == {"createContainer": [{"path": "/usr/bin/hook", "args": ["hook", "x"]}]}
