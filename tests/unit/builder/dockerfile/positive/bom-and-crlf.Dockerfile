FROM scratch
RUN a \
  b
COPY <<EOF /x
one
EOF
