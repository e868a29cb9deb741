"""The names of all commands. A command's flags and code are in ``commands/<noun>/<verb>.py``, loaded when called."""

from __future__ import annotations

NOUNS: dict[str, tuple[str, dict[str, str]]] = {
    "container": (
        "Manage containers",
        {
            "attach": "Attach local standard input, output, and error streams to a running container",
            "commit": "Create a new image from a container's changes",
            "cp": "Copy files/folders between a container and the local filesystem",
            "create": "Create a new container",
            "diff": "Inspect changes to files or directories on a container's filesystem",
            "exec": "Execute a command in a running container",
            "export": "Export a container's filesystem as a tar archive",
            "inspect": "Display detailed information on one or more containers",
            "kill": "Kill one or more running containers",
            "logs": "Fetch the logs of a container",
            "ls": "List containers",
            "pause": "Pause all processes within one or more containers",
            "port": "List port mappings or a specific mapping for the container",
            "prune": "Remove all stopped containers",
            "rename": "Rename a container",
            "restart": "Restart one or more containers",
            "rm": "Remove one or more containers",
            "run": "Create and run a new container from an image",
            "start": "Start one or more stopped containers",
            "stats": "Display a live stream of container(s) resource usage statistics",
            "stop": "Stop one or more running containers",
            "top": "Display the running processes of a container",
            "unpause": "Unpause all processes within one or more containers",
            "update": "Update configuration of one or more containers",
            "wait": "Block until one or more containers stop, then print their exit codes",
        },
    ),
    "image": (
        "Manage images",
        {
            "build": "Build an image from a Dockerfile",
            "diff": "Show how the files of two images differ",
            "history": "Show the history of an image",
            "import": "Import the contents from a tarball to create a filesystem image",
            "inspect": "Display detailed information on one or more images",
            "layers": "Show what each layer of an image adds, changes, deletes and wastes",
            "load": "Load an image from a tar archive or STDIN",
            "ls": "List images",
            "prune": "Remove unused images",
            "pull": "Download an image from a registry",
            "push": "Upload an image to a registry",
            "rm": "Remove one or more images",
            "save": "Save one or more images to a tar archive (streamed to STDOUT by default)",
            "tag": "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
        },
    ),
    "builder": (
        "Manage builds",
        {
            "build": "Build an image from a Dockerfile",
            "du": "Show what the build cache takes up",
            "prune": "Remove build cache",
        },
    ),
    "buildx": (
        "Manage builds, under the name that Docker's plugin has",
        {
            "build": "Build an image from a Dockerfile",
            "du": "Show what the build cache takes up",
            "prune": "Remove build cache",
        },
    ),
    "completion": (
        "Generate the autocompletion script for a shell",
        {
            "bash": "Generate the autocompletion script for bash",
            "fish": "Generate the autocompletion script for fish",
            "zsh": "Generate the autocompletion script for zsh",
        },
    ),
    "manifest": (
        "Manage Docker image manifests and manifest lists",
        {
            "annotate": "Add additional information to a local image manifest",
            "create": "Create a local manifest list for annotating and pushing to a registry",
            "inspect": "Display an image manifest, or manifest list",
            "push": "Push a manifest list to a repository",
            "rm": "Delete one or more manifest lists from local storage",
        },
    ),
    "network": (
        "Manage networks",
        {
            "connect": "Connect a container to a network",
            "create": "Create a network",
            "disconnect": "Disconnect a container from a network",
            "inspect": "Display detailed information on one or more networks",
            "ls": "List networks",
            "prune": "Remove all unused networks",
            "rm": "Remove one or more networks",
        },
    ),
    "volume": (
        "Manage volumes",
        {
            "create": "Create a volume",
            "inspect": "Display detailed information on one or more volumes",
            "ls": "List volumes",
            "prune": "Remove unused local volumes",
            "rm": "Remove one or more volumes",
            "update": "Update a volume (cluster volumes only)",
        },
    ),
    "system": (
        "Manage Rundlet",
        {
            "df": "Show docker disk usage",
            "doctor": "Say what this machine lacks for containers, and what would help",
            "events": "Get real time events from the server",
            "info": "Display system-wide information",
            "prune": "Remove unused data",
            "dial-stdio": "",
        },
    ),
    "context": (
        "Manage contexts",
        {
            "create": "Create a context",
            "export": "Export a context to a tar archive FILE or a tar stream on STDOUT",
            "import": "Import a context from a tar or zip file",
            "inspect": "Display detailed information on one or more contexts",
            "ls": "List contexts",
            "rm": "Remove one or more contexts",
            "show": "Print the name of the current context",
            "update": "Update a context",
            "use": "Set the default context",
        },
    ),
    "registry": (
        "Run a registry of one's own",
        {
            "serve": "Serve images to Docker, Podman and Rundlet (OCI distribution 1.1)",
        },
    ),
    "trust": (
        "Manage trust on Docker images",
        {
            "inspect": "Return low-level information about keys and signatures",
            "policy": "Show or check the policy that the engine enforces on images",
            "revoke": "Remove trust for an image",
            "sign": "Sign an image",
        },
    ),
    "trust key": (
        "Manage keys for signing Docker images",
        {
            "generate": "Generate and load a signing key-pair",
            "load": "Load a private key file for signing",
        },
    ),
    "trust signer": (
        "Manage entities who can sign Docker images",
        {
            "add": "Add a signer",
            "remove": "Remove a signer",
        },
    ),
    "engine": (
        "Run and manage the engine itself",
        {
            "disable": "No longer let systemd start the engine; containers go on running",
            "enable": "Let systemd start the engine, so that restart policies hold after a reboot",
            "env": "Print the shell line that points other Docker clients at this engine",
            "link": "Make /var/run/docker.sock lead to this engine where there is none",
            "run": "Run the engine in the foreground (also: rundlet engine [FLAGS])",
            "status": "Say whether the engine runs, where and since when",
            "stop": "Stop the engine; containers go on running",
        },
    ),
}

