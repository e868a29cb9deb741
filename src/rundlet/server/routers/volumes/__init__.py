"""The Engine API's volumes endpoints."""
