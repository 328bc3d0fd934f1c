#!/bin/sh
# Installs the hashed lock files given as arguments, then your own modules of
# requirements-notebooks.txt, then this checkout, into .venv. Nothing to do: nothing done.
# Which index is asked is pip's and uv's own configuration. Interrupted, it goes on the next time.
set -eu

python=.venv/bin/python
extra=requirements-notebooks.txt

die() {
    echo "install: $*" >&2
    exit 1
}

find_python() {
    for name in python3.11 python3; do
        if "$name" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    die "Python 3.11 is needed, and neither python3.11 nor python3 is one. Install python3.11 and its venv module."
}

# What the installation depends on, where it lies included: a venv does not survive a move.
state() {
    { pwd; cat "$@" pyproject.toml; [ ! -f "$extra" ] || cat "$extra"; } 2>/dev/null | cksum
}

make_venv() {
    if ! "$python" -c 'import pip' 2>/dev/null; then
        rm -rf .venv
        "$base" -m venv .venv || die "$base cannot make a virtual environment. On Debian: apt-get install python3.11-venv."
    fi
}

# uv is many times faster than pip; its own hash stands in the lock like any other.
bootstrap_uv() {
    "$python" -c 'import uv' 2>/dev/null && return
    sed -n '/^uv==/,/[^\\]$/p' requirements.txt >.venv/uv.txt
    "$python" -m pip install --quiet --require-hashes --no-deps -r .venv/uv.txt
}

install() {
    UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}" \
        "$python" -m uv pip install --quiet --python "$python" --compile-bytecode "$@" ||
        "$python" -m pip install --quiet "$@" ||
        die "the packages could not be installed; see above. Run the same command again to go on."
}

[ -f pyproject.toml ] || die "run me from the checkout (make venv)."
stamp=".venv/installed-$(echo "$*" | cksum | cut -d' ' -f1)"
base=$(find_python)
now="$(state "$@") $("$base" -VV)"
if [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && "$python" -c 'import millrace' 2>/dev/null; then
    exit 0
fi
make_venv
bootstrap_uv
for lock in "$@"; do
    echo "Installing $(grep -c "^[a-z].*==" "$lock") packages of $lock ..."
    install --require-hashes --no-deps -r "$lock"
done
if [ -f "$extra" ]; then
    install -r "$extra"
fi
"$python" -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
echo "$now" >"$stamp"
