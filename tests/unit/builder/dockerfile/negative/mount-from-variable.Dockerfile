FROM scratch
RUN --mount=from=$base,target=/x true
