"""``rundlet completion SHELL``: scripts that ask ``rundlet __complete``."""
