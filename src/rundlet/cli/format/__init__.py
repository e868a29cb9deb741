"""Tables, sizes and times as Docker prints them, and ``--format``."""
