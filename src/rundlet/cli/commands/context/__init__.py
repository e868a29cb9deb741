"""Verbs of ``rundlet context``."""
