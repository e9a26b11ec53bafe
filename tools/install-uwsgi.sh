#!/bin/sh
# Installs uWSGI into a virtual environment: install-uwsgi.sh DIRECTORY
#
# uWSGI is built from source, and needs a C compiler and Python's headers. If they are missing,
# pyuwsgi is installed, a wheel of the same server.
set -eu

pip() { "$venv/bin/python" -m pip "$@" --quiet --disable-pip-version-check; }

venv=$1
requirement='uWSGI>=2.0.28'
if pip install "$requirement" >"$venv/uwsgi.log" 2>&1; then
    rm "$venv/uwsgi.log"
else
    echo "uWSGI does not build here (see $venv/uwsgi.log): taking the wheel of pyuwsgi instead"
    pip install --only-binary :all: 'pyuwsgi>=2.0.28'
fi
