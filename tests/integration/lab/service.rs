//! A service of the lab: its section in the configuration and its check script.

use std::fs;
use std::path::Path;

/// A service that is alive while the file `alive/NAME` exists. It is checked five times a second,
/// and each check decides.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) prefix: &'static str,
    options: Vec<(String, String)>,
    check: String,
}

impl Service {
    pub(crate) fn new(name: &'static str, prefix: &'static str) -> Service {
        let defaults = [
            ("ip_prefix", prefix),
            ("check_interval", "0.2"),
            ("check_timeout", "30"),
            ("check_rise", "1"),
            ("check_fail", "1"),
            ("check_disabled", "false"),
        ];
        let options = defaults.map(|(name, value)| (name.to_string(), value.to_string())).into();
        Service { name, prefix, options, check: "test -e $ALIVE".into() }
    }

    /// Sets an option. `{lab}` in the value stands for the lab's directory.
    pub(crate) fn with(mut self, option: &str, value: &str) -> Service {
        set(&mut self.options, option, value);
        self
    }

    /// Sets the check: a shell script that runs in the lab's directory, with the service's file as
    /// `$ALIVE`.
    pub(crate) fn check(mut self, script: &str) -> Service {
        self.check = script.into();
        self
    }

    /// Sets a check that exits with these codes in turn, and then always with the last one.
    pub(crate) fn results(self, codes: &[u8]) -> Service {
        let cases: String = codes.iter().enumerate().map(|(n, code)| format!("{} ) exit {code} ;;\n", n + 1)).collect();
        let last = codes.last().unwrap();
        let runs = format!("$(wc -c < runs/{})", self.name);
        self.check(&format!("case {runs} in\n{cases}* ) exit {last} ;;\nesac"))
    }

    /// Writes the section and the check, and makes the check pass.
    pub(crate) fn write(&self, lab: &Path) {
        let name = self.name;
        let check = lab.join("checks").join(name);
        // Each run appends a byte to a file, so that runs can be counted.
        let script = format!("cd {}\nALIVE=alive/{name}\nprintf . >> runs/{name}\n{}\n", lab.display(), self.check);
        fs::write(&check, script).unwrap();
        fs::write(lab.join("alive").join(name), "").unwrap();
        let mut options = self.options.clone();
        if !options.iter().any(|(option, _)| option == "check_cmd") {
            set(&mut options, "check_cmd", &format!("/bin/sh {}", check.display()));
        }
        let lines: String = options.iter().map(|(option, value)| format!("{option} = {value}\n")).collect();
        let lines = lines.replace("{lab}", &lab.display().to_string());
        fs::write(lab.join("services.d").join(format!("{name}.conf")), format!("[{name}]\n{lines}")).unwrap();
    }
}

/// Sets an option, replacing an earlier value.
pub(crate) fn set(options: &mut Vec<(String, String)>, name: &str, value: &str) {
    options.retain(|(option, _)| option != name);
    options.push((name.into(), value.into()));
}
