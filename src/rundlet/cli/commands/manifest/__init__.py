"""rundlet manifest …: one module per verb."""
