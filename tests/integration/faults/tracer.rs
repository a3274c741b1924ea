//! Makes one system call of the daemon fail, or kills the daemon before it.
//!
//! `strace -e inject=` counts the calls of each thread and each child separately, so that "the
//! second write" would also be one in every check command. This tracer counts the calls of all
//! threads of the daemon together, and those of a child before its exec.
//!
//! Guarantees: counting begins with the program's own first call, after the loader; a failed call
//! is not carried out; the daemon ends with the tracer.
//! Out of scope: machines other than x86-64, which have other registers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::sync::mpsc;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{kill, Signal};
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

/// A call. For some calls it includes the kind of file: `write file`.
pub(crate) type Call = String;

/// What to do instead of a call, or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultAction {
    /// The call is not carried out and returns this error.
    Fail(Errno),
    /// The daemon is killed before the call.
    Kill,
}

/// One fault of one run.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    /// Counted from 1.
    pub(crate) nth: usize,
    pub(crate) action: FaultAction,
}

/// The calls of a run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// How often each call was made.
    pub(crate) counts: BTreeMap<Call, usize>,
    /// Each call and its object, in order.
    pub(crate) calls: Vec<String>,
    /// The thread and the object of the faulty call, once it was made.
    pub(crate) hit: Option<String>,
}

/// Traces the process `pid`, which is about to become the daemon. Returns once it is attached.
pub(crate) fn trace(pid: i32, fault: Option<Fault>) -> JoinHandle<Trace> {
    let (attached, is_attached) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let main = Pid::from_raw(pid);
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(main, options).unwrap();
        ptrace::interrupt(main).unwrap();
        attached.send(()).unwrap();
        let mut tracer = Tracer {
            main,
            fault,
            trace: Trace::default(),
            stage: Stage::Other,
            children: HashSet::new(),
            threads: HashSet::from([main]),
            failing: HashMap::new(),
        };
        tracer.run();
        tracer.trace
    });
    is_attached.recv().unwrap();
    thread
}

/// The stage of the traced process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A shell that is about to become the daemon.
    Other,
    /// The daemon, being loaded.
    Loading,
    /// The daemon.
    Running,
}

struct Tracer {
    main: Pid,
    fault: Option<Fault>,
    trace: Trace,
    stage: Stage,
    threads: HashSet<Pid>,
    children: HashSet<Pid>,
    /// Threads in a call that is to fail.
    failing: HashMap<Pid, Errno>,
}

impl Tracer {
    fn run(&mut self) {
        // Waits for all tracees of this thread and no other processes.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            match waitpid(None, Some(flags)) {
                Err(Errno::ECHILD) => return,
                Err(Errno::EINTR) => {}
                Err(why) => panic!("waiting for the traced daemon: {why}"),
                Ok(WaitStatus::PtraceSyscall(pid)) => {
                    // A thread that is being killed has no registers. Its end is reported next.
                    let _ = self.call(pid);
                    let _ = ptrace::syscall(pid, None);
                }
                Ok(WaitStatus::PtraceEvent(pid, _, event)) => self.event(pid, event),
                Ok(WaitStatus::Stopped(pid, signal)) => {
                    let _ = ptrace::syscall(pid, signal);
                }
                Ok(_) => {}
            }
        }
    }

    fn event(&mut self, pid: Pid, event: i32) {
        if event == libc::PTRACE_EVENT_EXEC {
            if !self.is_ours(pid) {
                // A child has become another program.
                let _ = ptrace::detach(pid, None);
                return;
            }
            self.stage = Stage::Loading;
        }
        let _ = ptrace::syscall(pid, None);
    }

    /// Whether this is a thread of the daemon, rather than a child before its exec.
    fn is_ours(&mut self, pid: Pid) -> bool {
        if self.threads.contains(&pid) {
            return true;
        }
        if self.children.contains(&pid) {
            return false;
        }
        let ours = fs::exists(format!("/proc/{}/task/{pid}", self.main)).is_ok_and(|is| is);
        if ours { &mut self.threads } else { &mut self.children }.insert(pid) && ours
    }

    fn call(&mut self, pid: Pid) -> nix::Result<()> {
        let mut registers = ptrace::getregs(pid)?;
        if ptrace::syscall_info(pid)?.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            if let Some(errno) = self.failing.remove(&pid) {
                registers.rax = -i64::from(errno as i32) as u64;
                ptrace::setregs(pid, registers)?;
            }
            return Ok(());
        }
        let number = registers.orig_rax as i64;
        if self.stage == Stage::Loading && number == libc::SYS_poll {
            // Rust's runtime begins with a poll of stdin, stdout and stderr.
            self.stage = Stage::Running;
        }
        let ours = self.is_ours(pid);
        if self.stage != Stage::Running || !(ours || number == libc::SYS_execve) {
            return Ok(());
        }
        let Some((call, object)) = name(pid, &registers) else { return Ok(()) };
        let count = self.trace.counts.entry(call.clone()).or_default();
        *count += 1;
        self.trace.calls.push(format!("{call} {object}"));
        let Some(fault) = self.fault.as_ref().filter(|fault| fault.call == call && fault.nth == *count) else {
            return Ok(());
        };
        let thread = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        self.trace.hit = Some(format!("{} of thread {} on {object}", call, thread.trim()));
        match fault.action {
            FaultAction::Kill => kill(self.main, Signal::SIGKILL),
            FaultAction::Fail(errno) => {
                // No call has this number, so the kernel does nothing.
                registers.orig_rax = u64::MAX;
                self.failing.insert(pid, errno);
                ptrace::setregs(pid, registers)
            }
        }
    }
}

