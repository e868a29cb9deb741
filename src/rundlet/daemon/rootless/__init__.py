"""An ordinary user's engine: the same engine, inside a user, mount and network namespace of its own.

:mod:`entering` takes the process that is to be the engine into the namespaces and executes it again there; whatever
it starts (launcher, shims, workers) is inside, too. :mod:`keeper` is the one process that stays outside: it holds the
namespaces for the next engine, makes sockets in the machine's network and keeps the way out running.
"""
