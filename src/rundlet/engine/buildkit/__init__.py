"""BuildKit's protocol for Docker's build clients: its services in front of Rundlet's own builder."""
