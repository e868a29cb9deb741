"""rundlet registry …: one module per verb."""
