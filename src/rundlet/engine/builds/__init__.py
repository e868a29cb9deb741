"""Builds as the API has them: requests in, the builder at work, streams out."""
