//! Whether the columns of an event agree with the name of the file that it is linked to.

use crate::item::parse_time;

/// Seconds by which the time of day of an event may differ from the one that its file and offset give: events within a minute
/// of a file are linked to it.
const TOLERANCE_SECS: f64 = 60.0;
const DAY_SECS: f64 = 86_400.0;

/// The name of a file, whatever slashes are before it, in lower case.
pub(super) fn base(path: &str) -> String {
    path.rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .to_lowercase()
}

/// What speaks against the link of an event to the file `written`, a sentence; `cell` gives the columns.
pub(super) fn problem<'a>(written: &str, cell: &dyn Fn(&str) -> &'a str) -> Option<String> {
    let file = base(written);
    if cell("linked").eq_ignore_ascii_case("false") {
        return Some(format!(
            "says that no file was found for it (`linked` is False), and names {file}"
        ));
    }
    let named = base(cell("video_filename"));
    if !named.is_empty() && named != file {
        return Some(format!(
            "its video_filename is {named}, and its path leads to {file}"
        ));
    }
    let (channel, start_secs) = name_parts(&file)?;
    let camera = cell("camera_id");
    if let Ok(camera) = camera.parse::<f64>()
        && camera != f64::from(channel)
    {
        return Some(format!(
            "its camera_id is {camera}, and {file} is of channel {channel}"
        ));
    }
    let of_day = parse_time(cell("start_time"))?.as_secs();
    let offset = parse_time(cell("event_offset_sec"))?.as_secs();
    let off = (of_day - start_secs - offset).rem_euclid(DAY_SECS);
    let off = off.min(DAY_SECS - off);
    (off > TOLERANCE_SECS).then(|| {
        format!(
            "its start_time {} is {off:.0} s away from {offset} s after the start of {file}",
            cell("start_time")
        )
    })
}

/// Channel, and the second of the day at which it starts, of `N884A6_ch7_main_20240706060000_20240706063000.mp4`.
fn name_parts(file: &str) -> Option<(u32, f64)> {
    let parts: Vec<&str> = file.split(['_', '.']).collect();
    let channel = parts
        .iter()
        .find_map(|part| part.strip_prefix("ch")?.parse().ok())?;
    let start = parts
        .iter()
        .find(|part| part.len() == 14 && part.bytes().all(|digit| digit.is_ascii_digit()))?;
    let number = |range: std::ops::Range<usize>| start.get(range)?.parse::<f64>().ok();
    let secs = 3600.0 * number(8..10)? + 60.0 * number(10..12)? + number(12..14)?;
    Some((channel, secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r"E:\Group 1 Day 2\Cam 7\N884A6_ch7_main_20240706060000_20240706063000.mp4";

    fn check(changes: &[(&'static str, &'static str)], expected: Option<&str>) {
        let cell = |name: &str| {
            let usual = [
                ("linked", "True"),
                (
                    "video_filename",
                    "N884A6_ch7_main_20240706060000_20240706063000.mp4",
                ),
                ("camera_id", "7"),
                ("start_time", "6:10:25"),
                ("event_offset_sec", "625.0"),
            ];
            let known = changes
                .iter()
                .chain(&usual)
                .find(|(known, _)| *known == name);
            known.map_or("", |(_, value)| value)
        };
        let found = problem(FILE, &cell);
        match expected {
            None => assert_eq!(found, None),
            Some(part) => assert!(
                found.as_ref().is_some_and(|text| text.contains(part)),
                "{found:?}"
            ),
        }
    }

    #[test]
    fn columns_are_compared_with_the_name_of_the_file() {
        check(&[], None);
        check(&[("linked", "False")], Some("no file was found"));
        check(&[("camera_id", "16")], Some("camera_id is 16"));
        check(&[("camera_id", "")], None);
        check(&[("start_time", "06:11:20")], None);
        check(&[("start_time", "07:10:25")], Some("3600 s away"));
        check(&[("start_time", "")], None);
        check(
            &[("video_filename", "other.mp4")],
            Some("video_filename is other.mp4"),
        );
    }

    #[test]
    fn a_file_that_runs_over_midnight() {
        let file = "N884A6_ch7_main_20240706235000_20240707002000.mp4";
        let cell = |name: &str| match name {
            "start_time" => "0:05:00",
            "event_offset_sec" => "900",
            _ => "",
        };
        assert_eq!(problem(file, &cell), None);
    }
}
