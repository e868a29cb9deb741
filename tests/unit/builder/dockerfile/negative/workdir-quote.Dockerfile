FROM scratch
WORKDIR "/x
