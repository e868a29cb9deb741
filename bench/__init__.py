"""Rundlet beside dockerd and podman on one machine, in one run, interleaved: ``./dev bench``.

Everything runs in mount, PID and network namespaces of its own (``bench.isolation``), so no bridge, chain, mount or
process of any of the three outlives the run or meets an engine that the machine has already.
"""
