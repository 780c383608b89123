#!/bin/bash
# The whole score: score.sh LOCALSTACK MOTO PYTHON, checked-out repositories and a Python that has awslabs.
# Makes docs/fidelity.md of runs against the practice cloud, plain moto and MiniStack: hours on two cores.
# Needs Python 3.13 (PYTHON313, for LocalStack's helpers) and PyPI. FIDELITY_WORK keeps virtualenvs and results.
# The services as arguments of FIDELITY_ONLY="logs iam" run these alone; results of earlier runs are kept.
set -euo pipefail
LOCALSTACK_REPO=$(realpath "$1") moto_repo=$(realpath "$2") AWSLABS=$3
here=$(cd "$(dirname "$0")" && pwd)
work=$(realpath -m "${FIDELITY_WORK:-.fidelity}")
FIDELITY_VENV=$work/venv FIDELITY_RESULTS=$work/results
export LOCALSTACK_REPO AWSLABS FIDELITY_VENV FIDELITY_RESULTS
mkdir -p "$work"
[ -d "$FIDELITY_VENV" ] || PYTHON=${PYTHON313:-python3.13} "$here/setup.sh" "$FIDELITY_VENV"
if [ ! -d "$work/ministack" ]; then
  "$AWSLABS" -m venv "$work/ministack"
  "$work/ministack/bin/pip" install -q ministack
fi

weather() { "$AWSLABS" -m awslabs.sandbox start --stale 0 --slow-states "$1"; }
weather 0.2 # the records are of fine weather; what takes time is as much shorter as the sleeps of the tests
"$AWSLABS" -m moto.server -p 5701 >"$work/moto.log" 2>&1 &
moto=$!
GATEWAY_PORT=5702 "$work/ministack/bin/ministack" >"$work/ministack.log" 2>&1 &
ministack=$!
trap 'kill $moto $ministack; "$AWSLABS" -m awslabs.sandbox stop' EXIT
until curl -sf -X POST -d '{"lambda":{"use_docker":false},"iam":{"load_aws_managed_policies":true}}' \
  http://127.0.0.1:5701/moto-api/config >/dev/null; do sleep 1; done
until curl -sf http://127.0.0.1:5702/_ministack/health >/dev/null; do sleep 1; done

S=tests/aws/services
run() { # NAME, pytest's arguments; a red test is no failure of ours
  local name=$1
  shift
  [[ " ${FIDELITY_ONLY:-$name} " == *" $name "* ]] || return 0
  for target in sandbox moto ministack; do
    ENDPOINT=http://127.0.0.1:$([ $target = moto ] && echo 5701 || echo 5702) \
      "$here/run.sh" $target "$name" -- "$@" || true
  done
}
run lambda -n 2 $S/lambda_/test_lambda.py $S/lambda_/test_lambda_api.py $S/lambda_/test_lambda_destinations.py
# Passed with two clients of one account: of two it needs a policy, as those of another account's functions do.
FIDELITY_SECOND=own run lambda_own -n 1 \
  $S/lambda_/test_lambda_api.py::TestPartialARNMatching::test_cross_region_arn_function_access
weather 0 # the control plane takes few calls a minute, and the tests wait for none
run apigw -n 2 $S/apigateway/test_apigateway_{api,basic,common,extended,http,import,integrations,lambda}.py
weather 0.2
FIDELITY_SLEEP=1 run s3 -n 2 $S/s3/test_s3.py $S/s3/test_s3_{api,cors,list_operations,preconditions}.py
run iam $S/iam/test_iam.py # no -n: its parameters have random names
run ddb $S/dynamodb
run logs -n 2 $S/logs/test_logs_{groups,streams,events,filter_events,resource_policies}.py
run small $S/sts $S/ec2 $S/ssm
FIDELITY_SLEEP=1 run sqs -n 2 $S/sqs/test_sqs.py
FIDELITY_SLEEP=1 MOTO_REPO=$moto_repo run moto -n 2 tests/test_{dynamodb,s3,ec2,iam,logs,sqs,ssm,awslambda}
"$AWSLABS" "$here/report.py" "$FIDELITY_RESULTS" "$LOCALSTACK_REPO" "$moto_repo" >docs/fidelity.md
