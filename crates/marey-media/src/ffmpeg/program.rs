//! The `ffmpeg` and `ffprobe` programs: `ffprobe` lists the frames, `ffmpeg` decodes the wanted ones into a pipe.
//!
//! Frames are asked for by their own timestamps, so that what arrives is what was meant wherever a seek lands; frames
//! without a timestamp are asked for by number, from the start.

use std::{
    env,
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use marey_clip::{Rational, Size};

use super::{
    listing::{Facts, Listing, bit_depth},
    process::Process,
};
use crate::{
    Backend, Error, ErrorKind, MediaInfo, MediaKind, OpenOptions, Reader,
    reader::{FrameDecoder, FrameError, FrameReader, check_frame_size},
    rotate::rotated_size,
    timing::timing,
};

/// Frames asked for in one call of `ffmpeg`: what its filter expression and a command line hold with ease.
const MAX_WANTED: usize = 64;
/// Seconds between the asked-for position of a seek and the first wanted frame.
const SEEK_MARGIN: f64 = 0.5;

/// Whether both programs are on the `PATH`.
pub(super) fn is_available() -> bool {
    let on_path = |name: &str| {
        let folders = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&folders).any(|folder| {
            let file = folder.join(name);
            file.is_file() || file.with_extension("exe").is_file()
        })
    };
    on_path("ffmpeg") && on_path("ffprobe")
}

fn ffmpeg_error(path: &Path, program: &'static str, detail: impl Into<String>) -> Error {
    let detail = detail.into();
    Error::new(path, ErrorKind::Ffmpeg { program, detail })
}

/// Opens any file that FFmpeg reads.
pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<Box<dyn Reader>, Error> {
    if !is_available() {
        let detail = "`ffmpeg` and `ffprobe` are not on the PATH: install FFmpeg";
        return Err(ffmpeg_error(path, "the `ffmpeg` program", detail));
    }
    if let Err(error) = std::fs::File::open(path) {
        return Err(Error::new(path, ErrorKind::Io(error)));
    }
    let mut probe = Probed::run(path, options.video_track, Unit::Packets)?;
    // Timestamps that are missing, and anything that FFmpeg complains of, need a look at the frames themselves.
    if !probe.listing.is_trustworthy() {
        let packets = probe;
        probe = Probed::run(path, options.video_track, Unit::Frames)?;
        probe
            .listing
            .complaints
            .splice(0..0, packets.listing.complaints);
        probe.facts.size = probe.facts.size.or(packets.facts.size);
    }
    open_probed(path, options.video_track, &probe)
}

fn open_probed(path: &Path, video_track: usize, probe: &Probed) -> Result<Box<dyn Reader>, Error> {
    let Probed { facts, listing, .. } = probe;
    let (ticks, end, tick) = listing.ticks(facts);
    let (Some(coded), Some(timing)) = (facts.size, timing(&ticks, end, tick)) else {
        let detail = match (listing.complaints.first(), facts.size) {
            (Some(complaint), _) => format!("FFmpeg finds no frame: {complaint}"),
            (None, None) => format!("FFmpeg finds no video track {video_track}"),
            (None, Some(_)) => "FFmpeg finds no frame in its video track".to_owned(),
        };
        return Err(Error::new(path, ErrorKind::NoVideo(detail)));
    };
    let size = rotated_size(coded, facts.rotation_deg);
    check_frame_size(size, 3).map_err(|kind| Error::new(path, kind))?;
    let decoder = Program {
        source: source_argument(path),
        video_track,
        secs: timing
            .timeline
            .timestamps()
            .iter()
            .map(|t| t.as_secs())
            .collect(),
        stamped: listing.stamped(),
        start_secs: probe.format_start,
        frame_len: size.height * size.width * 3,
    };
    let info = MediaInfo {
        path: path.to_owned(),
        kind: MediaKind::Video,
        backend: Backend::FfmpegProgram,
        container: facts.container.clone(),
        codec: facts.codec.clone(),
        size,
        rotation_deg: facts.rotation_deg,
        channels: 3,
        bit_depth: facts.bit_depth,
        frame_rate: timing.frame_rate,
        declared_frames: facts.declared,
        timeline: timing.timeline,
        warnings: [timing.warnings, listing.warnings()].concat(),
    };
    FrameReader::boxed(info, decoder)
}

