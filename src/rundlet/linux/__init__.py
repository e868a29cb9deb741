"""Mechanism only: what the Linux kernel offers, as small functions that raise ``OSError`` with the path.

No policy and no knowledge of containers lives here. This is the only room that uses ctypes. Every module but the
profile compiler (``seccomp``) is light enough for the shim: standard library only, no import that costs milliseconds.
"""
