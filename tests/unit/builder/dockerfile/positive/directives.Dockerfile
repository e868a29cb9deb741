#syntax = docker/dockerfile:1.7-labs
# Check=skip=JSONArgsRecommended;error=true
# comment
# escape=`
FROM scratch
CMD a \
  b