/// A path as FFmpeg takes it; the protocol in front keeps names like `concat:a` from meaning anything.
fn source_argument(path: &Path) -> OsString {
    let mut argument = OsString::from("file:");
    argument.push(path);
    argument
}

/// What `ffprobe` lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Packets: fast, nothing is decoded.
    Packets,
    /// Frames: everything is decoded.
    Frames,
}

/// What `ffprobe` said.
#[derive(Debug, Default)]
struct Probed {
    facts: Facts,
    listing: Listing,
    /// Start of the file in seconds.
    format_start: f64,
}

impl Probed {
    fn run(path: &Path, video_track: usize, unit: Unit) -> Result<Self, Error> {
        let entries = "stream=codec_name,width,height,pix_fmt,r_frame_rate,time_base,nb_frames:\
                       stream_side_data=rotation:format=format_name,start_time";
        let entries = match unit {
            Unit::Packets => format!("{entries}:packet=pts,duration,flags"),
            Unit::Frames => format!("{entries}:frame=best_effort_timestamp,pkt_duration,duration"),
        };
        let stream = format!("V:{video_track}");
        let arguments = [
            "-v",
            "error",
            "-select_streams",
            &stream,
            "-of",
            "compact",
            "-show_entries",
            &entries,
        ];
        let arguments = arguments
            .iter()
            .map(OsString::from)
            .chain([source_argument(path)]);
        let fail = |detail: String| ffmpeg_error(path, "`ffprobe`", detail);
        let mut process = Process::start("ffprobe", arguments).map_err(fail)?;
        let mut probed = Self::default();
        process
            .each_line(|line| probed.take_line(line))
            .map_err(fail)?;
        let (complaints, _) = process.finish();
        let listing = &mut probed.listing;
        // Who reads a complaint knows which file it is about.
        let source = format!("{}: ", source_argument(path).display());
        let complaint = |line: &str| line.trim().replace(&source, "");
        listing.complaints = complaints.lines().map(complaint).collect();
        // Packets come in decoding order.
        listing.frames.sort_by_key(|&(at, _)| at);
        Ok(probed)
    }

    fn take_line(&mut self, line: &str) {
        let mut parts = line.split('|');
        let section = parts.next().unwrap_or("");
        let fields: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let get = |name: &str| {
            fields
                .iter()
                .find(|(key, _)| *key == name)
                .map(|&(_, value)| value)
        };
        let number = |name: &str| get(name).and_then(|value| value.parse::<i64>().ok());
        match section {
            // Packets that an edit list hides carry the flag D.
            "packet" if get("flags").is_some_and(|flags| flags.contains('D')) => {}
            "packet" => {
                let duration = number("duration").unwrap_or(0);
                self.listing.frames.push((number("pts"), duration));
            }
            "frame" => {
                let duration = number("duration").or(number("pkt_duration")).unwrap_or(0);
                self.listing
                    .frames
                    .push((number("best_effort_timestamp"), duration));
            }
            "stream" => {
                let side = |name| {
                    number(name)
                        .and_then(|n| usize::try_from(n).ok())
                        .filter(|&n| n > 0)
                };
                let facts = &mut self.facts;
                facts.codec = get("codec_name").unwrap_or("unknown").to_owned();
                facts.size = side("height")
                    .zip(side("width"))
                    .map(|(height, width)| Size { height, width });
                facts.bit_depth = bit_depth(get("pix_fmt").unwrap_or(""));
                facts.rate = get("r_frame_rate").and_then(parse_ratio);
                facts.tick = get("time_base").and_then(parse_ratio);
                facts.declared = number("nb_frames").and_then(|n| n.try_into().ok());
                // FFmpeg counts turns counter-clockwise.
                let turn = number("rotation")
                    .unwrap_or(0)
                    .wrapping_neg()
                    .rem_euclid(360);
                facts.rotation_deg = if turn % 90 == 0 { turn as u16 } else { 0 };
            }
            "format" => {
                let names = get("format_name").unwrap_or("unknown");
                self.facts.container = names.split(',').next().unwrap_or("unknown").to_owned();
                self.format_start = get("start_time")
                    .and_then(|s| s.parse().ok())
                    .unwrap_or(0.0);
            }
            _ => {}
        }
    }
}

