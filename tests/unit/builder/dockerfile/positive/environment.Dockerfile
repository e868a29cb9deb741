FROM scratch
ENV a=b
ENV a=b c="d e" f='g "h" i' j=k\ l m=
ENV name the value  with   blanks
ENV quoted "the value"
ENV "odd name"=x
LABEL a.b=c "d e"="f=g" multi="line one \
line two"
LABEL old style label
ARG one
ARG two=2 three="3 3" four=
