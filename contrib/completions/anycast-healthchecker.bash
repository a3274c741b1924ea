_anycast__healthchecker_services() {
    local main=/etc/anycast-healthchecker.conf services=/etc/anycast-healthchecker.d n value name
    for ((n = 1; n < COMP_CWORD - 1; n++)); do
        value=${COMP_WORDS[n + 1]}
        [[ ${value} == = ]] && value=${COMP_WORDS[n + 2]}
        case ${COMP_WORDS[n]} in
            -f | --file) main=${value} ;;
            -d | --dir | -F | --service-file) services=${value} ;;
        esac
    done
    [[ -d ${services} ]] && services=${services}/*.conf
    COMPREPLY=()
    while IFS= read -r name; do
        if [[ ${name} == "${cur}"* ]]; then
            COMPREPLY+=("$(printf %q "${name}")")
        fi
    done < <(IFS=; sed -n 's/^\[\(.*\)\].*/\1/p' "${main}" ${services} 2> /dev/null | grep -vxE 'DEFAULT|daemon' | sort -u)
}

_anycast__healthchecker() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="anycast__healthchecker"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        anycast__healthchecker)
            opts="-f -d -F -c -p -P -s -v -h --file --dir --service-file --check --print --print-conf --strict --files-only --status --doctor --json --run-checks --down --watch --drain --for --undrain --drain-host --undrain-host --withdraw-all --version --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -f)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -d)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --service-file)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -F)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --drain)
                    _anycast__healthchecker_services
                    return 0
                    ;;
                --for)
                    COMPREPLY=($(compgen -W "10m 30m 1h 2h 8h 24h" -- "${cur}"))
                    return 0
                    ;;
                --undrain)
                    _anycast__healthchecker_services
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            if [[ " ${COMP_WORDS[*]} " == *" -s "* || " ${COMP_WORDS[*]} " == *" --status "* || " ${COMP_WORDS[*]} " == *" --doctor "* ]]; then
                _anycast__healthchecker_services
                return 0
            fi
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
    esac
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _anycast__healthchecker -o nosort -o bashdefault -o default anycast-healthchecker
else
    complete -F _anycast__healthchecker -o bashdefault -o default anycast-healthchecker
fi
