"""The Engine API's build endpoints, refused by name."""
