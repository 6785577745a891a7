//! The `ffmpeg` and `ffprobe` programs: `ffprobe` lists the frames, `ffmpeg` decodes the wanted ones into a pipe.

use std::{env, ffi::OsString, path::Path};

use marey_clip::{Rational, Size};

use super::{
    listing::{Facts, Listing, bit_depth},
    pipe::{ByCount, ByTime, Frames},
    process::Process,
};
use crate::{
    Backend, Error, ErrorKind, MediaInfo, MediaKind, OpenOptions, Reader,
    reader::{FrameReader, check_frame_size},
    rotate::rotated_size,
    timing::timing,
};

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
    let timestamps = timing.timeline.timestamps();
    let frames = Frames {
        source: source_argument(path),
        video_track,
        secs: timestamps.iter().map(|t| t.as_secs()).collect(),
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
    if listing.stamped() {
        FrameReader::boxed(info, ByTime(frames))
    } else {
        FrameReader::boxed(info, ByCount::new(frames))
    }
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
        let complaint = |line: &str| without_address(line.trim()).replace(&source, "");
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

/// A line of FFmpeg's log without the address of the part that wrote it: `[h264 @ 0x55ddcd6b1740] …`.
fn without_address(line: &str) -> String {
    match line.split_once(" @ 0x") {
        Some((part, rest)) => {
            let rest = rest.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            format!("{part}{rest}")
        }
        None => line.to_owned(),
    }
}

fn parse_ratio(text: &str) -> Option<Rational> {
    let (num, den) = text.split_once('/')?;
    Rational::new(num.parse().ok()?, den.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_the_same_on_every_run() {
        let line = "[h264 @ 0x55ddcd6b1740] Invalid NAL unit size";
        assert_eq!(without_address(line), "[h264] Invalid NAL unit size");
        assert_eq!(without_address("partial file"), "partial file");
    }

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
