"""``rundlet engine``: the engine in the foreground, with the engine's own flags."""

from __future__ import annotations

import os
import sys

from rundlet.cli.engine_start import engine_argv
from rundlet.cli.exit import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rundlet.cli.main import Invocation

USAGE = "[OPTIONS]"
SHORT = "Run the engine in the foreground (also: rundlet engine [OPTIONS])"
ARGS = (0, 0)
# The engine reads its flags itself; the table is what --help shows. Settings are also keys of daemon.json.
RAW = True
FLAGS = (
    ("add-runtime", "", "NAME=PATH", "Register an OCI runtime"),
    ("allow-direct-routing", "", "bool", "Let other machines reach published ports at the containers' own addresses"),
    ("bip", "", "string", "IP address and prefix of the default bridge"),
    ("bridge", "b", "string", 'Bridge that the default network is on; "none": no default network'),
    ("cdi-spec-dir", "", "list", "Directory of CDI specifications (default /etc/cdi and /var/run/cdi)"),
    ("cgroup-parent", "", "string", "Control group of containers that name none"),
    ("config-file", "", "string", "The engine's configuration file (daemon.json)"),
    ("data-root", "", "string", "Directory of images, containers and volumes"),
    ("debug", "D", "bool", "Log everything"),
    ("default-address-pool", "", "pool-options", "What networks' subnets are cut from (base=SUBNET,size=PREFIX)"),
    (
        "default-cgroupns-mode",
        "",
        "string",
        'Control group namespace of containers that ask for none ("host", "private")',
    ),
    ("default-gateway", "", "ip", "IPv4 gateway of the default bridge"),
    ("default-gateway-v6", "", "ip", "IPv6 gateway of the default bridge"),
    ("default-ipc-mode", "", "string", 'IPC mode of containers that ask for none ("shareable", "private")'),
    ("default-network-opt", "", "mapmap", "Options of networks that name none (DRIVER=OPTION=VALUE)"),
    ("default-runtime", "", "string", 'Runtime of containers that ask for none (default "rundlet")'),
    ("default-shm-size", "", "bytes", "Size of /dev/shm in containers that name none (default 64MiB)"),
    ("default-ulimit", "", "ulimit", "Limits of containers that name none (NAME=SOFT[:HARD])"),
    ("default-userns", "", "string", 'User namespace of containers that ask for none ("host", "auto")'),
    ("dns", "", "list", "DNS server of containers that name none"),
    ("dns-opt", "", "list", "DNS option of containers that name none"),
    ("dns-search", "", "list", "DNS search domain of containers that name none"),
    ("exec-opt", "", "list", "native.cgroupdriver=systemd (the default where it runs with cgroup v2) or =cgroupfs"),
    ("exec-root", "", "string", "Directory of sockets and locks"),
    ("experimental", "", "bool", "Tell clients that the engine is (version, info); it has nothing of that kind"),
    ("feature", "", "NAME[=BOOL]", 'Feature that is on or off: "buildkit" (default off), "cdi" (default on)'),
    ("fixed-cidr", "", "string", "IPv4 subnet for addresses on the default bridge"),
    ("fixed-cidr-v6", "", "string", "IPv6 subnet of the default bridge"),
    ("group", "G", "string", "Group that may use the socket (default rundlet, if there is one)"),
    ("host", "H", "list", "Further addresses to listen on (unix://PATH, tcp://HOST:PORT)"),
    ("host-gateway-ip", "", "list", "What host-gateway means in --add-host (default the bridge's address)"),
    ("http-proxy", "", "string", "Proxy for requests in the clear"),
    ("https-proxy", "", "string", "Proxy for requests inside TLS"),
    ("icc", "", "bool", "Let containers of the default bridge reach each other (default true)"),
    ("init", "", "bool", "Start containers that don't say otherwise under an init of ours"),
    ("insecure-registry", "", "list", "Registry without TLS (127.0.0.0/8 always)"),
    ("ip", "", "ip", "Address that ports are published at which name none (default 0.0.0.0 and ::)"),
    ("ip-forward", "", "bool", "Turn on the machine's forwarding (default true)"),
    ("ip-forward-no-drop", "", "bool", "Forward other machines' packets, too, where forwarding was off"),
    ("ip-masq", "", "bool", "Hide the default bridge's addresses behind the machine's (default true)"),
    ("ip6tables", "", "bool", "Fill the machine's firewall for IPv6 (default true)"),
    ("iptables", "", "bool", "Fill the machine's firewall for IPv4 (default true); else the proxy answers at ports"),
    ("ipv6", "", "bool", "Give the default bridge IPv6"),
    ("label", "", "list", "The engine's own labels, for info"),
    ("live-restore", "", "bool", "Containers run on when the engine ends (default true)"),
    ("log-driver", "", "string", 'Log driver of containers that ask for none (default "json-file")'),
    ("log-format", "", "string", 'Form of the engine\'s own log ("text", "json")'),
    ("log-level", "l", "string", '"debug", "info", "warn", "error" or "fatal" (default "info")'),
    ("log-opt", "", "list", "Its options (NAME=VALUE), under those of each container"),
    ("max-concurrent-downloads", "", "int", "Layers that are fetched at once (default 3)"),
    ("max-concurrent-uploads", "", "int", "Layers of a push that are sent at once (default 5)"),
    ("max-download-attempts", "", "int", "How often a request to a registry is tried (default 5)"),
    ("metrics-addr", "", "string", "Address where Prometheus is answered (HOST:PORT; /metrics)"),
    ("mtu", "", "int", "MTU of the default bridge"),
    ("no-new-privileges", "", "bool", "Containers that don't say otherwise gain no privileges"),
    ("no-proxy", "", "string", "Hosts that are reached without a proxy"),
    ("pidfile", "p", "string", "File for the process ID"),
    ("registry-mirror", "", "list", "Mirror of Docker Hub"),
    ("seccomp-profile", "", "string", 'Filter of containers that name none: a file, "unconfined" or "builtin"'),
    ("shutdown-timeout", "", "int", "Seconds for containers to end in, without live-restore (default 15)"),
    ("storage-driver", "s", "string", "overlay2 or vfs (default what the data root's file system can do)"),
    ("tls", "", "bool", "Serve TCP inside TLS; implied by --tlsverify"),
    ("tlscacert", "", "string", "Let in clients with certificates of this CA only"),
    ("tlscert", "", "string", "The engine's certificate"),
    ("tlskey", "", "string", "The certificate's key"),
    ("tlsverify", "", "bool", "Ask clients for certificates; --tlsverify=false lets in everyone"),
    ("trust-policy", "", "string", "Which images may be used (default /etc/rundlet/trust-policy.json, if it is there)"),
    ("userland-proxy", "", "bool", "A proxy answers at published ports where the firewall can't (default true)"),
    ("userns-remap", "", "string", 'User whose ranges all containers share (Docker\'s; "default")'),
    ("validate", "", "bool", "Look through the settings, say what is wrong with them, and end"),
)
"""The engine's own table is ``daemon.flags``; a test holds the two together."""


def run(call: Invocation) -> int:
    if "--help" in call.args or "-h" in call.args:
        from rundlet.cli.help import command_help

        sys.stdout.write(command_help(call.context.program, call.path, call.module))
        return 0
    sys.stdout.flush()
    try:
        # $RUNDLET_ROOT and $RUNDLET_RUN are read by the engine as they are here.
        os.execv(sys.executable, engine_argv(call.args))
    except OSError as exc:
        raise CommandError(f"cannot start the engine: {sys.executable}: {exc.strerror}") from exc
