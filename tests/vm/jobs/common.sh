# Sourced by jobs: checks that print one line each; the job's status is 1 if one failed.
failed=0
trap 'exit $failed' EXIT
check() { # WHAT COMMAND…
  local what=$1
  shift
  if output=$("$@" 2>&1); then echo "ok: $what"; else echo "FAILED: $what: $output" && failed=1; fi
}
same() { [ "$1" = "$2" ] || { echo "have: $1" && echo "want: $2" && return 1; }; }
in_container() { rundlet exec "$1" sh -c "$2"; }
fails() { ! "$@"; }
remove_all() { rundlet ps -aq | xargs -r rundlet rm -f >/dev/null; }
start() { rundlet run -d --name "$@" >/dev/null; }
cd /root
