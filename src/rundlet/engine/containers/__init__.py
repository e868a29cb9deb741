"""Containers: creation, life, processes, streams, and what is said about them."""
