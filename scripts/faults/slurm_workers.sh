#!/usr/bin/env bash
# Try --cluster slurm where sbatch exists: 16 scans on two workers, of which one is killed in the
# middle while the node is drained; then compare the derivatives with those of a plain run.
#
#   slurm_workers.sh FOLDER [options of bidsapp-brainage ...]
#
# FOLDER must be seen by all nodes. What lies in it already is used: a data set in FOLDER/bids
# instead of synthetic people, and what an earlier call has computed in FOLDER/plain.
# Settings, from the environment:
#   BRAINAGE   how the app is started             (default: bidsapp-brainage)
#   PYTHON     that has the app, for the data set (default: python)
#   NODE       node to drain and resume; needs the rights of an operator (default: none is drained)
#   CLUSTER    value of --cluster                 (default: slurm)
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
mkdir -p "$1"; folder=$(cd "$1" && pwd); shift
read -ra app <<< "${BRAINAGE:-bidsapp-brainage}"
cd "$folder"

[ -d bids ] || "${PYTHON:-python}" - <<'PY'
import shutil
from pathlib import Path

from bidsapp_brainage.demo.sample import Person, Scan, write_sample

write_sample(Path("two"), people=(
    Person("01", "F", (Scan(30.0, 30, (2.5, 2.5, 2.5), "LAS", tilt=(4, -3, 5)),)),
    Person("02", "M", (Scan(60.0, 60, (2.5, 2.5, 2.5), "RAS"),)),
))
rows = ["participant_id\tage\tsex"]
for number in range(1, 17):
    like, label = f"sub-{2 - number % 2:02d}", f"sub-{number:02d}"
    (Path("bids") / label / "anat").mkdir(parents=True)
    for path in (Path("two") / like / "anat").iterdir():
        shutil.copy(path, Path("bids") / label / "anat" / path.name.replace(like, label))
    rows.append(f"{label}\t{60 if number % 2 == 0 else 30}\t{'M' if number % 2 == 0 else 'F'}")
shutil.copy("two/dataset_description.json", "bids")
Path("bids/participants.tsv").write_text("\n".join(rows) + "\n")
PY

run() { # OUTPUT, then options
  local out=$1; shift
  "${app[@]}" bids "$out" participant group -w "work_$out" --sloppy --level minimal --device cpu \
    --skip-bids-validation "$@"
}
said() { grep -c "^[0-9:]* INFO: \[.*done in" dealt.log || true; }
until_done() { # so many scans, while the run lasts
  while [ "$(said)" -lt "$1" ]; do kill -0 "$front" 2>/dev/null || return 0; sleep 1; done
}
newest_job() { squeue -h --me -n brainage -t R -o %i | sort -n | tail -n 1; }
kill_job() { echo "killing job $1"; scancel --signal=KILL --full "$1"; }

[ -f plain/group_done ] || { run plain "$@"; touch plain/group_done; }

rm -rf dealt work_dealt
run dealt --cluster "${CLUSTER:-slurm}" --cluster-workers 2 "$@" > dealt.log 2>&1 &
front=$!
until_done 3
kill_job "$(newest_job)"
until_done 6
if [ -n "${NODE:-}" ]; then
  echo "draining $NODE"
  scontrol update "NodeName=$NODE" State=DRAIN Reason=try
fi
kill_job "$(newest_job)" # its successor must wait for the node
until_done 9
squeue -h --me -n brainage -o '%i %T %r'
[ -z "${NODE:-}" ] || scontrol update "NodeName=$NODE" State=RESUME
status=0; wait "$front" || status=$?
tail -n 25 dealt.log
[ "$status" = 0 ] || { echo "the run ended with $status" >&2; exit 1; }
sleep 5
left=$(squeue -h --me -n brainage) # jobs that nobody needs
[ -z "$left" ] || { echo "left in the queue: $left" >&2; exit 1; }

# All but logs, and pages and numbers that tell when, how long and by which run, has the same bytes.
files() { (cd "$1" && find . -type f ! -path './logs/*' ! -path '*/log/*' ! -name '*.html' \
  ! -name group_done -print0 | sort -z | xargs -0 sha256sum); }
diff <(files plain) <(files dealt)
echo "identical: $(files dealt | wc -l) files"