fn parse_ratio(text: &str) -> Option<Rational> {
    let (num, den) = text.split_once('/')?;
    Rational::new(num.parse().ok()?, den.parse().ok()?)
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

struct Program {
    source: OsString,
    video_track: usize,
    /// When each frame is shown, in seconds.
    secs: Vec<f64>,
    stamped: bool,
    /// What FFmpeg counts positions of a seek from.
    start_secs: f64,
    frame_len: usize,
}

impl Program {
    /// A filter expression that is true for the wanted frames only.
    fn selection(&self, wanted: &[usize]) -> String {
        let term = |&frame: &usize| {
            if !self.stamped {
                return format!("eq(n,{frame})");
            }
            let at = self.secs[frame];
            let before = frame.checked_sub(1).map_or(1.0, |f| at - self.secs[f]);
            let after = self.secs.get(frame + 1).map_or(1.0, |next| next - at);
            format!(
                "between(t,{:.9},{:.9})",
                at - before.min(1.0) / 2.0,
                at + after.min(1.0) / 2.0
            )
        };
        wanted.iter().map(term).collect::<Vec<_>>().join("+")
    }

    fn run(&self, wanted: &[usize], seek: bool, out: &mut [u8]) -> Result<(), (usize, String)> {
        let first = wanted[0];
        let mut arguments: Vec<OsString> = ["-nostdin", "-v", "error", "-copyts"]
            .iter()
            .map(OsString::from)
            .collect();
        if seek {
            let at = (self.secs[first] - self.start_secs - SEEK_MARGIN).max(0.0);
            arguments.extend(["-noaccurate_seek", "-ss"].iter().map(OsString::from));
            arguments.push(format!("{at:.6}").into());
        }
        let track = format!("0:V:{}", self.video_track);
        let filter = format!("select='{}'", self.selection(wanted));
        arguments.extend(["-i".into(), self.source.clone()]);
        let output = [
            "-map",
            &track,
            "-vf",
            &filter,
            passthrough_option(),
            "passthrough",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "pipe:1",
        ];
        arguments.extend(output.iter().map(OsString::from));
        let mut process = Process::start("ffmpeg", arguments).map_err(|detail| (first, detail))?;
        let filled = process.fill(out).map_err(|detail| (first, detail))?;
        if filled == out.len() {
            return Ok(());
        }
        let (stderr, _) = process.finish();
        let last = stderr
            .trim()
            .lines()
            .next_back()
            .unwrap_or("it gave no reason")
            .to_owned();
        Err((
            wanted[filled / self.frame_len],
            format!("`ffmpeg` did not deliver it: {last}"),
        ))
    }
}

impl FrameDecoder<u8> for Program {
    fn decode(&mut self, wanted: &[usize], out: &mut [u8]) -> Result<(), FrameError> {
        let parts = wanted
            .chunks(MAX_WANTED)
            .zip(out.chunks_mut(MAX_WANTED * self.frame_len));
        for (wanted, out) in parts {
            let seek = self.stamped && self.secs[wanted[0]] - self.secs[0] > 2.0 * SEEK_MARGIN;
            // A seek may land after the frame, or the container may not allow one: then from the start.
            let outcome = match self.run(wanted, seek, out) {
                Err(_) if seek => self.run(wanted, false, out),
                outcome => outcome,
            };
            outcome.map_err(|(frame, detail)| FrameError {
                frame,
                kind: ErrorKind::Ffmpeg {
                    program: "the `ffmpeg` program",
                    detail,
                },
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ffprobe_are_understood() {
        let mut probed = Probed::default();
        for line in [
            "packet|pts=0|duration=640|flags=KD",
            "packet|pts=640|duration=640|flags=K_",
            "packet|pts=N/A|duration=N/A|flags=__",
            "stream|codec_name=h264|width=568|height=320|pix_fmt=yuv420p10le|r_frame_rate=30/1|time_base=1/19200|nb_frames=3|side_data|rotation=-90",
            "format|format_name=mov,mp4|start_time=0.5",
            "",
        ] {
            probed.take_line(line);
        }
        assert_eq!(probed.listing.frames, [(Some(640), 640), (None, 0)]);
        let facts = &probed.facts;
        let size = Size {
            height: 320,
            width: 568,
        };
        assert_eq!(
            (facts.size, facts.rotation_deg, facts.declared),
            (Some(size), 90, Some(3))
        );
        assert_eq!(
            (facts.container.as_str(), probed.format_start),
            ("mov", 0.5)
        );
    }
}
