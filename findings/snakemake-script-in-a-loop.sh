#!/usr/bin/env bash
# Snakemake 9.27.1: anonymous rules made in a loop, whose script is a variable, all run the loop's last script.
#
# Expected: `script:` keeps the value it has when the rule is made, as `output:` and `params:` of the same rule do.
# Seen: it is read when the job runs; the loop's variable then holds its last value, so each rule runs the last script,
#       without an error or a warning: out/a.txt says "b". A placeholder, script: "{params.script}", gives "a".
# Why it matters here: figures are entries of one table, and one loop makes their rules.
# Run: bash findings/snakemake-script-in-a-loop.sh. Ends with 0 while it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -q snakemake==9.27.1
cd "$folder"
for name in a b; do
  echo "open(snakemake.output[0], 'w').write('$name')" > "$name.py"
done
rules() { # how `script:` is given
  cat <<END
rule all:
    input: "out/a.txt", "out/b.txt"

for name in ("a", "b"):
    rule:
        name: name
        output: f"out/{name}.txt"
        params: script=f"{name}.py"
        script: $1
END
}
said() { # what each rule's script wrote
  rm -rf out
  rules "$1" > Snakefile
  env/bin/snakemake --cores 1 --quiet all > log 2>&1 || { cat log; exit 1; }
  echo "$(cat out/a.txt) $(cat out/b.txt)"
}
variable=$(said 'f"{name}.py"')
placeholder=$(said '"{params.script}"')
echo "script: as a variable gives \"$variable\", as a placeholder \"$placeholder\""
test "$variable" = "b b"
test "$placeholder" = "a b"
echo "as described"
