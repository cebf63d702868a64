#!/usr/bin/env bash
# Triton 3.6.0's interpreter (TRITON_INTERPRET=1) runs no loop whose bound is an argument once NumPy is 2.4 or newer.
#
# Expected: `for k in range(0, n, BLOCK)` with an integer argument n, in the interpreter, as when compiled.
# Seen: the interpreter keeps scalars as arrays of one element and hands them to range(); NumPy 2.4 ended the
#       conversion of arrays of more than zero dimensions to Python numbers, so that the program stops with a TypeError.
#       With NumPy 2.3 it runs. No requirement of the package says so: both install together.
# Why it matters here: kernels are tried without a GPU in the interpreter, and torch 2.11 asks for this Triton.
# Run: bash findings/triton36-interpreter-numpy24.sh   (downloads PyTorch 2.11: some GB). Ends with 0 while it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/loop.py" <<'PY'
import numpy
import torch
import triton
import triton.language as tl


@triton.jit
def total(x, out, n, BLOCK: tl.constexpr):
    acc = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, n, BLOCK):
        at = start + tl.arange(0, BLOCK)
        acc += tl.load(x + at, mask=at < n, other=0.0)
    tl.store(out, tl.sum(acc, 0))


x, out = torch.arange(10.0), torch.zeros(1)
try:
    total[(1,)](x, out, 10, BLOCK=4)
    said = f"sum {out.item():g}"
except Exception as error:
    said = f"{type(error).__name__}: {error}"
print(f"triton {triton.__version__}, numpy {numpy.__version__}: {said}")
PY
for numpy in 2.3.5 2.4.6; do
  python3 -m venv "$folder/$numpy"
  "$folder/$numpy/bin/python" -m pip install -q torch==2.11.0 triton==3.6.0 "numpy==$numpy"
  TRITON_INTERPRET=1 "$folder/$numpy/bin/python" "$folder/loop.py" | tee "$folder/$numpy.txt"
done
grep -q "numpy 2.3.5: sum 45" "$folder/2.3.5.txt"
grep -q "numpy 2.4.6: .*only 0-dimensional arrays can be converted to Python scalars" "$folder/2.4.6.txt"
echo "as described"
