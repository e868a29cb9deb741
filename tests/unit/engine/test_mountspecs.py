"""-v, --mount and --volumes-from: what Docker refuses is refused with its words."""

import pytest

from rundlet.api.container_config import (
    BindOptions,
    ImageOptions,
    Mount,
    TmpfsOptions,
    VolumeOptions,
)
from rundlet.engine import mountspecs
from rundlet.engine.mountspecs import InvalidMountError, MountConfigError


@pytest.mark.parametrize(
    ("spec", "expected", "mode"),
    [
        ("/data", Mount(type="volume", target="/data"), ""),
        ("/a:/b", Mount(type="bind", source="/a", target="/b"), ""),
        ("/rw:/ro", Mount(type="bind", source="/rw", target="/ro"), ""),
        ("/a:/b c:ro,Z", Mount(type="bind", source="/a", target="/b c", read_only=True), "ro,Z"),
        (
            "/a:/b:z,rslave,rw,cached",
            Mount(type="bind", source="/a", target="/b", bind_options=BindOptions(propagation="rslave")),
            "z,rslave,rw,cached",
        ),
        (
            "name:/b:nocopy",
            Mount(type="volume", source="name", target="/b", volume_options=VolumeOptions(no_copy=True)),
            "nocopy",
        ),
    ],
)
def test_short_form(spec: str, expected: Mount, mode: str) -> None:
    assert mountspecs.parse(spec) == (expected, mode)


_BIND = 'invalid mount config for type "bind": '
_VOLUME = 'invalid mount config for type "volume": '


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "invalid volume specification: ''"),
        (":/b", "invalid volume specification: ':/b'"),
        ("/a:", "invalid volume specification: '/a:'"),
        ("/a:ro", "invalid volume specification: '/a:ro'"),
        ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
        ("/a:/b:sw", "invalid mode: sw"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:z,Z", "invalid mode: z,Z"),
        ("/a:/b:rshared,rslave", "invalid mode: rshared,rslave"),
        ("/a:/b:,", "invalid mode: ,"),
        (
            "/a:b",
            f"invalid volume specification: '/a:b': {_BIND}invalid mount path: 'b' mount path must be absolute",
        ),
        (
            "/a:/b/..",
            f"invalid volume specification: '/a:/b/..': {_BIND}invalid specification: destination can't be '/'",
        ),
        (
            "/a:/b:nocopy",
            f"invalid volume specification: '/a:/b:nocopy': {_BIND}field VolumeOptions must not be specified",
        ),
        (
            "n:/b:shared",
            f"invalid volume specification: 'n:/b:shared': {_VOLUME}field BindOptions must not be specified",
        ),
    ],
)
def test_short_form_refused(spec: str, message: str) -> None:
    with pytest.raises(InvalidMountError) as caught:
        mountspecs.parse(spec)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("mount", "problem"),
    [
        (Mount(type="bind"), "field Target must not be empty"),
        (Mount(type="bind", target="b", source="/a"), "invalid mount path: 'b' mount path must be absolute"),
        (Mount(type="bind", target="/b"), "field Source must not be empty"),
        (Mount(type="bind", target="/b", source="a"), "invalid mount path: 'a' mount path must be absolute"),
        (Mount(type="bind", target="/b", source="/gone"), "bind source path does not exist: /gone"),
        (
            Mount(type="bind", target="/b", source="/", bind_options=BindOptions(propagation="x")),
            "invalid propagation mode: x",
        ),
        (
            Mount(type="bind", target="/b", source="/", image_options=ImageOptions()),
            "field ImageOptions must not be specified",
        ),
        (
            Mount(type="volume", target="/b", bind_options=BindOptions()),
            "field BindOptions must not be specified",
        ),
        (
            Mount(type="volume", target="/b", read_only=True),
            "must not set ReadOnly mode when using anonymous volumes",
        ),
        (
            Mount(type="volume", target="/b", volume_options=VolumeOptions(subpath="x")),
            "must not set Subpath when using anonymous volumes",
        ),
        (
            Mount(type="volume", target="/b", source="n", volume_options=VolumeOptions(subpath="a/../../x")),
            "subpath must be a relative path within the volume",
        ),
        (
            Mount(type="image", target="/b", source="n", image_options=ImageOptions(subpath="/x")),
            "subpath must be a relative path within the volume",
        ),
        (Mount(type="image", target="/b"), "field Source must not be empty"),
        (Mount(type="tmpfs", target="/b", source="n"), "field Source must not be specified"),
        (
            Mount(type="tmpfs", target="/b", tmpfs_options=TmpfsOptions(options=(("suid",),))),
            "invalid option: suid",
        ),
        (
            Mount(type="tmpfs", target="/b", tmpfs_options=TmpfsOptions(options=(("exec", "a", "b"),))),
            "invalid option array length",
        ),
        (Mount(type="npipe", target="/b", source="n"), "mount type unknown"),
    ],
)
def test_long_form_refused(mount: Mount, problem: str) -> None:
    with pytest.raises(MountConfigError) as caught:
        mountspecs.check(mount, look=True)
    assert str(caught.value) == f'invalid mount config for type "{mount.type}": {problem}'


def test_long_form() -> None:
    mountspecs.check(Mount(type="bind", target="/b", source="/gone"), look=False)
    mountspecs.check(
        Mount(type="bind", target="/b", source="/gone", bind_options=BindOptions(create_mountpoint=True)), look=True
    )
    mountspecs.check(
        Mount(type="volume", target="/b", source="n", volume_options=VolumeOptions(subpath="a/../x")), look=True
    )
    mountspecs.check(Mount(type="tmpfs", target="/b", tmpfs_options=TmpfsOptions(options=(("exec",),))), look=True)


def test_volumes_from() -> None:
    assert mountspecs.parse_volumes_from("c") == ("c", "")
    assert mountspecs.parse_volumes_from("c:ro,z") == ("c", "ro,z")
    for spec, message in (
        ("", "volumes-from specification cannot be an empty string"),
        ("c:foo", "invalid mode: foo"),
        ("c:ro:rw", "invalid mode: ro:rw"),
        ("c:nocopy", "invalid mode: nocopy"),
        ("c:rshared", "invalid mode: rshared"),
    ):
        with pytest.raises(InvalidMountError) as caught:
            mountspecs.parse_volumes_from(spec)
        assert str(caught.value) == message


def test_tmpfs() -> None:
    mountspecs.check_tmpfs("")
    mountspecs.check_tmpfs("rw,noexec,size=64m,mode=1777,uid=5")
    for options, said in (("foo", '["foo"]'), ("ro,huge=always", '["huge" "always"]'), ("size", '["size"]')):
        with pytest.raises(InvalidMountError) as caught:
            mountspecs.check_tmpfs(options)
        assert str(caught.value) == f"invalid tmpfs option {said}"


def test_what_is_inside_proc() -> None:
    for allowed in ("/proc", "/processes", "/proc/meminfo", "/proc/sys/kernel/ns_last_pid"):
        mountspecs.check_outside_proc(allowed)
    with pytest.raises(mountspecs.InvalidMountError, match='"/proc/sys" cannot be mounted because it is inside /proc'):
        mountspecs.check_outside_proc("/proc/sys")
