# escape=`
FROM scratch
ENV path=c:\windows\`$HOME quoted="a`"b"
COPY a `
  b\c
RUN dir c:\
