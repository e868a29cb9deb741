FROM scratch
RUN
RUN ["a", "b \u00e9 \"c\""]
RUN [ "not", json ]
RUN ['a']
RUN [ -f x ] && y
CMD
CMD []
CMD ["a"]
CMD a b | c
ENTRYPOINT []
ENTRYPOINT exec a
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
HEALTHCHECK NONE
HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=1.5h --start-interval=5s --retries=0 CMD curl -f x || exit 1
healthcheck cmd ["a"]
