"""One module per command: USAGE, SHORT, ARGS (least, most), FLAGS and ``run(invocation)``."""
