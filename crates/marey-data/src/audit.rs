//! The audit of a data set: everything that can be known about it before a model is trained on it, and that would make its
//! figures mean less than they seem to.
//!
//! It opens every source (headers and times), looks at the frames of some clips, and says what it looked at. [`CHECKS`] lists
//! all checks, also those that are enforced elsewhere.

mod checks;

mod columns;

mod finding;

mod frames;

mod items;

mod scope;

mod shared;

mod shortcut;

mod survey;

mod tree;

pub(crate) mod windows;

use marey_clip::Sampling;

pub use checks::{CHECKS, Check, Enforced};
pub use finding::{Audit, Finding, Severity, Shortcut, SplitSize, Topic};
pub(crate) use shared::{ColumnKind, column_kind};
pub use survey::Survey;

use crate::{
    DataConfig, Dataset, Error, ErrorKind, Refused, Split, Unreadable, count_uses, discover,
    import::{import, split},
    read_ledger, test_fingerprint,
};

/// How thoroughly data is audited.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditConfig {
    /// Which frames the model will see (default: every frame of an item).
    pub sampling: Option<Sampling>,
    /// The temperatures that become the picture, in degrees Celsius (default 5 to 45).
    pub temperature: [f32; 2],
    /// What is opened.
    pub depth: Depth,
    /// Pairs of ids of items that look alike, found elsewhere (default: none).
    pub near_duplicates: Vec<[String; 2]>,
}

/// What an audit opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Files of equal length in different splits, to compare their bytes.
    Splits,
    /// Every source, and three frames of this many clips.
    Frames(usize),
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            sampling: None,
            temperature: [5.0, 45.0],
            depth: Depth::Frames(200),
            near_duplicates: Vec::new(),
        }
    }
}

impl AuditConfig {
    /// Only what splits share: groups, sources, bytes. This much is part of [`load`].
    pub fn splits() -> Self {
        Self {
            depth: Depth::Splits,
            ..Self::default()
        }
    }
}

/// What the checks are about.
pub(crate) struct Context<'a> {
    pub(crate) dataset: &'a Dataset,
    /// The data's path, for commands.
    pub(crate) data: String,
    /// The columns that make the group, where the configuration names some.
    pub(crate) group: Option<String>,
}

impl Context<'_> {
    /// ` --group COLUMN`, where the group is known.
    pub(crate) fn group_option(&self) -> String {
        self.group
            .as_ref()
            .map_or_else(String::new, |group| format!(" --group {group}"))
    }

    /// The command that divides by time.
    pub(crate) fn time_split(&self) -> String {
        format!(
            "marey data split {} --by time --gap 64f --output split.csv",
            self.data
        )
    }
}

/// Data, what is known about its sources, and what an audit found.
#[derive(Debug)]
pub struct Audited {
    /// The data, split; entries that cannot be items are not in it.
    pub dataset: Dataset,
    /// What opening the sources told.
    pub survey: Survey,
    /// What was found.
    pub audit: Audit,
    refused: Vec<Refused>,
}

impl Audited {
    /// The data to train and judge on, if nothing that was found stands against it.
    ///
    /// # Errors
    /// When an entry cannot be an item, when the splits share data and `allow_leak` gives no reason, and when another error was
    /// found.
    pub fn accept(mut self, config: &DataConfig) -> Result<(Dataset, Audit), Error> {
        let fail = |kind| Err(Error::new(&config.path, kind));
        if !self.refused.is_empty() {
            return Err(self.refused.swap_remove(0).error);
        }
        let key = "data.allow_leak";
        let reason = match config.allow_leak.as_deref().map(str::trim) {
            Some("") => return Err(Error::config(&config.path, key, "needs a reason in words")),
            reason => reason,
        };
        let leaks: Vec<Finding> = self.audit.of(Severity::Leak).cloned().collect();
        match (leaks.is_empty(), reason) {
            (true, None) => {}
            (true, Some(_)) => {
                let note = format!("{key} is not needed: the splits share nothing");
                self.dataset.notes.push(note);
            }
            (false, None) => return fail(ErrorKind::Leaks(leaks)),
            (false, Some(reason)) => {
                self.dataset.accepted_leak = Some(reason.to_owned());
            }
        }
        let errors: Vec<Finding> = self.audit.of(Severity::Error).cloned().collect();
        if !errors.is_empty() {
            return fail(ErrorKind::Faults(errors));
        }
        Ok((self.dataset, self.audit))
    }
}

