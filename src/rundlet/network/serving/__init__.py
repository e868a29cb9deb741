"""What the network's workers have in common: an epoll loop, and the connections that they live for.

They run from the launcher: standard library and ``linux`` only.
"""
