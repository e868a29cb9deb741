FROM scratch
RUN --mount=type=bind,targt=/x true
