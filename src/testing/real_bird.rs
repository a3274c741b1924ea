//! For tests: real BIRDs, the one that is installed, 3 and 1.6.8, each with a configuration in a directory of its own and
//! without any protocol that touches the machine.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::prefix::{Family, Prefix};
use crate::testing::isolated::{skipped, this_program};

/// The constant's name.
pub(crate) const VARIABLE: &str = "ACAST_PS_ADVERTISE";

/// A BIRD and its client, not started.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) bird: PathBuf,
    pub(crate) birdc: PathBuf,
    pub(crate) family: Family,
    /// Version 2 or later, which has channels.
    pub(crate) modern: bool,
}

impl Programs {
    /// The installed BIRD 2 or 3; none where there is none, which is said loudly.
    pub(crate) fn installed() -> Option<Programs> {
        let [bird, birdc] = ["/usr/sbin/bird", "/usr/sbin/birdc"].map(PathBuf::from);
        if !bird.exists() || !birdc.exists() {
            skipped(format_args!("with BIRD 2: /usr/sbin/bird or /usr/sbin/birdc is not installed (package bird2)"));
            return None;
        }
        Some(Programs { bird, birdc, family: Family::V4, modern: true })
    }

    /// The installed BIRD, 3 where `tests/ci/birds` has fetched it, and bird and bird6 of version 1.6 from Debian's package,
    /// as far as they are to be had.
    pub(crate) fn all() -> Vec<Programs> {
        static OLD: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let installed = Programs::installed();
        // The client of BIRD 2 speaks to 3 as well.
        let bird = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/birds/bird3");
        let third = installed.clone().filter(|_| bird.exists()).map(|programs| Programs { bird, ..programs });
        if third.is_none() {
            skipped(format_args!("with BIRD 3: it is not in target/birds (tests/ci/birds fetches it)"));
        }
        let mut all: Vec<Programs> = installed.into_iter().chain(third).collect();
        match OLD.get_or_init(old) {
            Ok(dir) => all.extend([("bird", "birdc", Family::V4), ("bird6", "birdc6", Family::V6)].map(
                |(bird, birdc, family)| Programs {
                    bird: dir.join(bird),
                    birdc: dir.join(birdc),
                    family,
                    modern: false,
                },
            )),
            Err(why) => skipped(format_args!("with BIRD 1.6: Debian's package bird cannot be unpacked: {why}")),
        }
        all
    }
}

/// Unpacks Debian's package beside the test program, where the next run finds it.
#[expect(clippy::disallowed_methods, reason = "the real thing")]
fn old() -> Result<PathBuf, String> {
    let beside = this_program().parent().unwrap().to_path_buf();
    let kept = beside.join("bird-1.6");
    if !kept.join("usr/sbin/bird").exists() {
        let dir = tempfile::tempdir_in(&beside).map_err(|why| why.to_string())?;
        let script = "apt-get download bird && dpkg -x bird_1.6*.deb unpacked";
        let output = Command::new("sh").args(["-c", script]).current_dir(dir.path()).stdin(Stdio::null()).output();
        let output = output.map_err(|why| why.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        // Another test program may have been quicker.
        let _ = fs::rename(dir.path().join("unpacked"), &kept);
    }
    Ok(kept.join("usr/sbin"))
}

/// One that runs.
pub(crate) struct RealBird {
    process: Option<Child>,
    programs: Programs,
    directory: tempfile::TempDir,
}

impl RealBird {
    pub(crate) fn start(programs: &Programs, list: &str) -> RealBird {
        let directory = tempfile::tempdir().unwrap();
        let mut bird = RealBird { directory, process: None, programs: programs.clone() };
        let direct = "protocol direct { ipv4 { import where net ~ ACAST_PS_ADVERTISE; }; }\n";
        bird.conf(&format!(
            "include \"{}\";\n{}",
            bird.at("list.conf").display(),
            ["", direct][usize::from(programs.modern)]
        ));
        bird.list(list);
        bird.restart();
        bird
    }

    /// Starts it, again where it runs.
    #[expect(clippy::disallowed_methods, reason = "this is the other side")]
    pub(crate) fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(&self.programs.bird);
        command.arg("-f").arg("-c").arg(self.at("bird.conf")).arg("-s").arg(self.socket());
        command.stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        // It listens before it reads its files, and greets when it has read them.
        self.wait_until("BIRD answers", || {
            UnixStream::connect(self.socket()).is_ok_and(|mut stream| stream.read_exact(&mut [0]).is_ok())
        });
    }

    /// Ends it, and leaves its socket.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.at("bird.ctl")
    }

    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let bound = Instant::now() + Duration::from_secs(30);
        while !condition() {
            assert!(Instant::now() < bound, "{what}: not within 30 seconds");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes its main file, with what every one needs before it.
    #[expect(clippy::disallowed_methods, reason = "a sandbox")]
    pub(crate) fn conf(&self, rest: &str) {
        fs::write(self.at("bird.conf"), format!("log stderr all;\nrouter id 10.99.0.1;\nprotocol device {{}}\n{rest}"))
            .unwrap();
    }

    /// Writes the list's file.
    #[expect(clippy::disallowed_methods, reason = "a sandbox")]
    pub(crate) fn list(&self, text: &str) {
        fs::write(self.at("list.conf"), text).unwrap();
    }

    /// Writes the list's file, listing these.
    pub(crate) fn lists(&self, prefixes: &[Prefix]) {
        let prefixes: Vec<String> = prefixes.iter().map(Prefix::to_string).collect();
        self.list(&format!("define {VARIABLE} = [ {} ];\n", prefixes.join(", ")));
    }

    /// A command line of its client.
    pub(crate) fn birdc(&self, options: &str) -> String {
        format!("{} {options} -s {} configure", self.programs.birdc.display(), self.socket().display())
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.process.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// A text without the directory's name.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&self.directory.path().display().to_string(), "DIR")
    }
}

impl Drop for RealBird {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Prefixes of `family`, different ones for different numbers.
pub(crate) fn prefixes(family: Family, numbers: std::ops::Range<u32>) -> Vec<Prefix> {
    let text = |n: u32| match family {
        Family::V4 => std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string(),
        Family::V6 => format!("2001:db8:1111:2222:3333:4444:{:x}:{:x}", n >> 16, n & 0xffff),
    };
    numbers.map(|n| text(n).parse().unwrap()).collect()
}
