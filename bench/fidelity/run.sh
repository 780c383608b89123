#!/bin/bash
# One run of tests that were seen to pass on AWS: run.sh TARGET NAME -- pytest's arguments (test files, ids, -n 2, ...)
#   TARGET           sandbox: the practice cloud that runs; else a name, such as moto, of what answers at ENDPOINT
#   LOCALSTACK_REPO  a checked-out localstack/localstack; or MOTO_REPO: getmoto/moto, for its aws_verified tests
#   FIDELITY_VENV    what setup.sh made            FIDELITY_RESULTS  the folder of results, a line of JSON a test
#   AWSLABS          a Python that has awslabs     FIDELITY_ACCOUNT, _SECOND, _SLEEP, _LENIENT: see the plugin
set -euo pipefail
target=$1 name=$2
shift 3
here=$(cd "$(dirname "$0")" && pwd) out=$(realpath -m "${FIDELITY_RESULTS:-results}")/$target
mkdir -p "$out"
rm -f "$out/$name".gw*.jsonl
unset ${!AWS_*} || true
if [ "$target" = sandbox ]; then
  export AWSLABS_PATH=${PYTHONPATH:-}
  eval "$("${AWSLABS:-python}" -m awslabs.sandbox env)"
else
  export AWS_ENDPOINT_URL=$ENDPOINT AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE AWS_SECRET_ACCESS_KEY=x
  export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
fi
export FIDELITY_ENDPOINT=$AWS_ENDPOINT_URL FIDELITY_TARGET=$target FIDELITY_OUT=$out/$name PYTHONPATH=$here
export AWS_MAX_ATTEMPTS=${AWS_MAX_ATTEMPTS:-12} FIDELITY_SLEEP=${FIDELITY_SLEEP:-0.2}
if [ -n "${MOTO_REPO:-}" ]; then
  export MOTO_TEST_ALLOW_AWS_REQUEST=true FIDELITY_MARK=aws_verified
  cd "$MOTO_REPO"
else
  export TEST_TARGET=AWS_CLOUD
  cd "$LOCALSTACK_REPO"
fi
exec "$FIDELITY_VENV/bin/python" -m pytest -p fidelity_plugin -p no:cacheprovider \
  -p no:localstack.testing.pytest.validation_tracking -q --no-header --tb=no -W ignore \
  --timeout "${FIDELITY_TIMEOUT:-150}" "$@"
