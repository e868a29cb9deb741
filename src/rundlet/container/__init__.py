"""What a container is on disk and in memory: its record, its states, its names. No processes, no networks."""
