//! What the pixels and the times of frames say: drop-outs, black clips, odd rates.

use std::collections::{BTreeMap, BTreeSet};

use marey_clip::{Clip, ClipPlan, Pixels, Sampling, SamplingMode, Timestamp, rng_for};
use marey_media::{MediaKind, OpenOptions, Reader};
use rand::seq::SliceRandom;

use crate::{
    Dataset, Split,
    audit::{
        Context, Survey,
        finding::{Finding, Severity, Topic},
    },
};

/// At or below this a pixel holds no temperature, in degrees Celsius.
const ABSOLUTE_ZERO: f32 = -273.0;

/// Frames of a thermal recording that are read at once.
const CHUNK: usize = 256;

/// A share of pixels that is told, 0 to 1.
const NOTABLE: f64 = 1e-4;

/// A clip whose pixels are all below this, of 255, is black.
const BLACK: u8 = 10;

/// Keeps the draw of clips apart from all others.
const PURPOSE: u64 = 0x4C4F_4F4B;

/// What the frames of some clips look like.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Mean brightness of an item's looked-at frames: 0 to 255, or degrees Celsius.
    pub(crate) brightness: BTreeMap<usize, f64>,
    black: Vec<usize>,
    failed: Vec<(usize, String)>,
    thermal: Thermal,
}

/// Counts over all frames of thermal recordings.
#[derive(Debug, Default)]
struct Thermal {
    sources: usize,
    frames: usize,
    with_sentinel: usize,
    worst: usize,
    pixels: u64,
    outside: u64,
    sources_with_sentinel: BTreeSet<std::path::PathBuf>,
}

/// Looks at three frames of up to `num_clips` items, drawn evenly over splits and classes, and at every frame of thermal
/// recordings among their sources.
pub(crate) fn look(
    dataset: &Dataset,
    survey: &Survey,
    num_clips: usize,
    window: [f32; 2],
) -> Looked {
    let mut looked = Looked::default();
    let mut seen = BTreeSet::new();
    for idx in sample(dataset, num_clips) {
        let item = &dataset.items[idx];
        let Some(facts) = survey.facts(&item.source) else {
            continue;
        };
        let range = facts
            .timeline
            .indices_in(item.span.unwrap_or(facts.timeline.span()));
        let stamps = facts.timeline.timestamps();
        let timestamps =
            [range.start, range.start + range.len() / 2, range.end - 1].map(|frame| stamps[frame]);
        let read =
            marey_media::open(&item.source, &OpenOptions::default()).and_then(|mut reader| {
                let clip = reader.read(&ClipPlan {
                    timestamps: timestamps.to_vec(),
                })?;
                if facts.kind == MediaKind::Thermal && seen.insert(&item.source) {
                    looked.thermal.add(&mut *reader, stamps, window)?;
                }
                Ok(clip)
            });
        match read {
            Ok(clip) => {
                looked.brightness.insert(idx, brightness(&clip));
                looked.black.extend(is_black(&clip).then_some(idx));
            }
            Err(error) => looked.failed.push((idx, error.to_string())),
        }
    }
    looked
}

/// Items in turn from each split and class, so that few items show as much as they can.
fn sample(dataset: &Dataset, num_clips: usize) -> Vec<usize> {
    let mut strata: BTreeMap<(Option<Split>, usize), Vec<usize>> = BTreeMap::new();
    for (idx, item) in dataset.items.iter().enumerate() {
        strata
            .entry((item.split, item.label))
            .or_default()
            .push(idx);
    }
    let mut strata: Vec<Vec<usize>> = strata.into_values().collect();
    let rng = &mut rng_for(0, 0, 0, PURPOSE);
    strata.iter_mut().for_each(|items| items.shuffle(rng));
    let longest = strata.iter().map(Vec::len).max().unwrap_or(0);
    let turns =
        (0..longest).flat_map(|turn| strata.iter().filter_map(move |items| items.get(turn)));
    let mut chosen: Vec<usize> = turns.copied().take(num_clips).collect();
    chosen.sort_unstable();
    chosen
}

/// Whether nothing can be seen: a small bright thing on black can. A temperature is never black.
fn is_black(clip: &Clip) -> bool {
    matches!(clip.pixels(), Pixels::U8(values) if values.iter().all(|&value| value < BLACK))
}

fn brightness(clip: &Clip) -> f64 {
    let mean = |sum: f64, num: usize| sum / num.max(1) as f64;
    match clip.pixels() {
        Pixels::U8(values) => mean(
            values.iter().map(|&value| f64::from(value)).sum(),
            values.len(),
        ),
        Pixels::F32(values) => {
            let valid = || values.iter().filter(|&&value| value > ABSOLUTE_ZERO);
            mean(
                valid().map(|&value| f64::from(value)).sum(),
                valid().count(),
            )
        }
    }
}

