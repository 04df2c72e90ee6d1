#!/bin/sh
# Usage: install.sh PYTHON VENV run|dev
# Creates the environment with the locked versions; the stamp is written when all of it worked.
set -eu
python=$1 venv=$2 kind=$3

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "wan_pipeline needs Python 3.11 or newer as '$python'. Try: make PYTHON=python3.12" >&2
    exit 2
fi
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    echo "Python's venv is missing. Install it: apt-get install python3-venv" >&2
    exit 2
fi

# Another make that waited for the lock finds the work done.
if [ "$venv/$kind.stamp" -nt pyproject.toml ] && [ "$venv/$kind.stamp" -nt constraints.txt ]; then
    exit 0
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "Installing wan_pipeline ($kind) into $venv; this takes about a minute ..."
pip="$venv/bin/python -m pip --disable-pip-version-check"
# --group needs pip 25.1; the one that venv brings may be older.
$pip install --quiet 'pip>=25.1'
if [ "$kind" = dev ]; then
    $pip install --quiet --constraint constraints.txt --editable . --group dev
    touch "$venv/dev.stamp"
else
    $pip install --quiet --constraint constraints.txt --editable .
fi
touch "$venv/run.stamp"
