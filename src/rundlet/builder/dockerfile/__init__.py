"""The Dockerfile language (docker/dockerfile 1.x): text in, instructions out; no input or output of its own.

``parse`` makes a :class:`~rundlet.builder.dockerfile.ast.Dockerfile` of bytes, ``expansion.Expander`` replaces
variables in what it holds, ``lint`` says what Docker's ``build --check`` would.
"""
