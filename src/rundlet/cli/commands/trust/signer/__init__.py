"""rundlet volume …: one module per verb."""
