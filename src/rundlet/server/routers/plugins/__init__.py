"""The Engine API's plugin endpoints."""
