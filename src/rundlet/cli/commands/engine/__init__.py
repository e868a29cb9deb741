"""rundlet engine …: one module per verb."""
