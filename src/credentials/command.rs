//! Runs the password command: the one child process of a server.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// What `program` prints, when it ends well within `time` and prints at most `limit` bytes.
///
/// Its standard input and standard error are empty: it can neither ask nor write into the
/// protocol's or the log's way. On Unix it leads a process group of its own, so that whatever it
/// started is ended together with it, unless that left the group, as services of their own do. A
/// `keeper` is started in its place and starts it; that one ends the group also when this process
/// is killed.
///
/// # Errors
///
/// What went wrong, as the second half of a sentence about the command.
pub(super) fn output(
    keeper: Option<&(PathBuf, OsString)>,
    program: &str,
    arguments: &[String],
    environment: &[(OsString, OsString)],
    time: Duration,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let deadline = Instant::now() + time;
    let line: Vec<&OsStr> = std::iter::once(program)
        .chain(arguments.iter().map(String::as_str))
        .map(OsStr::new)
        .collect();
    let kept = keeper.and_then(|(keeper, word)| {
        let line = [keeper.as_os_str(), word].into_iter().chain(line.iter().copied());
        // The pipe that nothing is written to tells the keeper that this process still lives.
        start(line, environment, Stdio::piped())
    });
    let child = kept.or_else(|| start(line.iter().copied(), environment, Stdio::null()));
    let mut child = Ended { child: child.ok_or("could not be started")?, waited: false };
    let stdout = child.child.stdout.take().ok_or("could not be read")?;

    let printed = Printed::collect(stdout, limit).map_err(|_| "could not be read")?;
    while !child.has_ended()? {
        if printed.len() > limit {
            return Err("printed more than a password");
        }
        if Instant::now() >= deadline {
            return Err("did not end in time");
        }
        std::thread::sleep(POLL);
    }
    // What it started may hold its output open: an agent, for example, that stays.
    printed.wait_for_end(GRACE.min(deadline.saturating_duration_since(Instant::now())));
    let status = child.status()?;
    if status.code() == Some(i32::from(NOT_STARTED)) {
        return Err("could not be started");
    }
    if !status.success() {
        return Err("ended with an error");
    }
    let bytes = printed.take().map_err(|()| "could not be read")?;
    if bytes.len() > limit { Err("printed more than a password") } else { Ok(bytes) }
}

/// How a keeper ends that could not start the command, as shells do.
pub const NOT_STARTED: u8 = 127;

fn start<'a>(
    mut line: impl Iterator<Item = &'a OsStr>,
    environment: &[(OsString, OsString)],
    stdin: Stdio,
) -> Option<Child> {
    let mut command = Command::new(line.next()?);
    command
        .args(line)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().ok()
}

/// What the command has printed so far, collected by a thread, because only the end of all who
/// hold the pipe ends a read.
#[derive(Clone)]
struct Printed(Arc<(Mutex<Collected>, Condvar)>);

struct Collected {
    /// As large as it can become, so that it never moves and leaves no copies behind.
    bytes: Zeroizing<Vec<u8>>,
    ended: bool,
    failed: bool,
}

impl Printed {
    fn collect(mut stdout: ChildStdout, limit: usize) -> std::io::Result<Self> {
        let bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
        let collected = Collected { bytes, ended: false, failed: false };
        let printed = Self(Arc::new((Mutex::new(collected), Condvar::new())));
        let writer = printed.clone();
        std::thread::Builder::new().name("password-command".to_owned()).spawn(move || {
            let mut piece = Zeroizing::new([0; 512]);
            loop {
                let read = stdout.read(piece.as_mut_slice());
                let mut collected = writer.lock();
                match read {
                    Ok(count @ 1..) => {
                        let room = (limit + 1).saturating_sub(collected.bytes.len());
                        let new = piece.get(..count.min(room)).unwrap_or_default();
                        collected.bytes.extend_from_slice(new);
                        if collected.bytes.len() <= limit {
                            continue;
                        }
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(_) => collected.failed = true,
                }
                collected.ended = true;
                writer.0.1.notify_all();
                return;
            }
        })?;
        Ok(printed)
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        self.lock().bytes.len()
    }

    fn wait_for_end(&self, time: Duration) {
        let _ = self.0.1.wait_timeout_while(self.lock(), time, |collected| !collected.ended);
    }

    fn take(&self) -> Result<Zeroizing<Vec<u8>>, ()> {
        let mut collected = self.lock();
        if collected.failed { Err(()) } else { Ok(std::mem::take(&mut collected.bytes)) }
    }
}

/// A child that, with all that it started in its group, does not outlive its use.
struct Ended {
    child: Child,
    waited: bool,
}

impl Ended {
    /// Without waiting for it in the sense of the operating system: its id stays its own, and its
    /// group can still be ended.
    #[cfg(unix)]
    fn has_ended(&mut self) -> Result<bool, &'static str> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let id = self.group().ok_or("could not be waited for")?;
        let state = waitid(WaitId::Pid(id), options).map_err(|_| "could not be waited for")?;
        Ok(state.is_some())
    }

    #[cfg(not(unix))]
    fn has_ended(&mut self) -> Result<bool, &'static str> {
        Ok(self.child.try_wait().map_err(|_| "could not be waited for")?.is_some())
    }

    fn status(&mut self) -> Result<ExitStatus, &'static str> {
        self.end_group();
        self.waited = true;
        self.child.wait().map_err(|_| "could not be waited for")
    }

    #[cfg(unix)]
    fn group(&self) -> Option<rustix::process::Pid> {
        i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
    }

    fn end_group(&self) {
        #[cfg(unix)]
        if let Some(group) = self.group() {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // Only while it was not waited for: afterwards its id may belong to somebody else.
        if self.waited {
            return;
        }
        self.end_group();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long after its end the command's output is waited for.
const GRACE: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(10);
