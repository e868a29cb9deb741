"""rundlet network …: one module per verb."""
