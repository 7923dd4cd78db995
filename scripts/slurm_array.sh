#!/usr/bin/env bash
# Run bidsapp-brainage on a Slurm cluster: one array task per participant, then the group level.
#
#   slurm_array.sh BIDS_DIR OUTPUT_DIR WORK_DIR [options of bidsapp-brainage ...]
#
# Settings, from the environment:
#   BRAINAGE      how the app is started on a node    (default: bidsapp-brainage)
#                 for example "apptainer run --cleanenv -B /data app.sif"
#   CPUS, MEM, TIME   of one participant              (default: 2, 6G, 04:00:00)
#   MAX_JOBS      participants that run at one time   (default: 50)
#   GROUP_AFTER   afterok: the group level runs only if every participant succeeded
#                 afterany: it runs on what there is  (default: afterok)
#   SBATCH_EXTRA  further options for every sbatch, for example "--account=abc --partition=long"
#   WAIT          1: return when everything has ended; the exit status is not 0 if anything failed
#
# Participants are the sub-* folders of BIDS_DIR. A participant that failed is run again by
# calling the script again: finished steps are taken from WORK_DIR.
set -euo pipefail

# ---- on a node ------------------------------------------------------------------------------
if [ "${BRAINAGE_STEP:-}" = participant ]; then
  list=$1 bids=$2 out=$3 work=$4; shift 4
  label=$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$list")
  # Slurm counts memory in MB; leave a tenth for what nipype does not count.
  memory=()
  [ -z "${SLURM_MEM_PER_NODE:-}" ] || memory=(--mem-mb "$((SLURM_MEM_PER_NODE * 9 / 10))")
  # shellcheck disable=SC2086  # BRAINAGE is a command line
  exec $BRAINAGE "$bids" "$out" participant --participant-label "$label" -w "$work" \
    --nprocs "${SLURM_CPUS_PER_TASK:-1}" "${memory[@]}" "$@"
elif [ "${BRAINAGE_STEP:-}" = group ]; then
  list=$1 bids=$2 out=$3 work=$4; shift 4
  # shellcheck disable=SC2086
  exec $BRAINAGE "$bids" "$out" group -w "$work" "$@"
fi

# ---- on the login node ------------------------------------------------------------------------
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
[ $# -ge 3 ] || usage
[ -d "$1" ] || { echo "BIDS folder $1 does not exist" >&2; exit 2; }
mkdir -p "$2" "$3/slurm"
bids=$(cd "$1" && pwd) out=$(cd "$2" && pwd) work=$(cd "$3" && pwd); shift 3
export BRAINAGE=${BRAINAGE:-bidsapp-brainage}

# Every submission has its own list: a later one must not change the labels of a running array.
list=$(mktemp "$work/slurm/participants.XXXXXX")
find "$bids" -maxdepth 1 -name 'sub-*' \( -type d -o -type l \) -printf '%f\n' | sort > "$list"
n=$(wc -l < "$list")
[ "$n" -gt 0 ] || { echo "No sub-* folder in $bids" >&2; exit 66; }

submit() { # STEP, then options of sbatch; prints the job's number
  local step=$1; shift
  # shellcheck disable=SC2086  # SBATCH_EXTRA is a list of options
  BRAINAGE_STEP=$step sbatch --parsable --kill-on-invalid-dep=yes ${SBATCH_EXTRA:-} "$@"
}
wait_option=(); [ "${WAIT:-0}" != 1 ] || wait_option=(--wait)

status=0
array=$(submit participant "${wait_option[@]}" --job-name=brainage \
  --array="1-$n%${MAX_JOBS:-50}" --cpus-per-task="${CPUS:-2}" --mem="${MEM:-6G}" \
  --time="${TIME:-04:00:00}" --output="$work/slurm/%x-%A_%a.log" \
  "$0" "$list" "$bids" "$out" "$work" "$@") || status=$?
[ -n "$array" ] || exit "$status"
array=${array%%;*}
echo "array job $array: $n participants, logs in $work/slurm"

after=${GROUP_AFTER:-afterok}
if [ "$status" != 0 ]; then # only known here when WAIT=1
  echo "at least one participant failed; its log says why" >&2
  [ "$after" = afterany ] || exit "$status"
fi
group=$(submit group "${wait_option[@]}" --job-name=brainage-group --dependency="$after:$array" \
  --cpus-per-task=1 --mem=4G --time=01:00:00 --output="$work/slurm/%x-%j.log" \
  "$0" "$list" "$bids" "$out" "$work" "$@") || status=$?
[ -z "$group" ] || echo "group job ${group%%;*}"
exit "$status"
