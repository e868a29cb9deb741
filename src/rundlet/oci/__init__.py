"""Pure data of the OCI image specification: bytes in, typed views out. No input or output is done here.

Bytes of manifests, indexes and configs are kept as received everywhere; the structs of this room are views on them and
are encoded only for objects that Rundlet makes itself (import, commit, build).
"""
