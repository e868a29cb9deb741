FROM scratch
ONBUILD RUN true
onbuild   copy  . /app
ONBUILD FOO is found out when it is used
