//! Temporal annotations of videos as UCF-Crime publishes them: `Abuse028_x264.mp4  Abuse  165  240  -1  -1` a line.
//!
//! After the video and its class come pairs of a first and a last frame, both inside, in frames of the video; -1 twice is no
//! pair. The names of normal videos are written in two ways, with and without an underscore before the number.

use std::{collections::BTreeMap, fs, path::Path};

use crate::Error;

/// When the class of a video is on: first and last frame of each interval, both inside, in frames of the video.
pub(super) type Intervals = Vec<[u64; 2]>;

/// The name under which a video is known, whichever way its number is written.
pub(super) fn canonical(video: &str) -> String {
    match video.strip_prefix("Normal_Videos_") {
        Some(rest) => format!("Normal_Videos{rest}"),
        None => video.to_owned(),
    }
}

/// Intervals of each video, by its [`canonical`] name.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Intervals>, Error> {
    let text = fs::read_to_string(path)
        .map_err(|source| Error::io(path, "read the temporal annotations", source))?;
    let mut found = BTreeMap::new();
    for (line, number) in text.lines().zip(1..) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.is_empty() {
            continue;
        }
        let (video, intervals) =
            entry(&fields).map_err(|problem| Error::line(path, number, problem))?;
        if found.insert(video.clone(), intervals).is_some() {
            let problem = format!("annotates `{video}` a second time: remove one of the lines");
            return Err(Error::line(path, number, problem));
        }
    }
    Ok(found)
}

fn entry(fields: &[&str]) -> Result<(String, Intervals), String> {
    let expected =
        "expected `video class first last first last`, with -1 -1 where there is no interval";
    let [file, _class, bounds @ ..] = fields else {
        return Err(format!("`{}`: {expected}", fields.join(" ")));
    };
    let video = file.rsplit_once('.').map_or(*file, |(stem, _)| stem);
    let mut intervals = Vec::new();
    let pairs = bounds.chunks_exact(2);
    if !pairs.remainder().is_empty() || bounds.is_empty() {
        return Err(format!(
            "has {} bounds of intervals: {expected}",
            bounds.len()
        ));
    }
    for pair in pairs {
        match *pair {
            ["-1", "-1"] => {}
            [first, last] => {
                let number = |text: &str| {
                    let problem = || format!("`{text}` is no frame number: {expected}");
                    text.parse::<u64>()
                        .ok()
                        .filter(|&n| n < 10_000_000_000)
                        .ok_or_else(problem)
                };
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return Err(format!(
                        "an interval ends at {last}, before it starts at {first}"
                    ));
                }
                intervals.push([first, last]);
            }
            _ => unreachable!("chunks of two"),
        }
    }
    intervals.sort_unstable();
    Ok((canonical(video), intervals))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<(&str, &[[u64; 2]]), &str>) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let found = entry(&fields);
        match (found, expected) {
            (Ok((video, intervals)), Ok((name, wanted))) => {
                assert_eq!((video.as_str(), &intervals[..]), (name, wanted));
            }
            (Err(problem), Err(part)) => assert!(problem.contains(part), "{problem}"),
            (found, expected) => panic!("{line}: {found:?} for {expected:?}"),
        }
    }

    #[test]
    fn lines_of_annotations() {
        check(
            "Abuse028_x264.mp4  Abuse  165  240  -1  -1",
            Ok(("Abuse028_x264", &[[165, 240]])),
        );
        check(
            "Arson011_x264.mp4  Arson  680  1267  150  420",
            Ok(("Arson011_x264", &[[150, 420], [680, 1267]])),
        );
        check(
            "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1",
            Ok(("Normal_Videos003_x264", &[])),
        );
        check(
            "Normal_Videos003_x264.mp4  Normal  -1  -1",
            Ok(("Normal_Videos003_x264", &[])),
        );
        check(
            "Abuse028_x264.mp4 Abuse 240 165 -1 -1",
            Err("ends at 165, before"),
        );
        check(
            "Abuse028_x264.mp4 Abuse 240 -1",
            Err("`-1` is no frame number"),
        );
        check("Abuse028_x264.mp4 Abuse 240", Err("has 1 bounds"));
        check("Abuse028_x264.mp4", Err("expected `video class"));
    }
}
