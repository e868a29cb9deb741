"""Running containers: the engine's side (spec, launch, shimclient, state), and the processes: shim, init, exec.

Nothing is re-exported here: shims and inits import this package and must stay small.
"""
