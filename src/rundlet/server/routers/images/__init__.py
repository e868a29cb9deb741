"""The Engine API's images endpoints."""
