"""The process between a shim and a log service: one for each container whose log driver is more than a file."""
