"""The Engine API's system endpoints."""
