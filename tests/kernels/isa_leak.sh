#!/bin/sh
# Fails if a file compiled with AVX2, AVX-512 or AMX offers the linker a function that other files may offer
# too: the linker would keep one copy, perhaps that one, also for machines without those instructions.
# Usage: isa_leak.sh liboctet_kernels.a
leaks=$(nm -C "$1" 2>/dev/null | awk '/\.o:$/ {wide = /_(avx2|avx512|amx)\.cc\.o:$/} wide && $2 ~ /^[WVu]$/ && !/DW.ref/')
[ -z "$leaks" ] && exit 0
echo "shared functions in AVX files (make them OCTET_INLINE or anonymous):"
echo "$leaks"
exit 1
