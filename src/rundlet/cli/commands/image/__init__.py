"""rundlet image …: one module per verb."""
