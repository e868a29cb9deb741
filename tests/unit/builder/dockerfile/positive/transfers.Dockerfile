FROM scratch
COPY a b
COPY a* b?.txt [c-e] dir/
COPY ["with blank", "also/this one"]
COPY --chown=user:group --chmod=u=rwX,go=rX --link=true --parents --exclude=*.md --exclude=**/x a/./b /dst/
COPY --link=false --from=golang:1.22 /usr/local/go /usr/local/go
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/x.tar.gz /
ADD --keep-git-dir=true https://github.com/moby/buildkit.git#v0.10.1 /buildkit
ADD --unpack=false --chown=1 archive.tar /
ADD git@github.com:a/b.git /b
