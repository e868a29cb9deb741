ARG VERSION=3.19 OTHER
ARG NAME="al pine"
FROM alpine:${VERSION} AS Base
from --platform=linux/arm64 busybox@sha256:0000 as tools.1_a-b
run true
FROM base
COPY --from=0 / /
COPY --from=tools.1_a-b /bin/sh /
FROM tools.1_a-b as last
