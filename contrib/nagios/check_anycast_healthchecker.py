#!/bin/sh
# The name of the plugin in existing NRPE configurations. It also works through a link, and is not
# Python.
exec "$(dirname "$(readlink -f "$0")")/check_anycast_healthchecker" "$@"
