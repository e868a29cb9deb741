FROM scratch
RUN --mount=target=/a true
RUN --mount=type=bind,source=/s,target=/a,from=base,rw true
RUN --mount=type=cache,target=/c,id=x,sharing=locked,mode=0700,uid=1,gid=2,from=base,source=/s,ro true
RUN --mount=type=tmpfs,target=/t,size=1.5g true
RUN --mount=type=secret,id=s,target=/run/x,required,mode=0400 --mount=type=secret,id=t,env=TOKEN true
RUN --mount=type=ssh,required=true --mount=type=ssh,id=other,target=/agent.sock true
RUN --mount=type=cache,target=$HOME/.cache,id=${ID} true
RUN --network=none --security=insecure --device=vendor.com/class=gpu true
RUN --mount="type=bind,target=/with blank" -- --not-a-flag
RUN --mount='type=bind,"target=/a,b"' true
