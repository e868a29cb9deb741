ARG b=c
FROM scratch AS c
FROM scratch
COPY --from=$b a b
