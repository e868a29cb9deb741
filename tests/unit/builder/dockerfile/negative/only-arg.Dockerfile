ARG x=1
