FROM scratch
# a comment before
RUN a \
    # a comment inside
  b \   
c \

d
RUN ends with two escapes \\
RUN e \
