"""``start``, ``kill``, ``delete``, ``pause``, ``resume``: what moves a created container on."""

import errno
import os
import select
import signal
from typing import Final

from rundlet.linux import pidfd
from rundlet.linux.cgroup.files import wait_until
from rundlet.runtime.command import notify, states
from rundlet.runtime.command.errors import CommandError, EndedError, MissingError, UsageError
from rundlet.runtime.command.states import State, States
from rundlet.runtime.init import hooks, report
from rundlet.runtime.shim import failures

_ENDING: Final = 10.0  # seconds for a killed container's last process
_FREEZING: Final = 10.0


def start(everything: States, container: str, *, follower: int = 0) -> None:
    """Let the program be executed. Raises: CommandError when it can't be, or a hook fails: it is stopped then.

    Where a service manager waits for the container to be ready, so does this, unless there is a ``follower``: a
    process that stays until the end, and which the manager is to watch.
    """
    state, process, relay = _started(everything, container)
    try:
        if relay is not None and follower:
            relay.carry_beside(process, follower)
        elif relay is not None:
            relay.carry(process, state.pid)
    except OSError as exc:
        raise CommandError(f"{notify.VARIABLE}: {exc}") from exc
    finally:
        os.close(process)


def _started(everything: States, container: str) -> tuple[State, int, notify.Relay | None]:
    """With the first process, as a descriptor, and what is to be listened to."""
    held = states.lock(everything.load(container).directory)
    try:
        state = everything.load(container)
        status = state.status()
        if status == states.STOPPED:
            raise CommandError("cannot start a container that has stopped")
        if status != states.CREATED:
            raise CommandError("cannot start an already running container")
        process, relay = _process(state), notify.Relay.of(state.directory)
        _release(state)
        wanted = (state.config.get("hooks") or {}).get("poststart") or ()
        try:
            hooks.run("poststart", wanted, state.document(states.RUNNING))
        except hooks.HookError as exc:
            _end(state)
            raise CommandError(str(exc.filename)) from exc
        return state, process, relay
    finally:
        os.close(held)


def _release(state: State) -> None:
    """Open the other end of the gate, and read whether the program was executed."""
    process = _process(state)
    # Non-blocking: it succeeds at once, and lets init's own opening go on.
    fifo = os.open(state.fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        data, ended = b"", False
        poll = select.poll()
        poll.register(fifo, select.POLLIN)
        poll.register(process, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if fifo in ready:
                read = os.read(fifo, 8192)
                data += read
                if not read:
                    break
            elif ended or not state.alive():
                break
            ended = process in ready
    finally:
        os.close(fifo)
        os.close(process)
    os.unlink(state.fifo)
    reports = report.parse(data)
    failed = next((item for item in reports if item.kind == "failed"), None)
    if failed is not None or not any(item.kind == "ready" for item in reports):
        text = failures.explain(failed, state.config["process"]["args"][0])[2]
        raise CommandError(f"unable to start container process: {text}")


def kill(everything: States, container: str, wanted: str, *, every: bool) -> None:
    """Send a signal (a name or a number) to the first process, or to all. Raises: CommandError."""
    number = signal_number(wanted)
    state = everything.load(container)
    status = state.status()
    if every:
        if status == states.STOPPED and not state.group().pids():
            return
        _signal_all(state, number)
        return
    if number == signal.SIGKILL and not state.own_pids and (status != states.STOPPED or state.group().pids()):
        # Nobody else would end with the first process.
        state.group().kill()
        return
    if status == states.STOPPED:
        raise CommandError("container not running")
    process = _process(state)
    try:
        pidfd.send_signal(process, number)
    except ProcessLookupError:
        raise CommandError("container not running") from None
    finally:
        os.close(process)
    if status == states.PAUSED and number == signal.SIGKILL:
        state.group().thaw()


def _signal_all(state: State, number: int) -> None:
    if number == signal.SIGKILL:
        state.group().kill()
        return
    for pid in state.group().pids():
        try:
            process = pidfd.open(pid)
        except ProcessLookupError:
            continue
        try:
            pidfd.send_signal(process, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(process)


def delete(everything: States, container: str, *, force: bool) -> list[str]:
    """Remove what ``create`` made; returns warnings. Raises: CommandError."""
    try:
        held = states.lock(everything.load(container).directory)
    except MissingError:
        if force:
            return []
        raise
    try:
        state = everything.load(container)
        status = state.status()
        # One that was created and never started is ended here, as runc's users expect.
        if not force and status not in (states.STOPPED, states.CREATED, states.CREATING):
            raise CommandError(f"cannot delete container {container} that is not stopped: {status}")
        _end(state)
        try:
            states.clean_up(state)
        except OSError as exc:
            raise CommandError(f"cannot delete container {container}: {exc}") from exc
        wanted = (state.config.get("hooks") or {}).get("poststop") or ()
        return hooks.run_all("poststop", wanted, state.document(states.STOPPED))
    finally:
        os.close(held)


def _end(state: State) -> None:
    """Nothing where it has ended by itself."""
    try:
        process = _process(state)
    except EndedError:
        return
    try:
        pidfd.send_signal(process, signal.SIGKILL)
        state.group().kill()
        select.select([process], [], [], _ENDING)
    except ProcessLookupError:
        pass
    finally:
        os.close(process)
    if not wait_until(lambda: not state.alive(), _ENDING):
        raise CommandError(f"container {state.id} is still running")


def pause(everything: States, container: str) -> None:
    """Raises: CommandError."""
    state = everything.load(container)
    if state.status() not in (states.RUNNING, states.CREATED):
        raise CommandError("container not running or created")
    try:
        state.group().freeze(_FREEZING)
    except OSError as exc:
        raise CommandError(f"unable to freeze: {exc}") from exc


def resume(everything: States, container: str) -> None:
    """Raises: CommandError."""
    state = everything.load(container)
    if state.status() != states.PAUSED:
        raise CommandError("container not paused")
    try:
        state.group().thaw()
    except OSError as exc:
        raise CommandError(f"unable to thaw: {exc}") from exc


def _process(state: State) -> int:
    """A descriptor of the first process. Raises: EndedError."""
    try:
        process = pidfd.open(state.pid)
    except ProcessLookupError:
        raise EndedError from None
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        raise EndedError from None
    if not state.alive():  # another one has its number by now
        os.close(process)
        raise EndedError
    return process


def signal_number(text: str) -> int:
    """``9``, ``KILL``, ``SIGKILL``. Raises: UsageError."""
    if text.isdigit() and int(text) in range(65):
        return int(text)
    name = text.upper().removeprefix("SIG")
    found = getattr(signal, f"SIG{name}", None)
    if isinstance(found, signal.Signals):
        return int(found)
    if name.startswith(("RTMIN+", "RTMAX-")) and name[6:].isdigit():
        base = signal.SIGRTMIN if name.startswith("RTMIN") else signal.SIGRTMAX
        return int(base) + int(name[6:]) * (1 if base == signal.SIGRTMIN else -1)
    raise UsageError(f'unknown signal "{text}"')
