# version what to build on
ARG version=1

# not about it

# base is where all begins
FROM scratch AS base

# other says nothing about it
FROM scratch AS more
