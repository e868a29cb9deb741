FROM scratch
RUN --mount=target=/x,ro=perhaps true
