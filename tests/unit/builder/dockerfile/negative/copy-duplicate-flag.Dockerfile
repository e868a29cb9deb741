FROM scratch
COPY --from=x --from=y a b
