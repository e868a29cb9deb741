import pytest

from rundlet.linux import caps


def test_numbers_are_the_kernels() -> None:
    assert caps.CAPABILITIES["CAP_CHOWN"] == 0
    assert caps.CAPABILITIES["CAP_SYS_ADMIN"] == 21
    assert caps.CAPABILITIES["CAP_CHECKPOINT_RESTORE"] == 40
    assert len(caps.CAPABILITIES) == 41


def test_the_default_mask_is_dockers() -> None:
    assert len(caps.DEFAULT) == 14
    assert caps.mask(caps.DEFAULT) == 0xA80425FB


def test_names_are_taken_in_any_case_with_or_without_prefix() -> None:
    assert caps.mask(["net_admin", "CAP_SYS_TIME", "Sys_Chroot"]) == 1 << 12 | 1 << 25 | 1 << 18
    assert caps.names(1 << 12 | 1 << 25) == ["CAP_NET_ADMIN", "CAP_SYS_TIME"]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match='invalid capability: "FLY"'):
        caps.mask(["FLY"])
