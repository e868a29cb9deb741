FROM scratch
HEALTHCHECK --retries=x CMD x
