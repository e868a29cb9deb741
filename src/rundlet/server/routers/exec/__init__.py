"""The Engine API's exec endpoints."""
