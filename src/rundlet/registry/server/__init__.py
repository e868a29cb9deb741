"""A registry of our own, as a process of its own: OCI distribution-spec v1.1 over HTTP, content on disk.

Started by ``rundlet registry serve`` (``python -m rundlet.registry.server``); needs neither root nor the engine, and
the engine never imports it. Content is stored once for all repositories, named by its digest; which repository holds
what is in a SQLite index beside it.
"""
