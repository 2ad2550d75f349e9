#!/bin/sh
# Installs the official Lambda runtime clients, unmodified, as functions that the sandbox's tests run:
#   awslambdaric (PyPI), aws-lambda-ric (npm), lambda_runtime (crates.io).
# Usage: tests/clients/install.sh FOLDER    then: PILEUS_CLIENTS=FOLDER cargo test -p compute-process --test it clients
# Each client that cannot be installed is named with the reason; the others are still made.
set -u
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?"usage: $0 FOLDER"}
mkdir -p "$folder" && folder=$(cd "$folder" && pwd)
chmod 755 "$folder"
status=0

give_up() {
    echo "clients: $1 is left out: $2" >&2
    status=1
}

python_client() {
    [ -f "$folder/awslambdaric/bootstrap" ] && return
    command -v /usr/bin/python3 >/dev/null || { give_up awslambdaric "no /usr/bin/python3"; return; }
    version=$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    rm -rf "$folder/awslambdaric"
    python3 -m pip install --quiet --disable-pip-version-check --target "$folder/awslambdaric" \
        --python-version "$version" --only-binary=:all: awslambdaric==4.2.2 ||
        { give_up awslambdaric "pip failed"; return; }
    cp "$here/python/app.py" "$folder/awslambdaric/app.py"
    printf '#!/bin/sh\nexport PYTHONPATH=/var/task\nexec /usr/bin/python3 -m awslambdaric app.handler\n' \
        >"$folder/awslambdaric/bootstrap"
    chmod 755 "$folder/awslambdaric/bootstrap"
}

node_client() {
    [ -f "$folder/aws-lambda-ric/bootstrap" ] && return
    command -v node >/dev/null || { give_up aws-lambda-ric "no node"; return; }
    # The package builds native code: it wants cmake, autotools and a C++ compiler. cmake comes from PyPI if absent.
    if ! command -v cmake >/dev/null; then
        python3 -m venv "$folder/.cmake" && "$folder/.cmake/bin/pip" install --quiet cmake==3.31.6 ||
            { give_up aws-lambda-ric "no cmake"; return; }
        PATH="$folder/.cmake/bin:$PATH"
    fi
    # Version 4 asks for Node 22 or newer.
    major=$(node -p 'process.versions.node.split(".")[0]')
    if [ "$major" -ge 22 ]; then version=4.0.2; else version=3.3.0; fi
    work="$folder/aws-lambda-ric"
    rm -rf "$work" && mkdir -p "$work"
    cp "$here/node/index.js" "$work/index.js"
    (cd "$work" && npm install --silent --no-audit --no-fund --no-save "aws-lambda-ric@$version") >"$folder/npm.log" 2>&1 ||
        { tail -5 "$folder/npm.log" >&2; rm -rf "$work"; give_up aws-lambda-ric "npm install failed"; return; }
    rm -rf "$work/node_modules/aws-lambda-ric/deps"
    printf '#!/bin/sh\nexport HOME=/tmp\nexec node ./node_modules/.bin/aws-lambda-ric index.handler\n' >"$work/bootstrap"
    chmod 755 "$work/bootstrap"
}

rust_client() {
    [ -f "$folder/lambda_runtime/bootstrap" ] && return
    target=${CARGO_TARGET_DIR:-$folder/.target}
    cargo build --quiet --locked --manifest-path "$here/rust-runtime/Cargo.toml" --target-dir "$target" ||
        { give_up lambda_runtime "cargo build failed"; return; }
    mkdir -p "$folder/lambda_runtime"
    cp "$target/debug/pileus-client-rust" "$folder/lambda_runtime/bootstrap"
}

python_client
rust_client
node_client
chmod -R a+rX "$folder"
exit $status
