FROM scratch
ENV b=${a/x}
