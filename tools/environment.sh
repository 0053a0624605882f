# The other tools source this file. It installs into $root/.venv what pyproject.toml and
# constraints.txt require, and the $extras that the tool sets. If nothing has changed, it only
# compares a checksum. If a tool sets $wheels, the packages come from that folder, without a network
# and without constraints.txt, into $root/.venv-wheels.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv${wheels:+-wheels}

say() { printf 'keisei: %s\n' "$*" >&2; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    say "Python 3.11 or newer is needed (set PYTHON to name one)"
    return 3
}

install() {
    local python quiet=() from=(-c "$root/tools/constraints.txt")
    python=$(find_python)
    [ -t 2 ] || quiet=(--quiet)
    # Scripts contain the path of their folder, so a checkout that was moved needs a new .venv.
    if ! grep -qsF "$venv/bin/python" "$venv/bin/pip" || ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
        "$python" -m venv --clear "$venv" >&2 || {
            say "no virtual environment could be made; on Debian: apt-get install python3-venv"
            return 3
        }
    fi
    if [ -n "${wheels-}" ]; then
        from=(--no-index --find-links "$wheels")
        # Python's own packages follow the installed ones. --system-site-packages would not do:
        # it skips the packages of a virtual environment.
        "$python" -c 'import site; print("\n".join(site.getsitepackages()))' \
            >"$("$venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')/borrowed.pth"
    fi
    say "installing into ${venv##*/} (once, a few minutes)"
    "$venv/bin/python" -m pip install ${quiet[@]+"${quiet[@]}"} --disable-pip-version-check \
        "${from[@]}" -e "$root${extras:+[$extras]}" >&2
}

prepare() {
    local wanted
    wanted=$(cat "$root/pyproject.toml" "$root/tools/constraints.txt" | sha256sum | cut -c1-64)
    # .stamp has one line for each installed set of extras; each set includes the package itself.
    if ! grep -qsx "$wanted ${extras:-.*}" "$venv/.stamp" || ! grep -qsF "$venv/bin/python" "$venv/bin/pip"; then
        install
        grep -sF "$wanted" "$venv/.stamp" >"$venv/.stamp.new" || true
        printf '%s %s\n' "$wanted" "${extras:-none}" >>"$venv/.stamp.new"
        mv "$venv/.stamp.new" "$venv/.stamp"
    fi
}

# Two tools that start together must not install into one folder at the same time.
exec 9<"$root"
flock 9
prepare
exec 9<&-
export PATH="$venv/bin:$PATH"
