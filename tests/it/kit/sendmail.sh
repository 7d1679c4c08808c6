#!/bin/sh
# A mail program for tests. It keeps its arguments, environment and input beside the link it was called by, and then
# does what the file `act` there says.
here=${0%/*}
printf '%s\n' "$@" >"$here/arguments"
env >"$here/environment"
cat >"$here/message"
. "$here/act"
