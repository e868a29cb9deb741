"""The Engine API's swarm endpoints."""
