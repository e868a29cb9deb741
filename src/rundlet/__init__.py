"""Rundlet: a container engine in Python that speaks Docker.

This file is imported by every process of Rundlet, the shim included: it imports nothing.
"""

__version__ = "0.1.0"
