"""The filter that a container has unless the user asks otherwise: the calls that Docker's default profile allows.

Refused are the calls that reach beyond a container (mounts, modules, keys, clocks, kexec, bpf, tracing of the kernel),
and those whose history is one of holes; a capability that the user grants opens the calls that need it.
"""

from functools import cache
from typing import Any, Final

_FILES: Final = """
    access cachestat chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
    faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
    fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64
    fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init
    inotify_init1 inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat listmount listxattr listxattrat
    llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at
    newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat
    readv removexattr removexattrat rename renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat
    stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask
    unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev
"""
_WAITING: Final = """
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 _newselect pipe pipe2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select
    io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit
"""
_MEMORY: Final = """
    brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect
    mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages
"""
_PROCESSES: Final = """
    execve execveat exit exit_group fork vfork wait4 waitid waitpid pidfd_open pidfd_send_signal
    getcpu getpgid getpgrp getpid getppid getpriority getrlimit getrusage getsid gettid prctl prlimit64 setpgid
    setpriority setrlimit setsid ugetrlimit get_thread_area set_thread_area set_tid_address get_robust_list
    set_robust_list ioprio_get ioprio_set rseq
    sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
    getrandom riscv_hwprobe sysinfo times uname uretprobe
"""
_RIGHTS: Final = """
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32
    getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
    setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32
    landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp
"""
_SIGNALS: Final = """
    kill pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd signalfd4 sigprocmask sigreturn
    tgkill tkill
"""
_TIME: Final = """
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
    timerfd_gettime64 timerfd_settime timerfd_settime64
"""
_NETWORK: Final = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
    recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair
"""
_SYSTEM_V_AND_POSIX_IPC: Final = """
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
"""
_ALWAYS: Final = " ".join(
    (_FILES, _WAITING, _MEMORY, _PROCESSES, _RIGHTS, _SIGNALS, _TIME, _NETWORK, _SYSTEM_V_AND_POSIX_IPC)
)

# What a capability opens.
_BY_CAPABILITY: Final[dict[str, str]] = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules
        lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname
        sethostname setns syslog umount umount2 unshare
    """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module init_module finit_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}

# What only some architectures need, by Go's names of the host's.
_BY_ARCHITECTURE: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls", ("arm", "arm64")),
    ("arch_prctl modify_ldt", ("amd64",)),
)

# Before 4.8 a traced process could slip past the filter.
_TRACING: Final = "process_vm_readv process_vm_writev ptrace"

_AF_VSOCK: Final = 40  # AF_VSOCK: reaches the hypervisor
_AF_ALG: Final = 38  # the kernel's crypto: a long list of holes
# PER_LINUX, PER_LINUX32, UNAME26, both, and "only ask".
_PERSONALITIES: Final = (0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF)
# CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET: no new namespaces.
_CLONE_NAMESPACES: Final = 0x7E02_0000


@cache
def default_profile() -> dict[str, Any]:
    """The default profile, in Docker's JSON format; not to be changed by the caller."""
    rules: list[dict[str, Any]] = [
        _allow(_ALWAYS),
        _allow(_TRACING, includes={"minKernel": "4.8"}),
        _allow("socket", args=[_argument("LT", _AF_ALG)]),
        _allow("socket", args=[_argument("EQ", _AF_ALG + 1)]),
        _allow("socket", args=[_argument("GT", _AF_VSOCK)]),
    ]
    rules += [_allow("personality", args=[_argument("EQ", persona)]) for persona in _PERSONALITIES]
    rules += [_allow(names, includes={"arches": list(arches)}) for names, arches in _BY_ARCHITECTURE]
    rules += [_allow(names, includes={"caps": [cap]}) for cap, names in _BY_CAPABILITY.items()]
    unprivileged = {"caps": ["CAP_SYS_ADMIN"]}
    rules.append(_allow("clone", args=[_argument("MASKED_EQ", _CLONE_NAMESPACES)], excludes=unprivileged))
    # The flags of clone3 lie in memory, where no filter can look: ENOSYS sends C libraries back to clone.
    rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": unprivileged})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        ],
        "syscalls": rules,
    }


def _allow(names: str, **conditions: Any) -> dict[str, Any]:
    return {"names": names.split(), "action": "SCMP_ACT_ALLOW", **conditions}


def _argument(operator: str, value: int) -> dict[str, Any]:
    return {"index": 0, "value": value, "valueTwo": 0, "op": f"SCMP_CMP_{operator}"}