# Other names of a verb, as Docker has them.
VERB_ALIASES: dict[str, dict[str, str]] = {
    "container": {"list": "ls", "ps": "ls", "remove": "rm"},
    "image": {"list": "ls", "remove": "rm"},
    "network": {"list": "ls", "remove": "rm"},
    "volume": {"list": "ls", "remove": "rm"},
    "context": {"list": "ls", "remove": "rm"},
}

# Verbs whose code is another noun's, or has a name that is none for a module.
SAME_AS: dict[str, str] = {
    "builder.build": "image.build",
    "buildx.build": "image.build",
    "buildx.du": "builder.du",
    "buildx.prune": "builder.prune",
    "system.dial-stdio": "system.dial_stdio",
}

# Commands without a noun: their module, and a description where they are none of the above.
SHORT_FORMS: dict[str, str] = {
    **{
        name: f"container.{name}"
        for name in (
            "attach commit cp create diff exec export kill logs pause port rename restart rm run start stats stop top "
            "unpause update wait"
        ).split()
    },
    **{name: f"image.{name}" for name in "build history import load pull push save tag".split()},
    "ps": "container.ls",
    "images": "image.ls",
    "rmi": "image.rm",
    "events": "system.events",
    "info": "system.info",
    "inspect": "inspect",
    "login": "login",
    "logout": "logout",
    "search": "search",
    "version": "version",
}

SUMMARIES = {
    "inspect": "Return low-level information on Docker objects",
    "login": "Authenticate to a registry",
    "logout": "Log out from a registry",
    "search": "Search Docker Hub for images",
    "version": "Show the version of the client and of the engine",
}

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Common Commands",
        ("run", "exec", "ps", "logs", "stop", "rm", "build", "pull", "push", "images", "version", "info"),
    ),
    (
        "More about containers",
        tuple(
            "attach commit cp create diff events export inspect kill pause port rename restart start stats top unpause "
            "update wait".split()
        ),
    ),
    (
        "More about images",
        ("history", "import", "load", "login", "logout", "rmi", "save", "search", "tag"),
    ),
)

# What Docker has and Rundlet has not: refused by name, never taken for a typing error.
NOT_SUPPORTED = frozenset(("checkpoint compose config node plugin scout secret service stack swarm").split())


def resolve(words: tuple[str, ...]) -> str:
    """The module (``container.run``) of a command's words; empty when there is none."""
    if len(words) == 1:
        return SHORT_FORMS.get(words[0], "")
    noun, verb = " ".join(words[:-1]), words[-1]
    if noun not in NOUNS:
        return ""
    verb = VERB_ALIASES.get(noun, {}).get(verb, verb)
    name = f"{noun}.{verb}".replace(" ", ".") if verb in NOUNS[noun][1] else ""
    return SAME_AS.get(name, name)


def summary(name: str) -> str:
    """One line about a short form."""
    noun, _, verb = SHORT_FORMS[name].partition(".")
    return NOUNS[noun][1][verb] if verb else SUMMARIES[name]


def without_nouns(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some short forms that are not also a verb of a noun (``container cp``)."""
    return tuple(name for name in names if "." not in SHORT_FORMS[name])


def names_of(module: str) -> list[str]:
    """Every way to call a command, its own name first."""
    noun, dot, verb = module.rpartition(".")
    noun = noun.replace(".", " ")
    names = [f"{noun} {verb}"] if dot else []
    names += [f"{noun} {alias}" for alias, target in VERB_ALIASES.get(noun, {}).items() if target == verb]
    names += [name.replace(".", " ") for name, target in SAME_AS.items() if target == module]
    return names + [name for name, target in SHORT_FORMS.items() if target == module]
