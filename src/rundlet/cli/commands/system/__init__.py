"""rundlet system …: one module per verb."""
