"""The Engine API's containers endpoints."""
