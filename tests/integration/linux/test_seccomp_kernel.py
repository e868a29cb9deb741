"""The filter loaded for real: what a container's process sees."""

import ctypes
import ctypes.util
import errno
import mmap
import os
import socket
import struct
from collections.abc import Callable

import pytest

from rundlet.linux import caps, libc, mount, ns, seccomp
from rundlet.linux.seccomp import compiler
from rundlet.linux.seccomp.syscalls import AUDIT_ARCHITECTURES, numbers

pytestmark = pytest.mark.root


def under(program: bytes, action: Callable[[], object]) -> int:
    """Do ``action`` in a child under the filter: 0, or the errno that it failed with."""
    child = os.fork()
    if child == 0:
        code = 255
        try:
            seccomp.load(program)
            action()
            code = 0
        except OSError as exc:
            code = exc.errno or 254
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module")
def default() -> bytes:
    return compiler.compile_profile(frozenset(caps.DEFAULT))


def raw_clone3() -> int:
    return libc.call("clone3", struct.pack("=11Q", 0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0), 88)


@pytest.mark.parametrize(
    ("action", "number"),
    [
        (os.getpid, 0),
        (lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0), 0),
        (lambda: mount.mount("none", "/tmp", "tmpfs"), errno.EPERM),
        (lambda: mount.umount("/nowhere"), errno.EPERM),
        (lambda: libc.unshare(ns.CLONE_NEWUSER), errno.EPERM),
        (libc.keyctl_join_session, errno.EPERM),
        (raw_clone3, errno.ENOSYS),
        (lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM), errno.EPERM),
        (lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET), errno.EPERM),
        (lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(), 0),
        (lambda: libc.call("personality", 0xFFFFFFFF), 0),
        (lambda: libc.call("personality", 0x0040000), errno.EPERM),
        (lambda: libc.syscall(9999), errno.ENOSYS),
    ],
)
def test_the_default_profile(default: bytes, action: Callable[[], object], number: int) -> None:
    assert under(default, action) == number


def test_clone_into_new_namespaces_is_refused(default: bytes) -> None:
    assert under(default, lambda: libc.call("clone", ns.CLONE_NEWNS | 17)) == errno.EPERM


def test_with_sys_admin_mounts_are_allowed() -> None:
    program = compiler.compile_profile(frozenset({*caps.DEFAULT, "CAP_SYS_ADMIN"}))
    assert under(program, lambda: mount.umount("/nowhere")) == errno.ENOENT
    assert under(program, lambda: libc.unshare(ns.CLONE_NEWUTS)) == 0


def test_without_rights_or_no_new_privileges_nothing_loads(default: bytes) -> None:
    def load() -> None:
        os.setresuid(65534, 65534, 65534)
        seccomp.load(default)

    child = os.fork()
    if child == 0:
        try:
            load()
        except PermissionError:
            os._exit(13)
        except OSError as exc:
            os._exit(exc.errno or 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 13


def test_foreign_bytes_are_refused() -> None:
    for data in (b"", b"RSC1" + b"\0" * 4, b"\0" * 16, b"RSC1" + b"\0" * 11):
        with pytest.raises(OSError, match="seccomp"):
            seccomp.load(data)


@pytest.mark.skipif(libc.MACHINE != "x86_64", reason="int 0x80 is x86's")
def test_the_32_bit_door_is_guarded(default: bytes) -> None:
    """mount by its i386 number through int 0x80, from a 64-bit process."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # push rbx; mov eax, 21 (mount); xor ebx, ebx; xor ecx, ecx; xor edx, edx; int 0x80; pop rbx; ret
    code.write(bytes.fromhex("53b81500000031db31c931d2cd805bc3"))
    call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))

    def mount_by_int_0x80() -> None:
        result = call()
        if result < 0:
            raise OSError(-result, "int 0x80")

    unfiltered = os.fork()
    if unfiltered == 0:
        os._exit(min(-call(), 255))
    answer = os.waitstatus_to_exitcode(os.waitpid(unfiltered, 0)[1])
    if answer in (errno.ENOSYS, -11):
        pytest.skip("this kernel has no 32-bit system calls")
    assert under(default, mount_by_int_0x80) == errno.EPERM


@pytest.mark.skipif(not ctypes.util.find_library("seccomp"), reason="libseccomp is not installed")
def test_our_numbers_are_libseccomps() -> None:
    name = ctypes.util.find_library("seccomp")
    assert name is not None
    library = ctypes.CDLL(name)
    for machine, token in AUDIT_ARCHITECTURES.items():
        for call, number in numbers(machine).items():
            answer = library.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(token), call.encode())
            # Below zero: newer than the library, or one of those that i386 also has behind socketcall and ipc.
            assert answer in (number, -1) or answer < -1, (machine, call)
