"""The Engine API's networks endpoints."""
