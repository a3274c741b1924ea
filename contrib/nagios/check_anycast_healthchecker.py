#!/bin/sh
# The name under which existing NRPE configurations call the plugin. It is no Python.
exec "$(dirname "$0")/check_anycast_healthchecker" "$@"
