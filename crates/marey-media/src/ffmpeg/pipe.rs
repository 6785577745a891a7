//! Frames out of the `ffmpeg` program, through a pipe.
//!
//! Frames with a timestamp are asked for by it, so that what arrives is what was meant wherever a seek lands. Frames
//! without one can only be counted from the start.

use std::{
    ffi::OsString,
    process::{Command, Stdio},
    sync::OnceLock,
};

use super::process::Process;
use crate::{
    ErrorKind,
    reader::{FrameDecoder, FrameError},
};

/// Frames asked for in one call of `ffmpeg`: what its filter expression and a command line hold with ease.
const MAX_WANTED: usize = 64;
/// Seconds between the asked-for position of a seek and the first wanted frame.
const SEEK_MARGIN: f64 = 0.5;

/// Where frames come from.
pub(super) struct Frames {
    /// The file as FFmpeg takes it.
    pub(super) source: OsString,
    pub(super) video_track: usize,
    /// When each frame is shown, in seconds.
    pub(super) secs: Vec<f64>,
    /// What FFmpeg counts positions of a seek from.
    pub(super) start_secs: f64,
    /// Bytes of a frame.
    pub(super) frame_len: usize,
}

impl Frames {
    /// Starts `ffmpeg`, from a position in seconds where one is given, with the frames that pass a filter.
    fn start(&self, seek: Option<f64>, filter: &str) -> Result<Process, String> {
        let mut arguments = vec!["-nostdin", "-v", "error", "-copyts"];
        let at = seek.map(|at| format!("{:.6}", (at - self.start_secs - SEEK_MARGIN).max(0.0)));
        if let Some(at) = &at {
            arguments.extend(["-noaccurate_seek", "-ss", at]);
        }
        let track = format!("0:V:{}", self.video_track);
        let output = [
            "-map",
            &track,
            "-vf",
            filter,
            passthrough_option(),
            "passthrough",
            "-f",
            "rawvideo",
        ];
        let format = ["-pix_fmt", "rgb24", "pipe:1"];
        let front = arguments.iter().chain(&["-i"]).map(OsString::from);
        let back = output.iter().chain(&format).map(OsString::from);
        Process::start("ffmpeg", front.chain([self.source.clone()]).chain(back))
    }
}

/// How this `ffmpeg` is told to pass frames on as they are; the option was renamed in FFmpeg 5.1.
fn passthrough_option() -> &'static str {
    static OPTION: OnceLock<&str> = OnceLock::new();
    OPTION.get_or_init(|| {
        let output = Command::new("ffmpeg")
            .arg("-version")
            .stdin(Stdio::null())
            .output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let version = text.split_whitespace().nth(2).unwrap_or("");
        let major = version
            .split('.')
            .next()
            .and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < 6) {
            "-vsync"
        } else {
            "-fps_mode"
        }
    })
}

fn failed(frame: usize, detail: String) -> FrameError {
    let program = "the `ffmpeg` program";
    FrameError {
        frame,
        kind: ErrorKind::Ffmpeg { program, detail },
    }
}

/// The end of what a child that stopped early had to say.
fn not_delivered(process: Process) -> String {
    let (stderr, _) = process.finish();
    let last = stderr
        .trim()
        .lines()
        .next_back()
        .unwrap_or("it gave no reason");
    format!("`ffmpeg` did not deliver it: {last}")
}

/// Frames that have timestamps: a child for each read, which seeks and sends the wanted frames only.
pub(super) struct ByTime(pub(super) Frames);

impl ByTime {
    /// A filter expression that is true for the wanted frames only: from half-way to the frame before until half-way
    /// to the one after.
    fn selection(&self, wanted: &[usize]) -> String {
        let secs = &self.0.secs;
        let term = |&frame: &usize| {
            let at = secs[frame];
            let before = frame.checked_sub(1).map_or(1.0, |before| at - secs[before]);
            let after = secs.get(frame + 1).map_or(1.0, |next| next - at);
            let (from, to) = (at - before.min(1.0) / 2.0, at + after.min(1.0) / 2.0);
            format!("between(t,{from:.9},{to:.9})")
        };
        let terms: Vec<String> = wanted.iter().map(term).collect();
        format!("select='{}'", terms.join("+"))
    }

    fn run(&self, wanted: &[usize], seek: bool, out: &mut [u8]) -> Result<(), FrameError> {
        let first = wanted[0];
        let seek = seek.then(|| self.0.secs[first]);
        let fail = |detail| failed(first, detail);
        let mut process = self.0.start(seek, &self.selection(wanted)).map_err(fail)?;
        let filled = process.fill(out).map_err(fail)?;
        if filled == out.len() {
            return Ok(());
        }
        Err(failed(
            wanted[filled / self.0.frame_len],
            not_delivered(process),
        ))
    }
}

impl FrameDecoder<u8> for ByTime {
    fn decode(&mut self, wanted: &[usize], out: &mut [u8]) -> Result<(), FrameError> {
        let outs = out.chunks_mut(MAX_WANTED * self.0.frame_len);
        for (wanted, out) in wanted.chunks(MAX_WANTED).zip(outs) {
            let seek = self.0.secs[wanted[0]] - self.0.secs[0] > 2.0 * SEEK_MARGIN;
            // A seek may land after the frame, or the container may not allow one: then from the start.
            match self.run(wanted, seek, out) {
                Err(_) if seek => self.run(wanted, false, out)?,
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

/// Frames without timestamps: one child sends all of them from the start, and goes on while reads go forward.
pub(super) struct ByCount {
    frames: Frames,
    /// The child and the frame that it sends next.
    running: Option<(Process, usize)>,
    /// Where frames go that nobody asked for.
    unwanted: Vec<u8>,
}

impl ByCount {
    pub(super) const fn new(frames: Frames) -> Self {
        Self {
            frames,
            running: None,
            unwanted: Vec::new(),
        }
    }

    fn decode_one(&mut self, frame: usize, out: &mut [u8]) -> Result<(), String> {
        let (mut process, next) = match self.running.take() {
            Some((process, next)) if next <= frame => (process, next),
            _ => {
                // What comes before is decoded but not sent.
                let filter = format!("select='gte(n,{frame})'");
                (self.frames.start(None, &filter)?, frame)
            }
        };
        self.unwanted.resize(self.frames.frame_len, 0);
        for at in next..=frame {
            let to = if at == frame {
                &mut *out
            } else {
                &mut self.unwanted[..]
            };
            if process.fill(to)? < self.frames.frame_len {
                return Err(not_delivered(process));
            }
        }
        self.running = Some((process, frame + 1));
        Ok(())
    }
}

impl FrameDecoder<u8> for ByCount {
    fn decode(&mut self, wanted: &[usize], out: &mut [u8]) -> Result<(), FrameError> {
        let outs = out.chunks_exact_mut(self.frames.frame_len);
        for (&frame, out) in wanted.iter().zip(outs) {
            self.decode_one(frame, out)
                .map_err(|detail| failed(frame, detail))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wanted_frame_is_selected_up_to_half_way_to_its_neighbours() {
        let frames = ByTime(Frames {
            source: "file:a.mp4".into(),
            video_track: 0,
            secs: vec![0.0, 0.04, 0.12],
            start_secs: 0.0,
            frame_len: 3,
        });
        let expect =
            "select='between(t,-0.500000000,0.020000000)+between(t,0.080000000,0.620000000)'";
        assert_eq!(frames.selection(&[0, 2]), expect);
    }
}
