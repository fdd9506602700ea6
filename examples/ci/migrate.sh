#!/bin/sh
# A migration that people approve before a pipeline runs it: the file, the target and the plan are bound.
# LLMGUARD_DATA lies on the runner and survives the job, so that a job that ran out of time picks the decision up.
set -u
migration=$1
database=$2

llmguard run --action db.migrate \
  --describe "Migrate ${database##*/} with ${migration##*/}" \
  --dry-run "cat $migration" \
  --stdin "$migration" \
  --live "$database" \
  --tail 20 \
  --wait "${WAIT_SECONDS:-3000}" \
  -- sqlite3 -bail "$database"
code=$?
if [ $code -eq 75 ]; then
  echo "Still waiting for a reviewer: run this job again to pick the decision up." >&2
fi
exit $code
