"""``rundlet builder …``, one module per verb."""
