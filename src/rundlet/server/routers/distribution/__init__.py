"""The Engine API's distribution endpoints."""