/// The data that `config` names: imported, split, and checked for what splits share.
///
/// # Errors
/// When the data cannot be imported or split, an entry cannot be an item, or splits share a group or a file and `allow_leak`
/// gives no reason.
pub fn load(config: &DataConfig) -> Result<Dataset, Error> {
    Ok(audit(config, &AuditConfig::splits())?.accept(config)?.0)
}

/// The data that `config` names without any split, and its sources: what a division starts from.
///
/// # Errors
/// When the data cannot be imported, or an entry cannot be an item.
pub fn unsplit(config: &DataConfig) -> Result<(Dataset, Survey), Error> {
    let (mut dataset, refused) = import(config)?;
    if let Some(first) = refused.into_iter().next() {
        return Err(first.error);
    }
    dataset.items.iter_mut().for_each(|item| item.split = None);
    let survey = Survey::of(&dataset);
    Ok((dataset, survey))
}

/// Imports and splits the data that `config` names, and audits it.
///
/// # Errors
/// When the data cannot be imported or split at all, or a file cannot be read to be compared.
pub fn audit(config: &DataConfig, settings: &AuditConfig) -> Result<Audited, Error> {
    let (mut dataset, refused) = import(config)?;
    if settings.depth == Depth::Splits && !refused.is_empty() {
        // What is left may not even fill the splits, and the caller wants the first error.
        return Err(refused
            .into_iter()
            .map(|entry| entry.error)
            .next()
            .expect("one was refused"));
    }
    if let Err(error) = split(config, &mut dataset) {
        // What was refused may be why the rest cannot be divided.
        let first = refused.into_iter().next();
        return Err(first.map_or(error, |entry| entry.error));
    }
    let context = Context {
        dataset: &dataset,
        data: config.path.display().to_string(),
        group: config.group.clone(),
    };
    let mut findings = shared::leaks(&context)?;
    findings.extend(shared::near_duplicates(
        &context,
        &pairs(config, &dataset, settings)?,
    ));
    let mut survey = Survey::default();
    let mut looked_at = Vec::new();
    let mut shortcuts = Vec::new();
    if let Depth::Frames(num_clips) = settings.depth {
        survey = Survey::of(&dataset);
        let looked = frames::look(&dataset, &survey, num_clips, settings.temperature);
        shortcuts = shortcut::shortcuts(&dataset, &survey, &looked);
        findings.extend(items::refused(&refused));
        findings.extend(of_data(&context, config)?);
        findings.extend(of_sources(&context, &survey, config, settings));
        findings.extend(frames::pixels(
            &context,
            &looked,
            settings.temperature,
            unreadable(config),
        ));
        findings.extend(shortcut::finding(&context, &shortcuts));
        looked_at = looked_at_in_words(&dataset, &survey, settings, &looked);
    }
    // Stable, so findings of one severity keep the order of the checks above.
    findings.sort_by_key(|finding| finding.severity);
    let splits = split_sizes(&dataset);
    let audit = Audit {
        data: context.data,
        classes: dataset.classes.clone(),
        splits,
        notes: dataset.notes.clone(),
        looked_at,
        findings,
        shortcuts,
    };
    Ok(Audited {
        dataset,
        survey,
        audit,
        refused,
    })
}

