"""What ``rundlet build`` is made of: contexts on their way to the engine, the display, outputs on their way back."""
