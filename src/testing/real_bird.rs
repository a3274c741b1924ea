//! Runs real BIRDs for tests: the installed one, BIRD 3 and BIRD 1.6.8. Each has its configuration
//! in a temporary directory, without any protocol that changes the machine.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::prefix::{Family, Prefix};
use crate::testing::isolated::{skipped, this_program};

/// The name of the constant.
pub(crate) const VARIABLE: &str = "ACAST_PS_ADVERTISE";

/// The programs of one BIRD and its client.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) bird: PathBuf,
    pub(crate) birdc: PathBuf,
    pub(crate) family: Family,
    /// Version 2 or later, which has channels.
    pub(crate) modern: bool,
}

impl Programs {
    /// The installed BIRD 2 or 3. If there is none, reports that tests are skipped.
    pub(crate) fn installed() -> Option<Programs> {
        let [bird, birdc] = ["/usr/sbin/bird", "/usr/sbin/birdc"].map(PathBuf::from);
        if !bird.exists() || !birdc.exists() {
            skipped(format_args!("with BIRD 2: /usr/sbin/bird or /usr/sbin/birdc is not installed (package bird2)"));
            return None;
        }
        Some(Programs { bird, birdc, family: Family::V4, modern: true })
    }

    /// All available BIRDs: the installed one, BIRD 3 if `tests/ci/birds` has fetched it, and bird
    /// and bird6 of version 1.6 from Debian's package.
    pub(crate) fn all() -> Vec<Programs> {
        static BIRD_1_6: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let installed = Programs::installed();
        // The client of BIRD 2 works with BIRD 3 too.
        let bird = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/birds/bird3");
        let bird3 = installed.clone().filter(|_| bird.exists()).map(|programs| Programs { bird, ..programs });
        if bird3.is_none() {
            skipped(format_args!("with BIRD 3: it is not in target/birds (tests/ci/birds fetches it)"));
        }
        let mut all: Vec<Programs> = installed.into_iter().chain(bird3).collect();
        match BIRD_1_6.get_or_init(unpack_bird_1_6) {
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

/// Unpacks Debian's package of BIRD 1.6 beside the test program, where the next run finds it.
/// Returns the directory of its programs.
#[expect(clippy::disallowed_methods, reason = "this prepares a test")]
fn unpack_bird_1_6() -> Result<PathBuf, String> {
    let parent = this_program().parent().unwrap().to_path_buf();
    let unpacked = parent.join("bird-1.6");
    if !unpacked.join("usr/sbin/bird").exists() {
        let dir = tempfile::tempdir_in(&parent).map_err(|why| why.to_string())?;
        let script = "apt-get download bird && dpkg -x bird_1.6*.deb unpacked";
        let output = Command::new("sh").args(["-c", script]).current_dir(dir.path()).stdin(Stdio::null()).output();
        let output = output.map_err(|why| why.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        // This fails if another test program was quicker.
        let _ = fs::rename(dir.path().join("unpacked"), &unpacked);
    }
    Ok(unpacked.join("usr/sbin"))
}

/// A running BIRD.
pub(crate) struct RealBird {
    process: Option<Child>,
    programs: Programs,
    directory: tempfile::TempDir,
}

impl RealBird {
    /// Starts BIRD with this text in the list's file.
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

    /// Starts BIRD again.
    #[expect(clippy::disallowed_methods, reason = "this prepares a test")]
    pub(crate) fn restart(&mut self) {
        self.kill();
        let mut command = Command::new(&self.programs.bird);
        command.arg("-f").arg("-c").arg(self.at("bird.conf")).arg("-s").arg(self.socket());
        command.stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        // BIRD listens before it reads its files, and sends the greeting after that.
        self.wait_until("BIRD answers", || {
            UnixStream::connect(self.socket()).is_ok_and(|mut stream| stream.read_exact(&mut [0]).is_ok())
        });
    }

    /// Kills BIRD, which leaves its socket.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// The path of a file in the directory.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The path of the control socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.at("bird.ctl")
    }

    /// Waits until `condition` holds, at most 30 seconds.
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition() {
            assert!(Instant::now() < deadline, "{what}: not within 30 seconds");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes the main configuration file: the common lines, then `rest`.
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

    /// Writes the list's file with these prefixes.
    pub(crate) fn lists(&self, prefixes: &[Prefix]) {
        let prefixes: Vec<String> = prefixes.iter().map(Prefix::to_string).collect();
        self.list(&format!("define {VARIABLE} = [ {} ];\n", prefixes.join(", ")));
    }

    /// The client's command line for `configure`.
    pub(crate) fn birdc(&self, options: &str) -> String {
        format!("{} {options} -s {} configure", self.programs.birdc.display(), self.socket().display())
    }

    /// Sends a signal to BIRD.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.process.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Replaces the path of the directory by `DIR`.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&self.directory.path().display().to_string(), "DIR")
    }
}

impl Drop for RealBird {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Generates one prefix of `family` for each number.
pub(crate) fn prefixes(family: Family, numbers: std::ops::Range<u32>) -> Vec<Prefix> {
    let text = |n: u32| match family {
        Family::V4 => std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string(),
        Family::V6 => format!("2001:db8:1111:2222:3333:4444:{:x}:{:x}", n >> 16, n & 0xffff),
    };
    numbers.map(|n| text(n).parse().unwrap()).collect()
}