impl Thermal {
    fn add(
        &mut self,
        reader: &mut dyn Reader,
        stamps: &[Timestamp],
        window: [f32; 2],
    ) -> Result<(), marey_media::Error> {
        self.sources += 1;
        let path = reader.info().path.clone();
        for chunk in stamps.chunks(CHUNK) {
            let clip = reader.read(&ClipPlan {
                timestamps: chunk.to_vec(),
            })?;
            let Pixels::F32(values) = clip.pixels() else {
                continue;
            };
            let frame_len = values.len() / chunk.len();
            for frame in values.chunks_exact(frame_len) {
                let is_sentinel = |value: &&f32| value.is_nan() || **value <= ABSOLUTE_ZERO;
                let sentinels = frame.iter().filter(is_sentinel).count();
                self.frames += 1;
                self.worst = self.worst.max(sentinels);
                if sentinels > 0 {
                    self.with_sentinel += 1;
                    self.sources_with_sentinel.insert(path.clone());
                }
                let is_outside =
                    |value: &&f32| !(window[0]..=window[1]).contains(*value) && !is_sentinel(value);
                self.outside += frame.iter().filter(is_outside).count() as u64;
                self.pixels += frame_len as u64;
            }
        }
        Ok(())
    }
}

impl Looked {
    /// What was looked at, in words.
    pub(crate) fn in_words(&self, num_items: usize) -> String {
        let clips = format!(
            "three frames each of {} of {num_items} clips",
            self.brightness.len()
        );
        match self.thermal.frames {
            0 => clips,
            frames => format!(
                "{clips}, and all {frames} frames of {} thermal recordings",
                self.thermal.sources
            ),
        }
    }
}

/// What the frames looked at show.
pub(crate) fn pixels(
    context: &Context<'_>,
    looked: &Looked,
    window: [f32; 2],
    unreadable: Severity,
) -> Vec<Finding> {
    let dataset = context.dataset;
    let mut findings = Vec::new();
    if let Some((_, first)) = looked.failed.first() {
        let sentence = format!(
            "{} of {} clips looked at cannot be decoded, the first: {first}",
            looked.failed.len(),
            looked.failed.len() + looked.brightness.len()
        );
        findings.push(
            Finding::new(unreadable, Topic::Unreadable, sentence)
                .about(dataset, looked.failed.iter().map(|(idx, _)| *idx))
                .mended_by(
                    "repair the files, or leave their items out by data.unreadable = \"skip\"",
                ),
        );
    }
    let thermal = &looked.thermal;
    if thermal.with_sentinel > 0 {
        let sentence = format!(
            "{} of {} frames of {} of {} recordings hold pixels of {ABSOLUTE_ZERO} °C or less, up to {} of {} in a frame: the \
             sensor dropped out, and cut to the window of temperatures they look like {} °C unless preprocess.dropout says otherwise",
            thermal.with_sentinel,
            thermal.frames,
            thermal.sources_with_sentinel.len(),
            thermal.sources,
            thermal.worst,
            thermal.pixels / thermal.frames.max(1) as u64,
            window[0]
        );
        let items = dataset.items.iter().enumerate();
        let items = items.filter(|(_, item)| thermal.sources_with_sentinel.contains(&item.source));
        findings.push(
            Finding::new(Severity::Warning, Topic::Pixels, sentence)
                .about(dataset, items.map(|(idx, _)| idx))
                .mended_by(
                    "preprocess.dropout = \"median\", or leave out the spans with drop-outs",
                ),
        );
    }
    if thermal.outside as f64 > NOTABLE * thermal.pixels as f64 {
        let sentence = format!(
            "{:.2} % of the pixels of {} recordings lie outside of {}-{} °C and are cut there",
            100.0 * thermal.outside as f64 / thermal.pixels as f64,
            thermal.sources,
            window[0],
            window[1]
        );
        findings.push(
            Finding::new(Severity::Note, Topic::Pixels, sentence)
                .mended_by("preprocess.temperature"),
        );
    }
    if !looked.black.is_empty() {
        let sentence = format!(
            "{} of {} clips looked at are black",
            looked.black.len(),
            looked.brightness.len()
        );
        findings.push(
            Finding::new(Severity::Warning, Topic::Pixels, sentence)
                .about(dataset, looked.black.iter().copied())
                .mended_by("look at these files and remove their lines if nothing is in them"),
        );
    }
    findings
}

/// A gap between frames this many times the usual one is a hole.
const HOLE: f64 = 3.0;
/// Rates that differ by more than this factor make one step mean different times.
const SAME_RATE: f64 = 1.1;

