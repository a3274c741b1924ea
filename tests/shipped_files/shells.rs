//! Shell scripts, completions, and the plugin under its old name.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use super::{accepts, is_installed, read_by, root, tool, Reader};

#[test]
fn shells_accept_the_scripts_and_completions() {
    let tools = [
        (Reader::Shell, "sh", "dash"),
        (Reader::Bash, "bash", "bash"),
        (Reader::Zsh, "zsh", "zsh"),
        (Reader::Fish, "fish", "fish"),
    ];
    for (reader, shell, package) in tools {
        for path in read_by(reader) {
            if is_installed(Path::new(shell), "-c:", package) {
                accepts(tool(shell).arg("-n").arg(root().join(path)));
            }
        }
    }
}

/// Completions for services and durations, from files with one error each.
#[test]
fn completions_offer_services_and_durations() {
    let sandbox = TempDir::new().unwrap();
    let (main, services) = (sandbox.path().join("main.conf"), sandbox.path().join("services"));
    fs::create_dir(&services).unwrap();
    fs::write(&main, "[DEFAULT]\ncheck_fall = 1\n[daemon]\n[in main]\nthis is no option\n").unwrap();
    fs::write(services.join("a.conf"), "[www.a]\n[www.b] ; two\ncheck_cmd = [no]\n  [no]\n").unwrap();
    fs::write(services.join("b.conf"), "[$(touch ran)]\n").unwrap();
    fs::write(services.join("c.txt"), "[no]\n").unwrap();
    let check = |shell: &str, script: &str, expected: &str| {
        if is_installed(Path::new(shell), "-c:", shell) {
            let mut shell = tool(shell);
            shell.current_dir(sandbox.path()).env("FILES", root().join("contrib/completions"));
            assert_eq!(accepts(shell.args(["-c", script])), expected, "{script}");
            assert!(!sandbox.path().join("ran").exists());
        }
    };
    let bash = |words: &str, expected: &str| {
        let script = format!(
            "source $FILES/anycast-healthchecker.bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
             _anycast__healthchecker anycast-healthchecker \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        check("bash", &script, expected);
    };
    bash(
        "anycast-healthchecker -f main.conf -d services --drain ''",
        "\\$\\(touch\\ ran\\)\nin\\ main\nwww.a\nwww.b\n",
    );
    bash("anycast-healthchecker --file = main.conf --dir = services --undrain www", "www.a\nwww.b\n");
    bash("anycast-healthchecker -f main.conf -F services/a.conf --drain ''", "in\\ main\nwww.a\nwww.b\n");
    bash("anycast-healthchecker --drain a --for 1", "10m\n1h\n");
    bash("anycast-healthchecker -f main.conf -d services -s --down www.b w", "www.a\nwww.b\n");
    bash("anycast-healthchecker -s --d", "--dir\n--doctor\n--down\n--drain\n--drain-host\n");

    let fish = |line: &str, expected: &str| {
        let script =
            format!("source $FILES/anycast-healthchecker.fish; complete -C 'anycast-healthchecker {line}' | cut -f1");
        check("fish", &script, expected);
    };
    fish("-f main.conf -d services --drain ", "$(touch ran)\nin main\nwww.a\nwww.b\n");
    fish("--file=main.conf --dir=services --undrain www", "www.a\nwww.b\n");
    fish("-f main.conf -F services/a.conf --drain ", "in main\nwww.a\nwww.b\n");
    fish("--drain a --for 1", "10m\n1h\n");
    fish("-f main.conf -d services -s www", "www.a\nwww.b\n");
    fish("-f main.conf -d services www", "");

    // zsh completes only on a terminal, so the test calls our function.
    let zsh = |options: &str, expected: &str| {
        let script = format!(
            "_wanted() {{ print -l $names }}; compdef() {{ }}; source $FILES/_anycast-healthchecker
             typeset -A opt_args; opt_args=({options}); _anycast-healthchecker_services"
        );
        check("zsh", &script, expected);
    };
    zsh("-f main.conf -d services", "$(touch ran)\nin main\nwww.a\nwww.b\n");
    zsh("--file main.conf --service-file services/a.conf", "in main\nwww.a\nwww.b\n");
}

/// NRPE's configuration may contain a link to the plugin's old name, which is installed beside the
/// plugin.
#[test]
fn the_old_name_of_the_plugin_works_through_a_link() {
    let sandbox = TempDir::new().unwrap();
    let plugins = sandbox.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_check_anycast_healthchecker"), plugins.join("check_anycast_healthchecker")).unwrap();
    let script = plugins.join("check_anycast_healthchecker.py");
    fs::copy(root().join("contrib/nagios/check_anycast_healthchecker.py"), &script).unwrap();
    std::os::unix::fs::symlink("plugins/check_anycast_healthchecker.py", sandbox.path().join("link")).unwrap();
    let link = sandbox.path().join("link");
    for mut command in [tool(&script), tool(&link), tool("sh")] {
        if command.get_program() == "sh" {
            command.arg("link").current_dir(sandbox.path());
        }
        let output = command.arg("--version").stdin(Stdio::null()).output().unwrap();
        let output = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.starts_with("check_anycast_healthchecker "), "{command:?}: {output}");
    }
}
