"""``rundlet-runtime``: the native runtime as an OCI runtime command line, for podman, containerd and whoever asks.

No engine and no shim: ``create`` leaves the container's first process waiting at a FIFO (:mod:`gate`), a child of
whoever started us, with its state in a directory; ``start`` opens the other end. Set-up is the engine's own: the
shim's sandbox, init's steps, the cgroups of :mod:`rundlet.linux`. Standard library and ``linux`` only, as these
processes enter containers. See: OCI runtime-spec, runtime.md and config.md.
"""
