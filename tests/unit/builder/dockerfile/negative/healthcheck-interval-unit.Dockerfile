FROM scratch
HEALTHCHECK --interval=5x CMD x
