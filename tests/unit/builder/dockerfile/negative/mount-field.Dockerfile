FROM scratch
RUN --mount=bind true
