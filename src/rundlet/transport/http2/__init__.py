"""HTTP/2 over a socket that is connected already, either side, and gRPC's calls on top of it.

Imported only where somebody speaks it: the framing is the h2 package's.
"""
