FROM scratch
RUN <<EOF
true
