//! A child process whose output is read without ever hanging or filling memory.

use std::{
    ffi::OsStr,
    io::{self, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};

/// Bytes of output taken over at a time, and pieces that may wait: what bounds the memory.
const PIECE_BYTES: usize = 1 << 18;
const PIECES: usize = 4;
/// Bytes of the error output that are remembered.
const MAX_STDERR_BYTES: usize = 1 << 14;
/// Silence after which a child counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running program; it is killed when this is dropped.
pub(super) struct Process {
    name: &'static str,
    child: Child,
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// What was received and not yet asked for.
    rest: Vec<u8>,
    rest_pos: usize,
    stderr: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts a program with its output and error output captured and no input.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start<S: AsRef<OsStr>>(
        name: &'static str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, String> {
        let mut command = Command::new(name);
        // A group of its own: Ctrl-C at a terminal goes to every process of a group, and the program must be able to
        // finish its step with a decoder that still runs.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("it cannot be started: {error}"))?;
        let stdout = child.stdout.take().expect("the output is piped");
        let stderr = child.stderr.take().expect("the error output is piped");
        let (sender, pieces) = sync_channel(PIECES);
        // Both threads end when the child's pipes close, at the latest when it is killed.
        thread::spawn(move || forward(stdout, &sender));
        Ok(Self {
            name,
            child,
            pieces,
            rest: Vec::new(),
            rest_pos: 0,
            stderr: Some(thread::spawn(move || remember(stderr))),
        })
    }

    /// Fills as much of `buffer` as the program's output does; fewer bytes than asked for mean that it ended.
    ///
    /// # Errors
    /// When the program writes nothing for a minute, or its output cannot be read.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, String> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.rest_pos == self.rest.len() && !self.receive()? {
                break;
            }
            let available = &self.rest[self.rest_pos..];
            let len = available.len().min(buffer.len() - filled);
            buffer[filled..filled + len].copy_from_slice(&available[..len]);
            self.rest_pos += len;
            filled += len;
        }
        Ok(filled)
    }

    /// Hands over each line of the output.
    ///
    /// # Errors
    /// As [`Process::fill`].
    pub(super) fn each_line(&mut self, mut sink: impl FnMut(&str)) -> Result<(), String> {
        let mut line = Vec::new();
        while self.receive()? {
            for &byte in &self.rest {
                match byte {
                    b'\n' => {
                        sink(&String::from_utf8_lossy(&line));
                        line.clear();
                    }
                    // A line without end is no line of a probe.
                    _ if line.len() < 1 << 16 => line.push(byte),
                    _ => {}
                }
            }
            self.rest_pos = self.rest.len();
        }
        Ok(())
    }

    /// The next piece of output; `false` at the end.
    fn receive(&mut self) -> Result<bool, String> {
        match self.pieces.recv_timeout(PATIENCE) {
            Ok(Ok(piece)) => {
                (self.rest, self.rest_pos) = (piece, 0);
                Ok(true)
            }
            Ok(Err(error)) => Err(format!("its output cannot be read: {error}")),
            Err(RecvTimeoutError::Disconnected) => Ok(false),
            Err(RecvTimeoutError::Timeout) => {
                let name = self.name;
                Err(format!(
                    "`{name}` has been silent for {} s and was stopped",
                    PATIENCE.as_secs()
                ))
            }
        }
    }

    /// Waits for the end; what the program wrote to its error output, and whether it ended well.
    pub(super) fn finish(mut self) -> (String, bool) {
        // Nothing more is read, so a child that still writes has to be stopped.
        drop(std::mem::replace(&mut self.pieces, sync_channel(0).1));
        let ended = self.wait_a_little();
        let _ = self.child.kill();
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok());
        (stderr.unwrap_or_default(), ended)
    }
}

impl Process {
    /// Whether the child ends well within five seconds; it has no output left to write.
    fn wait_a_little(&mut self) -> bool {
        for _ in 0..500 {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.success(),
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Err(_) => return false,
            }
        }
        false
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(mut output: impl Read, sender: &SyncSender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        let sent = match output.read(&mut piece) {
            Ok(0) => return,
            Ok(len) => {
                piece.truncate(len);
                sender.send(Ok(piece))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => sender.send(Err(error)),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Reads everything, so that the child never waits, and keeps the start.
fn remember(mut errors: impl Read) -> String {
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(len @ 1..) = errors.read(&mut piece) {
        let room = MAX_STDERR_BYTES - kept.len();
        kept.extend_from_slice(&piece[..len.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn output_and_error_output_are_kept_apart() {
        let script = "echo one; echo two >&2; echo three; exit 3";
        let mut process = Process::start("sh", ["-c", script]).expect("a shell");
        let mut lines = Vec::new();
        process
            .each_line(|line| lines.push(line.to_owned()))
            .expect("it ends");
        assert_eq!(lines, ["one", "three"]);
        assert_eq!(process.finish(), ("two\n".to_owned(), false));
    }

    #[test]
    fn a_short_output_is_noticed() {
        let mut process = Process::start("sh", ["-c", "printf abc"]).expect("a shell");
        let mut buffer = [0; 5];
        assert_eq!(process.fill(&mut buffer), Ok(3));
        assert_eq!(&buffer[..3], b"abc");
    }

    #[test]
    fn a_child_that_writes_for_ever_is_stopped() {
        let mut process = Process::start("sh", ["-c", "yes; yes >&2"]).expect("a shell");
        let mut buffer = vec![0; 1 << 20];
        assert_eq!(process.fill(&mut buffer), Ok(1 << 20));
        let child = process.child.id();
        drop(process);
        let alive = std::path::Path::new("/proc")
            .join(child.to_string())
            .exists();
        assert!(!alive || !cfg!(target_os = "linux"));
    }

    #[test]
    fn a_program_that_is_not_there_says_so() {
        let error = Process::start("marey-no-such-program", ["a"])
            .err()
            .expect("no such program");
        assert!(error.contains("cannot be started"), "{error}");
    }
}
