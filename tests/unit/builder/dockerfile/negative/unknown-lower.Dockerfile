FROM scratch
runn x
