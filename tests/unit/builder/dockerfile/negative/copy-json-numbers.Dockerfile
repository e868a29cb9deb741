FROM scratch
COPY [1, 2]
