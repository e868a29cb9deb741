FROM scratch
COPY --frm=x a b
