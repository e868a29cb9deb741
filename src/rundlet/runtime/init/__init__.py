"""What runs as a container's first process: set-up by steps, then execve. Standard library and linux only."""
