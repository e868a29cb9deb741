"""The resolver at 127.0.0.11: a process of its own, forked from the launcher, that outlives the engine.

One for an engine, not one for a network: a container on two networks has one 127.0.0.11 that must know the names of
both. Each sandbox's sockets are opened by its shim inside its network namespace and handed over; the shim keeps them,
too, so that a resolver that died is replaced without anybody noticing more than a pause.

Standard library and ``linux`` only: nothing is imported after the launcher's warm-up.
"""
