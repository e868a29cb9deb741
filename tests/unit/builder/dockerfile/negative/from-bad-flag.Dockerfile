FROM --plat=x a
