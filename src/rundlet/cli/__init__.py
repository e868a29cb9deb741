"""The ``rundlet`` command: a thin, table-driven client of the Engine API.

Nothing is imported before it is needed: a command's module is loaded when it is called, and the modules that every
command passes through avoid those of the standard library that are slow to import (argparse, re, enum, dataclasses,
typing, json, socket, signal).
"""
