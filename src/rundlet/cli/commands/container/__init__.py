"""rundlet container …: one module per verb."""
