"""Image builds: the Dockerfile language, what of the context counts, the graph of steps and their execution."""
