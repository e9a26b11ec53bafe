#!/bin/sh
# Makes the virtual environment of the Makefile anew: make-venv.sh PYTHON DIRECTORY
set -eu

rm -rf "$2"
echo "making the virtual environment $2 with $("$1" --version)"
"$1" -m venv "$2"
# Dependency groups (PEP 735) need pip 25.1.
"$2/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
