"""Joining a running container: what a child of the shim does between its fork and its execve.

Two processes. The first, forked from the shim, closes every descriptor it does not need and forgets the rest, joins
the cgroup and all namespaces at once by the pidfd of the container's init. The second is cloned from it inside the
container's PID namespace, as a child of the shim (CLONE_PARENT): nothing in the container ever sees a process that
holds the host's descriptors. It goes through the same steps as init.
"""
