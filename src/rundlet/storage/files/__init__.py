"""Files of containers, running or stopped, for ``cp`` and ``export``: ``access`` is the engine's side."""
