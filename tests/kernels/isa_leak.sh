#!/bin/sh
# Fails if a file compiled with AVX-512 offers the linker a function that other files may offer too:
# the linker would keep one copy, perhaps that one, also for machines without AVX-512.
# Usage: isa_leak.sh liboctet_kernels.a
leaks=$(nm -C "$1" 2>/dev/null | awk '/\.o:$/ {avx512 = /_avx512\.cc\.o:$/} avx512 && $2 ~ /^[WVu]$/ && !/DW.ref/')
[ -z "$leaks" ] && exit 0
echo "shared functions in AVX-512 files (make them OCTET_INLINE or anonymous):"
echo "$leaks"
exit 1
