function __anycast_healthchecker_services
    set -l main /etc/anycast-healthchecker.conf
    set -l services /etc/anycast-healthchecker.d
    set -l option
    for word in (commandline -opc | string replace -r '^(--[a-z-]+)=' '$1\n' | string split \n)
        switch $option
            case -f --file
                set main $word
            case -d --dir -F --service-file
                set services $word
        end
        set option $word
    end
    test -d $services; and set services $services/*.conf
    sed -n 's/^\[\(.*\)\].*/\1/p' $main $services 2> /dev/null | string match -v -r '^(DEFAULT|daemon)$' | sort -u
end

complete -c anycast-healthchecker -s f -l file -d 'Read settings from this file' -r -F
complete -c anycast-healthchecker -s d -l dir -d 'Read the services from the *.conf files in this directory' -r -F
complete -c anycast-healthchecker -s F -l service-file -d 'Read the services from this file' -r -F
complete -c anycast-healthchecker -l drain -d 'Withdraw a service through its drain_file' -r -f -a '(__anycast_healthchecker_services)'
complete -c anycast-healthchecker -l for -d 'With --drain or --drain-host: end the drain after this time, in s, m, h or d: 30m, 2h, 1d 12h' -r -f -a '10m 30m 1h 2h 8h 24h'
complete -c anycast-healthchecker -l undrain -d 'End the drain of a service' -r -f -a '(__anycast_healthchecker_services)'
complete -c anycast-healthchecker -s c -l check -d 'Check the configuration and this machine; print OK or all problems'
complete -c anycast-healthchecker -s p -l print -d 'Show the default settings'
complete -c anycast-healthchecker -s P -l print-conf -d 'Show the settings in use, defaults included'
complete -c anycast-healthchecker -l strict -d 'With --check: treat warnings as errors'
complete -c anycast-healthchecker -l files-only -d 'With --check: check the files only, not this machine'
complete -c anycast-healthchecker -s s -l status -d 'Show the status of the running daemon, problems first; the exit code is about all services'
complete -c anycast-healthchecker -l doctor -d 'Examine everything that keeps a healthy service from being announced; change nothing'
complete -c anycast-healthchecker -l json -d 'With --status or --doctor: print a JSON document, for scripts'
complete -c anycast-healthchecker -l run-checks -d 'With --doctor: run each check command once'
complete -c anycast-healthchecker -l down -d 'With --status: omit services that are up, drained or disabled'
complete -c anycast-healthchecker -l watch -d 'With --status: repeat every second until interrupted'
complete -c anycast-healthchecker -l drain-host -d 'Withdraw all services through the drain_file of [daemon]'
complete -c anycast-healthchecker -l undrain-host -d 'End the drain of all services'
complete -c anycast-healthchecker -l withdraw-all -d 'Remove every configured prefix from BIRD\'s lists while no daemon runs'
complete -c anycast-healthchecker -s v -l version -d 'Show the version'
complete -c anycast-healthchecker -s h -l help -d 'Print help'
complete -c anycast-healthchecker -n '__fish_contains_opt -s s status doctor' -f -a '(__anycast_healthchecker_services)'
