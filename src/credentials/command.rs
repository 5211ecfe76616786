//! Runs the password command: the one child process of this program.

use std::ffi::OsString;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// What `program` prints, when it ends well within `time` and prints at most `limit` bytes.
///
/// Its standard input and standard error are empty: it can neither ask nor write into the
/// protocol's or the log's way. On Unix it leads a process group of its own, so that whatever it
/// started is ended together with it.
///
/// # Errors
///
/// What went wrong, as the second half of a sentence about the command.
pub(super) fn output(
    program: &str,
    arguments: &[String],
    environment: &[(OsString, OsString)],
    time: Duration,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let deadline = Instant::now() + time;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = Ended(command.spawn().map_err(|_| "could not be started")?);
    let stdout = child.0.stdout.take().ok_or("could not be read")?;

    let (sender, receiver) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("password-command".to_owned())
        .spawn(move || {
            let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
            let bound = u64::try_from(limit + 1).unwrap_or(u64::MAX);
            let read = stdout.take(bound).read_to_end(&mut bytes);
            // Nobody listens any more when the time was up.
            let _ = sender.send(read.map(|_| bytes));
        })
        .map_err(|_| "could not be read")?;

    let bytes = receiver
        .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        .map_err(|_| "did not end in time")?
        .map_err(|_| "could not be read")?;
    if bytes.len() > limit {
        return Err("printed more than a password");
    }
    loop {
        match child.0.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(bytes),
            Ok(Some(_)) => return Err("ended with an error"),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
            Ok(None) => return Err("did not end in time"),
            Err(_) => return Err("could not be waited for"),
        }
    }
}

/// A child that does not outlive its use.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Only while it was not waited for: afterwards its id may belong to somebody else.
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        #[cfg(unix)]
        if let Some(group) =
            i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const POLL: Duration = Duration::from_millis(10);
