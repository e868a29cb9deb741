"""A small Engine API client: HTTP/1.1 over a unix socket, TCP or TLS, with streaming and hijacking.

It serves the command line only and is built to start fast: nothing here imports ``socket``, ``ssl``, ``json`` or
``http.client`` until a request needs what they add.
"""