/// Rates, gaps and missing frames of the sources.
pub(crate) fn timing(
    context: &Context<'_>,
    survey: &Survey,
    sampling: Option<&Sampling>,
) -> Vec<Finding> {
    let dataset = context.dataset;
    let mut rates: Vec<f64> = Vec::new();
    let (mut irregular, mut truncated) = (BTreeSet::new(), BTreeSet::new());
    let (mut shortest, mut longest) = (f64::INFINITY, 0.0_f64);
    let mut warnings: BTreeMap<&str, usize> = BTreeMap::new();
    let sources: BTreeSet<_> = dataset
        .items
        .iter()
        .map(|item| item.source.as_path())
        .collect();
    for (source, facts) in sources
        .into_iter()
        .filter_map(|source| Some((source, survey.facts(source)?)))
    {
        rates.extend(facts.mean_rate());
        let stamps = facts.timeline.timestamps();
        let mut gaps: Vec<f64> = stamps
            .windows(2)
            .map(|pair| pair[1].as_secs() - pair[0].as_secs())
            .collect();
        gaps.sort_by(f64::total_cmp);
        if let (Some(first), Some(last)) = (gaps.first(), gaps.last())
            && !facts.has_constant_rate
            && *last > HOLE * gaps[gaps.len() / 2]
        {
            irregular.insert(source);
            (shortest, longest) = (shortest.min(*first), longest.max(*last));
        }
        if facts
            .declared_frames
            .is_some_and(|declared| declared > stamps.len() as u64)
        {
            truncated.insert(source);
        }
        for warning in facts
            .warnings
            .iter()
            .filter(|warning| *warning != "the frame rate varies")
        {
            *warnings.entry(warning).or_default() += 1;
        }
    }
    let about = |finding: Finding, sources: &BTreeSet<&std::path::Path>| {
        let items = dataset
            .items
            .iter()
            .enumerate()
            .filter(|(_, item)| sources.contains(item.source.as_path()));
        finding.about(dataset, items.map(|(idx, _)| idx))
    };
    let mut findings = Vec::new();
    if !truncated.is_empty() {
        let sentence = format!(
            "{} of {} sources hold fewer frames than they claim",
            truncated.len(),
            survey.len()
        );
        let finding = Finding::new(Severity::Warning, Topic::Timing, sentence);
        findings.push(about(finding, &truncated).mended_by("copy or export these files again"));
    }
    rates.sort_by(f64::total_cmp);
    let median = rates.get(rates.len() / 2).copied().unwrap_or(1.0);
    if !irregular.is_empty() {
        let sentence = format!(
            "frames of {} of {} sources come irregularly, {:.0} to {:.0} ms apart; the effective rate is {median:.2} frames a second{}",
            irregular.len(),
            survey.len(),
            1000.0 * shortest,
            1000.0 * longest,
            clip_time(sampling, median)
        );
        let finding = Finding::new(Severity::Warning, Topic::Timing, sentence);
        findings.push(about(finding, &irregular));
    }
    if let (Some(low), Some(high)) = (rates.first(), rates.last())
        && *high > SAME_RATE * *low
    {
        let is_stepped = sampling.is_none_or(|sampling| sampling.mode != SamplingMode::Uniform);
        let severity = if is_stepped {
            Severity::Warning
        } else {
            Severity::Note
        };
        let sentence = format!(
            "sources have {low:.2} to {high:.2} frames a second (median {median:.2}), so a step of frames means different times in them{}",
            clip_time(sampling, median)
        );
        findings.push(
            Finding::new(severity, Topic::Timing, sentence)
                .mended_by("sampling.mode = \"uniform\", or bring the files to one rate"),
        );
    }
    findings.extend(warnings.into_iter().map(|(warning, count)| {
        let sentence = format!("{count} of {} sources: {warning}", survey.len());
        Finding::new(Severity::Note, Topic::Timing, sentence)
    }));
    findings
}

/// How long a clip is at `rate`, where its frames are a step apart.
fn clip_time(sampling: Option<&Sampling>, rate: f64) -> String {
    match sampling {
        Some(sampling) if sampling.mode != SamplingMode::Uniform => format!(
            ", and a clip of {} frames reaches over {:.1} s",
            sampling.frames,
            sampling.extent() as f64 / rate
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_bright_thing_is_not_black() {
        let mut values = vec![2; 64];
        let clip = |pixels| Clip::new([1, 8, 8, 1], pixels, vec![Timestamp::ZERO]);
        assert!(is_black(&clip(Pixels::U8(values.clone()))));
        values[20] = 255;
        assert!(!is_black(&clip(Pixels::U8(values))));
        assert!(
            !is_black(&clip(Pixels::F32(vec![0.0; 64]))),
            "a frozen scene in degrees"
        );
    }
}
