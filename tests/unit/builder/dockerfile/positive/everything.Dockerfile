# syntax=docker/dockerfile:1
# escape=\

# base the base image
ARG base=alpine
# Build is the stage
FROM --platform=$BUILDPLATFORM ${base:-busybox} AS Build
ENV A=1 B="two words" C=x\ y
ENV old style value
RUN --mount=type=cache,target=/x --mount=type=bind,from=foo,source=.,target=/y,rw echo hi && \
    # comment
    echo "there"   \

    && true
RUN <<EOF
echo one
echo $two
EOF
RUN python3 <<-'PY' > /out
	print(1)
	PY
COPY --from=build --chown=1:2 --link --exclude=*.md a b /c/
COPY <<"a.txt" <<b.txt /dst/
A $x
a.txt
B $x
b.txt
ADD --checksum=sha256:abc http://x/y /z
ONBUILD RUN <<E
x
E
HEALTHCHECK --interval=5s --retries=3 CMD ["a", "b"]
EXPOSE 80 443/udp 8000-8003
VOLUME ["/a", "/b c"]
CMD echo $HOME
ENTRYPOINT ["x"]
SHELL ["/bin/bash", "-c"]
STOPSIGNAL 9
WORKDIR /x/$A
USER a:b
LABEL "com.x"="y" z='q w'
FROM scratch
