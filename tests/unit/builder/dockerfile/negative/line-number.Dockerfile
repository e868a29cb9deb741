FROM scratch

# comment
RUN a \
  b

FOO
