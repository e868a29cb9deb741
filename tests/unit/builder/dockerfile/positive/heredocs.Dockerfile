FROM scratch
RUN <<EOF
apt-get update
# not a comment
FROM nothing \
EOF
RUN <<EOF cat
a
EOF
RUN <<-EOF
	tab
		two
	EOF
RUN cat <<A 3<<'B' <<"C D" > /x
1
A
2
B
3
C D
RUN <<EOF
EOF
RUN echo "<<NOT" '<<NEITHER'
RUN a << EOF
RUN ["a", "<<EOF"]
RUN <<python
#!/usr/bin/env python
print(1)
python
COPY <<one.txt <<"two.txt" plain.txt /dst/
$expanded "kept"
one.txt
$not
two.txt
ADD <<-EOF /f
	x
EOF
CMD <<EOF
ONBUILD COPY <<EOF /x
inside
EOF
