"""Layers: tar change sets, applied by a confined worker, made from the upper directory of a container."""
