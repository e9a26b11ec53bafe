#!/usr/bin/env bash
# Checks the subjects of commits: in the form of conventional commits, at most 72 characters, no full stop.
#
#   tools/commit-msg.sh FILE            checks the message in a file, as git's hook commit-msg does
#   tools/commit-msg.sh --since [BASE]  checks the commits after BASE; without it, those after the latest
#                                       release or, before the first one, those after the rule was made
set -euo pipefail
export LC_ALL=C.UTF-8 # Characters are counted, not bytes.

# The last commit to which the rule does not apply yet.
FIRST_BASE=1bda91bc50a5b8f1257b8a15d4523926e2c8296f
LIMIT=72
TYPES='feat|fix|perf|docs|test|build|ci|refactor|style|chore'

# Prints the faults of a subject and of the line after it.
faults() {
    local subject=$1 second=$2
    case $subject in 'Merge '* | 'Revert "'*) return ;; esac
    [[ $subject =~ ^($TYPES)(\([a-z0-9-]+\))?!?:\ [^[:space:]] ]] ||
        echo "does not begin with one of ${TYPES//|/, }, a colon and a space"
    [ ${#subject} -le $LIMIT ] || echo "has ${#subject} characters; at most $LIMIT are allowed"
    [[ $subject != *. ]] || echo "ends with a full stop"
    [ -z "$second" ] || echo "is not followed by an empty line"
}

complain() {
    local where=$1 subject=$2 found=$3
    printf '%s: "%s"\n' "$where" "$subject" >&2
    printf '%s\n' "$found" | sed 's/^/    /' >&2
}

check_file() {
    local lines subject second found
    # Comments, and the lines below git's scissors, are not part of the message.
    mapfile -t lines < <(sed '/^# -* >8 -*$/,$d' "$1" | grep -v '^#' | sed '/./,$!d')
    subject=${lines[0]-} second=${lines[1]-}
    case $subject in 'fixup! '* | 'squash! '* | 'amend! '*) return ;; esac
    found=$(faults "$subject" "$second")
    [ -z "$found" ] || { complain "the subject" "$subject" "$found"; return 1; }
}

check_commits() {
    local given=$1 base count=0 status=0 commit subject second found
    base=${given:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || echo "$FIRST_BASE")}
    if ! git merge-base --is-ancestor "$base" HEAD 2>/dev/null; then
        if [ -n "$given" ]; then
            echo "$base is no commit before HEAD: name an ancestor of HEAD" >&2
            return 1
        fi
        echo "subjects of commits NOT CHECKED: the history does not reach back to $base"
        return
    fi
    for commit in $(git rev-list --no-merges "$base..HEAD"); do
        { read -r subject && read -r second || true; } < <(git log -1 --format=%B "$commit")
        found=$(faults "$subject" "${second-}")
        count=$((count + 1))
        [ -z "$found" ] || { complain "${commit:0:10}" "$subject" "$found"; status=1; }
    done
    [ $status != 0 ] || echo "the subjects of $count commits are as they should be"
    return $status
}

case ${1-} in
    --since) check_commits "${2-}" ;;
    '' | -*) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    *) check_file "$1" ;;
esac