/// What the items and their columns show, without a look at any source but for equal bytes.
fn of_data(context: &Context<'_>, config: &DataConfig) -> Result<Vec<Finding>, Error> {
    let mut findings = shared::columns(context);
    findings.extend(discover::shared_names(context));
    findings.extend(shared::duplicates(context)?);
    findings.extend(items::same_input(context));
    findings.extend(items::class_support(context));
    findings.extend(items::few_items(context));
    findings.extend(uses_of_test_split(context.dataset, config));
    Ok(findings)
}

/// What the headers and times of the sources show.
fn of_sources(
    context: &Context<'_>,
    survey: &Survey,
    config: &DataConfig,
    settings: &AuditConfig,
) -> Vec<Finding> {
    let sampling = settings.sampling.as_ref();
    let mut findings = windows::overlaps(context, survey, sampling);
    findings.extend(columns::links(context, survey));
    findings.extend(columns::boxes(context, survey));
    findings.extend(scope::labels(context, survey));
    findings.extend(items::unreadable(
        context.dataset,
        survey,
        unreadable(config),
    ));
    findings.extend(frames::timing(context, survey, sampling));
    findings.extend(
        sampling
            .into_iter()
            .flat_map(|sampling| items::clip_length(context, survey, sampling)),
    );
    findings
}

/// How grave it is that a clip cannot be read.
const fn unreadable(config: &DataConfig) -> Severity {
    match config.unreadable {
        Unreadable::Stop => Severity::Error,
        Unreadable::Skip => Severity::Warning,
    }
}

/// How often the test split was judged before, by the ledger beside the data.
fn uses_of_test_split(dataset: &Dataset, config: &DataConfig) -> Option<Finding> {
    if dataset.indices(Split::Test).is_empty() {
        return None;
    }
    let ledger = match read_ledger(&config.path) {
        Ok(ledger) => ledger,
        Err(error) => {
            return Some(Finding::new(
                Severity::Warning,
                Topic::TestUse,
                format!("how often the test split was used is not known: {error}"),
            ));
        }
    };
    let uses = count_uses(&ledger, &test_fingerprint(dataset));
    let (severity, consequence) = match uses.bundles {
        0 if uses.on_other_splits == 0 => return None,
        0 | 1 => (Severity::Note, ""),
        _ => (
            Severity::Warning,
            ": the best of several figures on one test split is higher than what new data will give",
        ),
    };
    let mend = "choose by the validation split, and judge the chosen one on test items that nothing was judged on";
    let sentence = format!("the test split was {uses}{consequence}");
    Some(Finding::new(severity, Topic::TestUse, sentence).mended_by(mend))
}

/// The positions of the pairs that were found to look alike.
fn pairs(
    config: &DataConfig,
    dataset: &Dataset,
    settings: &AuditConfig,
) -> Result<Vec<[usize; 2]>, Error> {
    dataset.positions(&settings.near_duplicates).map_err(|id| {
        Error::layout(
            &config.path,
            format!("a pair of look-alikes names `{id}`, which is no item of it"),
        )
    })
}

fn split_sizes(dataset: &Dataset) -> Vec<SplitSize> {
    let size = |split| SplitSize {
        split,
        items: dataset.indices(split).len(),
        groups: dataset.num_groups(split),
        per_class: dataset.class_counts(split),
    };
    Split::ALL
        .into_iter()
        .map(size)
        .filter(|size| size.items > 0)
        .collect()
}

fn looked_at_in_words(
    dataset: &Dataset,
    survey: &Survey,
    settings: &AuditConfig,
    looked: &frames::Looked,
) -> Vec<String> {
    let windows = match &settings.sampling {
        Some(sampling) => format!(
            "windows of {} frames as `[sampling]` draws them",
            sampling.frames
        ),
        None => "windows as whole items, since no recipe was given".to_owned(),
    };
    vec![
        format!("headers and times of {} sources", survey.len()),
        looked.in_words(dataset.items.len()),
        windows,
        match settings.near_duplicates.len() {
            0 => "no list of look-alikes was given".to_owned(),
            pairs => format!("{pairs} pairs of look-alikes from a list"),
        },
    ]
}