/// The name of a call that can be made to fail, and its object.
fn name(pid: Pid, registers: &libc::user_regs_struct) -> Option<(Call, String)> {
    let text = |address: u64| (text_at(pid, address), ());
    let descriptor = |number: u64| kind(pid, number as i32);
    let created = |flags: u64| flags as i32 & libc::O_CREAT != 0;
    let exclusively = |flags: u64| if flags as i32 & libc::O_EXCL != 0 { " exclusively" } else { "" };
    let (call, object) = match registers.orig_rax as i64 {
        libc::SYS_openat if created(registers.rdx) => {
            ("create".into(), text(registers.rsi).0 + exclusively(registers.rdx))
        }
        libc::SYS_openat => ("open".into(), text(registers.rsi).0),
        libc::SYS_open if created(registers.rsi) => {
            ("create".into(), text(registers.rdi).0 + exclusively(registers.rsi))
        }
        libc::SYS_open => ("open".into(), text(registers.rdi).0),
        libc::SYS_read => with_kind("read", descriptor(registers.rdi)),
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev => with_kind("write", descriptor(registers.rdi)),
        libc::SYS_fsync | libc::SYS_fdatasync => with_kind("fsync", descriptor(registers.rdi)),
        libc::SYS_fchmod => with_kind("fchmod", descriptor(registers.rdi)),
        libc::SYS_ftruncate => with_kind("ftruncate", descriptor(registers.rdi)),
        libc::SYS_flock => with_kind("flock", descriptor(registers.rdi)),
        libc::SYS_getdents64 => with_kind("getdents", descriptor(registers.rdi)),
        libc::SYS_statx | libc::SYS_newfstatat => ("stat".into(), text(registers.rsi).0),
        libc::SYS_stat | libc::SYS_lstat => ("stat".into(), text(registers.rdi).0),
        libc::SYS_fstat => with_kind("fstat", descriptor(registers.rdi)),
        libc::SYS_rename | libc::SYS_renameat | libc::SYS_renameat2 => ("rename".into(), text(registers.rdi).0),
        libc::SYS_unlink => ("unlink".into(), text(registers.rdi).0),
        libc::SYS_unlinkat => ("unlink".into(), text(registers.rsi).0),
        libc::SYS_linkat => ("link".into(), text(registers.rsi).0),
        libc::SYS_mkdir => ("mkdir".into(), text(registers.rdi).0),
        libc::SYS_mkdirat => ("mkdir".into(), text(registers.rsi).0),
        libc::SYS_chmod => ("chmod".into(), text(registers.rdi).0),
        libc::SYS_fchmodat => ("chmod".into(), text(registers.rsi).0),
        libc::SYS_execve => ("execve".into(), text(registers.rdi).0),
        libc::SYS_clone => spawned(registers.rdi),
        libc::SYS_vfork => spawned(0),
        libc::SYS_clone3 => spawned(ptrace::read(pid, registers.rdi as _).unwrap_or(0) as u64),
        libc::SYS_pipe2 => ("pipe".into(), String::new()),
        libc::SYS_poll | libc::SYS_ppoll => ("poll".into(), String::new()),
        libc::SYS_pidfd_open => ("pidfd_open".into(), String::new()),
        libc::SYS_eventfd2 => ("eventfd".into(), String::new()),
        libc::SYS_signalfd4 => ("signalfd".into(), String::new()),
        libc::SYS_inotify_init1 => ("inotify_init".into(), String::new()),
        libc::SYS_inotify_add_watch => ("inotify_add_watch".into(), text(registers.rsi).0),
        libc::SYS_socket => ("socket".into(), format!("domain {}", registers.rdi)),
        libc::SYS_bind => with_kind("bind", descriptor(registers.rdi)),
        libc::SYS_listen => with_kind("listen", descriptor(registers.rdi)),
        libc::SYS_connect => with_kind("connect", descriptor(registers.rdi)),
        libc::SYS_accept4 => with_kind("accept", descriptor(registers.rdi)),
        // The signal handler sends one byte to wake the main thread.
        libc::SYS_sendto if registers.rdx == 1 => ("wake".into(), descriptor(registers.rdi).1),
        libc::SYS_sendto | libc::SYS_sendmsg => with_kind("send", descriptor(registers.rdi)),
        libc::SYS_recvfrom | libc::SYS_recvmsg => with_kind("receive", descriptor(registers.rdi)),
        libc::SYS_wait4 | libc::SYS_waitid => ("wait".into(), String::new()),
        libc::SYS_kill => ("kill".into(), String::new()),
        _ => return None,
    };
    Some((call, object))
}

/// A call on a descriptor. Its name includes the kind of file if the errors depend on it.
fn with_kind(call: &str, (kind, object): (&str, String)) -> (Call, String) {
    match call {
        "read" | "write" => (format!("{call} {kind}"), object),
        _ => (call.into(), object),
    }
}

fn spawned(flags: u64) -> (Call, String) {
    let thread = flags & libc::CLONE_THREAD as u64 != 0;
    (if thread { "clone thread" } else { "clone process" }.into(), String::new())
}

fn kind(pid: Pid, descriptor: i32) -> (&'static str, String) {
    let Ok(link) = fs::read_link(format!("/proc/{pid}/fd/{descriptor}")) else {
        return ("nothing", descriptor.to_string());
    };
    let link = link.display().to_string();
    let kind = match link.split(':').next().unwrap_or_default() {
        "pipe" => "pipe",
        "socket" => "socket",
        "anon_inode" => "event",
        _ => "file",
    };
    (kind, link)
}

/// A string in the daemon's memory, cut to a reasonable length.
pub(crate) fn text_at(pid: Pid, address: u64) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < 256 && !bytes.contains(&0) {
        match ptrace::read(pid, (address + bytes.len() as u64) as _) {
            Ok(word) => bytes.extend(word.to_ne_bytes()),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}
