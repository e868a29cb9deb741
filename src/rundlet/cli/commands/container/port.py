"""``rundlet port``."""

from __future__ import annotations

from rundlet.cli.each import container_path
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "CONTAINER [PRIVATE_PORT[/PROTO]]"
SHORT = "List port mappings or a specific mapping for the container"
ARGS = (1, 2)
FLAGS = ()


def _joined(binding: dict[str, str]) -> str:
    address = binding.get("HostIp") or ""
    return f"[{address}]:{binding['HostPort']}" if ":" in address else f"{address}:{binding['HostPort']}"


def _key(port: str) -> tuple[int, str]:
    number, _, protocol = port.partition("/")
    return (int(number), protocol) if number.isdigit() else (0, port)


def run(call: Invocation) -> int:
    found = call.context.session.get(container_path(call.args[0], "json"))
    ports = (found.get("NetworkSettings") or {}).get("Ports") or {}
    if len(call.args) == 1:
        for port in sorted(ports, key=_key):
            for binding in ports[port] or ():
                call.context.say(f"{port} -> {_joined(binding)}")
        return 0
    wanted, _, protocol = call.args[1].partition("/")
    if not (wanted.isascii() and wanted.isdigit()):
        raise CommandError(f'Error: invalid port ({wanted}): strconv.ParseUint: parsing "{wanted}": invalid syntax')
    wanted = f"{wanted}/{(protocol or 'tcp').lower()}"
    bindings = ports.get(wanted)
    if not bindings:
        raise CommandError(f"Error: No public port '{call.args[1]}' published for {call.args[0]}")
    for binding in bindings:
        call.context.say(_joined(binding))
    return 0
