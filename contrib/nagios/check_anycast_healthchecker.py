#!/bin/sh
# The name under which existing NRPE configurations call the plugin, also through a link. It is no Python.
exec "$(dirname "$(readlink -f "$0")")/check_anycast_healthchecker" "$@"
