# Sourced by the scripts beside it: makes the project's virtual environment and keeps it up to date.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=$root/.venv

# Prints a Python of at least 3.11: $PYTHON when set, else the first one found.
find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python of at least 3.11 found; install one, or name it: PYTHON=/path/to/python3 $0" >&2
    return 1
}

# make_venv FOLDER: makes a virtual environment there. Debian's python3 without python3-venv can make one only without
# pip in it; the pip beside that Python installs into it just as well.
make_venv() {
    local folder=$1 python
    python=$(find_python)
    rm -rf "$folder"
    if "$python" -m venv "$folder" >/dev/null 2>&1; then
        return
    fi
    rm -rf "$folder"
    "$python" -m venv --without-pip "$folder"
    "$python" -m pip --python "$folder/bin/python" install --quiet --disable-pip-version-check pip
}

# prepare_venv [EXTRA]: has the project installed in $venv, with the extra. Installs only when pyproject.toml
# changed since, or the extra is missing: the install is editable, so changed code needs none.
prepare_venv() {
    local extra=${1:-} stamp=$venv/.routerctl-installed hash installed="" installed_extra=""
    if [[ ! -x $venv/bin/python ]]; then
        echo "making $venv" >&2
        make_venv "$venv"
    fi
    hash=$("$venv/bin/python" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' \
        "$root/pyproject.toml")
    if [[ -f $stamp ]]; then
        read -r installed installed_extra <"$stamp" || true
    fi
    extra=${extra:-$installed_extra}
    if [[ $installed == "$hash" && $installed_extra == "$extra" ]]; then
        return
    fi
    echo "installing routerctl into $venv" >&2
    rm -f "$stamp"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$root${extra:+[$extra]}"
    echo "$hash $extra" >"$stamp"
}
