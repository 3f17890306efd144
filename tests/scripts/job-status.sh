#!/usr/bin/env bash
# Plays a service that reports the status of its jobs, and checks each answer. It needs curl alone.
#
#   API=http://localhost:5001/api/v1 SECRET=the-secret-of-the-source tests/scripts/job-status.sh
#
# SOURCE is the source's id, job-status when not given. With KEY, an API key that may read jobs, it also asks what the jobs are
# in the end. It prints a line for each check, and exits with 1 if one has failed.
set -u

: "${API:?the address of the API, as http://localhost:5001/api/v1}"
: "${SECRET:?the secret of the source}"
SOURCE=${SOURCE:-job-status}
# Each run has jobs of its own: those before have ended for ever.
RUN="run_$(date +%s)_$$"
NOW=$(date +%s)
failures=0

# curl reads what is secret from its standard input: arguments are seen by all who may list processes.
ask() {
  local header=$1
  shift
  printf 'header = "%s"\n' "$header" | curl -sS -m 20 --config - -w '\n%{http_code}' "$@"
}

send() {
  ask "X-Webhook-Secret: $SECRET" "$API/webhooks/$SOURCE" -H "Content-Type: application/json" --data-binary "$1"
}

# check NAME STATUS ANSWER PART...: the status, and what the answer must contain.
check() {
  local name=$1 status=$2 answer=$3 missing="" part
  shift 3
  [ "${answer##*$'\n'}" = "$status" ] || missing=" status $status"
  for part in "$@"; do
    case $answer in
      *"$part"*) ;;
      *) missing="$missing $part" ;;
    esac
  done
  if [ -z "$missing" ]; then
    echo "ok     $name"
  else
    echo "FAILED $name: expected$missing, answered $answer"
    failures=$((failures + 1))
  fi
}

update() {
  printf '{"job_id": "%s", "status": "%s", "timestamp": %s%s}' "$@"
}

done_job="${RUN}_done"
failed_job="${RUN}_failed"
result=', "data": {"images": [{"url": "https://images.example/1.png"}], "metadata": {"seed": 7}}'

at=$NOW
for status in pending initializing generating saving; do
  check "intermediate: $status" 200 "$(send "$(update "$done_job" $status $at "")")" \
    '"status":"accepted"' "\"job_status\":\"$status\"" '"duplicate":false'
  at=$((at + 1))
done
completed=$(update "$done_job" completed $at "$result")
check "completed" 200 "$(send "$completed")" '"status":"accepted"' '"job_status":"completed"' '"duplicate":false'
check "repeated" 200 "$(send "$completed")" '"status":"accepted"' '"job_status":"completed"' '"duplicate":true'
check "intermediate after the end" 200 "$(send "$(update "$done_job" generating $((at + 1)) "")")" \
  '"status":"stale"' '"job_status":"completed"'
check "failed after the end" 200 "$(send "$(update "$done_job" failed $((at + 2)) ', "error_message": "too late"')")" \
  '"status":"stale"' '"job_status":"completed"'
check "failed" 200 "$(send "$(update "$failed_job" failed "$NOW" ', "error_message": "out of memory"')")" \
  '"status":"accepted"' '"job_status":"failed"' '"duplicate":false'

invalid='"code":"invalid_job_status"'
check "invalid: unknown status" 400 "$(send "$(update "$done_job" finished "$NOW" "")")" "$invalid" '"/status"'
check "invalid: no job" 400 "$(send '{"status": "pending", "timestamp": 1763769600}')" "$invalid" '"/job_id"'
check "invalid: no time" 400 "$(send "{\"job_id\": \"$RUN\", \"status\": \"pending\"}")" "$invalid" '"/timestamp"'
check "invalid: completed without data" 400 "$(send "$(update "$RUN" completed "$NOW" "")")" "$invalid" '"/data"'
check "invalid: failed without a message" 400 "$(send "$(update "$RUN" failed "$NOW" "")")" "$invalid" '"/error_message"'
check "invalid: no JSON" 400 "$(send '{"job_id": ')" "$invalid"
right=$SECRET
SECRET="not-$right"
check "invalid: another secret" 401 "$(send "$completed")" '"code":"unauthorized"'
SECRET=$right

if [ -n "${KEY:-}" ]; then
  check "the completed job" 200 "$(ask "X-API-Key: $KEY" "$API/jobs/$done_job?source=$SOURCE")" \
    '"status":"completed"' '"progress":100' '"metadata":{"seed":7}' '"outcome":"stands"' '"outcome":"stale"'
  check "the failed job" 200 "$(ask "X-API-Key: $KEY" "$API/jobs/$failed_job?source=$SOURCE")" \
    '"status":"failed"' '"error":"out of memory"' '"progress":null'
fi

[ "$failures" -eq 0 ]
