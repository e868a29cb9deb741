FROM scratch
ENV a=${b:?needed}
