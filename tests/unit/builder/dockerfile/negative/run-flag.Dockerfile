FROM scratch
RUN --mout=target=/x true
