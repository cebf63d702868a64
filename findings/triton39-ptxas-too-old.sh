#!/usr/bin/env bash
# The program called ptxas in Triton 3.9.0's wheel cannot assemble what Triton 3.9.0 compiles for capability 9.0.
#
# Expected: the PTX that triton.compile returns for a GPU of capability 9.0 (which needs none to be there) goes through
#           the ptxas that lies in the same wheel, which tells registers and spills (-v), as with Triton 3.6.0.
# Seen: the PTX says ".version 9.4", that ptxas is of CUDA 12.9 and ends with "Unsupported .version 9.4; current version
#       is '8.8'". The wheel's other one, ptxas-blackwell, assembles it, and is what Triton itself calls, whatever the
#       name says of the GPUs it is for.
# Why it matters here: spills are looked for without a GPU. cuobjdump -res-usage on the returned machine code, which the
#       wheel brings along too, tells them in both versions.
# Run: bash findings/triton39-ptxas-too-old.sh. Ends with 0 while it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/add.py" <<'PY'
import subprocess
from pathlib import Path

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


@triton.jit
def add(x, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x + at, tl.load(x + at, mask=at < n) + 1.0, mask=at < n)


source = ASTSource(fn=add, signature={"x": "*fp32", "n": "i32", "BLOCK": "constexpr"}, constexprs={"BLOCK": 128})
ptx = triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"]
print("triton", triton.__version__, next(line for line in ptx.splitlines() if line.startswith(".version")))
for name in ("ptxas", "ptxas-blackwell"):
    tool = Path(triton.__file__).parent / "backends/nvidia/bin" / name
    command = [tool, "-v", "--gpu-name", "sm_90a", "-", "-o", "/dev/null"]
    done = subprocess.run(command, input=ptx, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if "fatal" in line or "registers" in line]
    print(f"{name}: exit {done.returncode}: {said[0] if said else ''}")
PY
for version in 3.6.0 3.9.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/python" -m pip install -q "triton==$version"
  TRITON_CACHE_DIR="$folder/cache" "$folder/$version/bin/python" -W ignore "$folder/add.py" | tee "$folder/$version.txt"
done
grep -q "^ptxas: exit 0: .*registers" "$folder/3.6.0.txt"
grep -q "^ptxas: exit 255: .*Unsupported .version 9.4; current version is '8.8'" "$folder/3.9.0.txt"
grep -q "^ptxas-blackwell: exit 0: .*registers" "$folder/3.9.0.txt"
echo "as described"
