//! Tests of the parser. The integration tests run the program with these options.

use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::parse_line(std::iter::once("anycast-healthchecker").chain(line.split_whitespace()).map(OsString::from))
}

#[test]
fn every_spelling_of_the_original_is_accepted() {
    let flags = |arguments: &Arguments| {
        let check = &arguments.check;
        (check.check, check.print, check.print_conf, arguments.version)
    };
    fn file(arguments: &Arguments) -> &str {
        arguments.sources.file.to_str().unwrap()
    }
    for (line, expected) in [
        ("-cp", (true, true, false, false)),
        ("-Pc", (true, false, true, false)),
        ("--che", (true, false, false, false)),
        ("--c", (true, false, false, false)),
        ("--print", (false, true, false, false)),
        ("--print-", (false, false, true, false)),
        ("--ver", (false, false, false, true)),
    ] {
        assert_eq!(flags(&parse(line).unwrap()), expected, "{line}");
    }
    for line in ["-f/x", "-f /x", "--file=/x", "--file /x", "--fil /x", "--f /x", "--fi=/x", "-cf/x"] {
        assert_eq!(file(&parse(line).unwrap()), "/x", "{line}");
    }
    assert_eq!(file(&parse("-f -c").unwrap()), "-c");
    for line in ["-d/x", "--dir /x", "--di /x", "--d /x"] {
        assert_eq!(parse(line).unwrap().sources().services, ServiceFiles::Directory("/x".into()), "{line}");
    }
    for line in ["-F/x", "--service-file /x", "--service=/x", "--s /x", "--se /x"] {
        assert_eq!(parse(line).unwrap().sources().services, ServiceFiles::File("/x".into()), "{line}");
    }
    let unset = parse("").unwrap().sources();
    assert_eq!(unset.main, PathBuf::from("/etc/anycast-healthchecker.conf"));
    assert_eq!(unset.services, ServiceFiles::Directory("/etc/anycast-healthchecker.d".into()));
}

#[test]
fn wrong_command_lines_are_refused() {
    for line in [
        "x",
        "-d",
        "--bogus",
        "-d /x -F /y",
        "--pri",
        "-c -c",
        "-f a -f b",
        "--check=1",
        "--strict",
        "--files-only",
        "--json",
        "--down",
        "--watch",
        "--run-checks",
        "-s --run-checks",
        "--doctor --down",
        "--doctor -s",
        "--doctor -c",
        "-c x",
        "-p x",
        "-v x",
        "--drain a b",
        "--for 30m",
        "--undrain a --for 30m",
        "--drain a --for 30",
        "--drain a --for 0m",
        "--drain a --for -5m",
        "--drain",
        "--drain a --undrain a",
        "--status --withdraw-all",
        "-c --withdraw-all",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn times_are_parsed() {
    for (text, seconds) in [
        ("30m", 1800),
        ("2h", 7200),
        ("1h 30m", 5400),
        ("90s", 90),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("1d 12h", 129_600),
    ] {
        assert_eq!(time(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    assert_eq!(parse("--drain-host --for 30m").unwrap().drain.duration, Some(Duration::from_secs(1800)));
    for text in ["30", "x", "", "1", "m", "1y", "1mo"] {
        assert!(time(text).unwrap_err().contains("s, m, h or d"), "{text}");
    }
}

#[test]
fn the_nearest_option_is_suggested() {
    let tip = |line: &str| {
        let mut error = parse(line).unwrap_err();
        suggest(&mut error);
        let text = error.to_string();
        text.lines().find_map(|line| Some(line.split_once("tip: ")?.1.to_string()))
    };
    let similar = |option: &str| Some(format!("a similar argument exists: '--{option}'"));
    assert_eq!(tip("--statsu"), similar("status"));
    assert_eq!(tip("--drian x"), similar("drain"));
    assert_eq!(tip("--service-flie x"), similar("service-file"));
    assert_eq!(tip("--nosuch"), Some("no option has a name like that; --help lists all of them".to_string()));
    assert_eq!(tip("-x"), None);
    assert_eq!(tip("x"), None);
    let of_files = "check_interval is set in the configuration files, see anycast-healthchecker.conf(5)";
    assert_eq!(tip("--check-interval"), Some(of_files.to_string()));
}

#[test]
fn status_accepts_service_names() {
    for line in ["-s a b", "a -s b", "--status a b", "-s --down a --watch b", "-sf /x a b", "-s --json -- a b"] {
        let arguments = parse(line).unwrap();
        assert!(arguments.status.status && arguments.services == ["a", "b"], "{line}");
    }
    let arguments = parse("-s --down --wat").unwrap();
    assert!(arguments.status.down && arguments.status.watch && arguments.services.is_empty());
    assert_eq!(parse("x").unwrap_err().to_string().lines().next(), Some("error: unexpected argument 'x' found"));
}

#[test]
fn the_doctor_takes_services() {
    for line in ["--doctor a b", "a --doctor b --json", "--doc --run -f /x a b"] {
        let arguments = parse(line).unwrap();
        assert!(arguments.status.doctor && arguments.services == ["a", "b"], "{line}");
    }
}
