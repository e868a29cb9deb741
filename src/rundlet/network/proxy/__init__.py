"""The proxy: answers at published ports that the firewall can't send on to a container.

That is ::1 (the kernel lets no such address onto a bridge), and every IPv6 address of the host where the container has
IPv4 only. One process for an engine, forked from the launcher when it is first needed; it outlives the engine. The
host's sockets are the ones that keep the ports: a container's shim has them, too, so they stay when this process ends.

Standard library and ``linux`` only: nothing is imported after the launcher's warm-up.
"""
