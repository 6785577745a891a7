//! `marey data split`: divisions that cannot leak, written as manifests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use marey::{
    clip::Sampling,
    data::{
        self, DataConfig, Dataset, Fold, Gap, Proposal, Split, SplitShares, TimeSplit,
        discover_groups, identical_items, k_folds, leave_one_group_out, nested_folds,
        overlapping_sources, split_by_group, split_by_time, write_manifest,
    },
    train::Recipe,
};

use super::audit::read_pairs;
use crate::{Outcome, output};

/// Arguments of `marey data split`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A manifest, a folder of class folders, or a set in another known layout.
    data: PathBuf,
    /// How to divide.
    #[arg(long, value_enum, default_value_t = By::Group)]
    by: By,
    /// The column (or several, joined by `+`) that splits must not share.
    #[arg(long)]
    group: Option<String>,
    /// A regular expression whose parentheses capture the group in an item's name, where no column says it.
    #[arg(long, value_name = "REGEX", conflicts_with = "group")]
    group_pattern: Option<String>,
    /// Where groups come from when none is named: what was discovered, or each file by itself.
    #[arg(long, value_enum, conflicts_with_all = ["group", "group_pattern"])]
    group_by: Option<GroupBy>,
    /// The same as `--group-by discovered`.
    #[arg(long, conflicts_with_all = ["group", "group_pattern", "group_by"])]
    yes: bool,
    /// The column of the classes.
    #[arg(long)]
    label: Option<String>,
    /// Share of items for validation, 0 to 1 (default 0.2; with folds 0).
    #[arg(long)]
    validation: Option<f64>,
    /// Share of items for the test, 0 to 1 (default 0.2). Folds test on a fold.
    #[arg(long)]
    test: Option<f64>,
    /// Number of folds, of `--by folds` and the outer ones of `--by nested` (default 5).
    #[arg(long)]
    folds: Option<usize>,
    /// Number of inner folds of `--by nested` (default 4).
    #[arg(long)]
    inner_folds: Option<usize>,
    /// Blocks that each recording is cut into by `--by time` (default 5).
    #[arg(long)]
    blocks: Option<usize>,
    /// What must lie between the windows of two splits with `--by time`: frames (`64f`) or seconds (`10s`) (default 64f).
    #[arg(long)]
    gap: Option<Gap>,
    /// The recipe whose `[sampling]` says which windows the model sees, for `--by time` (default: whole items).
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// A table of pairs of items that must stay together, such as look-alikes: two columns of item names.
    #[arg(long, value_name = "CSV")]
    pairs: Option<PathBuf>,
    /// Seed of the division.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The manifest to write; several folds get their name before the extension.
    #[arg(long, value_name = "CSV")]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// Whole groups, each in one split.
    Group,
    /// Blocks of time of each recording, with a gap between splits.
    Time,
    /// Several splits; each group is tested on in one of them.
    Folds,
    /// As many splits as groups; each tests on one.
    LeaveOneOut,
    /// Folds within folds: settings are chosen by the inner ones.
    Nested,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GroupBy {
    /// The coarsest groups that columns, names and times of files show.
    Discovered,
    /// Each file is a group.
    Source,
}

pub(crate) fn run(args: &Args) -> Result<Outcome> {
    refuse_without_effect(args)?;
    let config = DataConfig {
        group: args.group.clone(),
        group_pattern: args.group_pattern.clone(),
        label: args.label.clone(),
        ..DataConfig::new(args.data.clone())
    };
    let (mut dataset, survey) = data::unsplit(&config)?;
    for note in &dataset.notes {
        output::note(format!("note: {note}"));
    }
    let mut together = identical_items(&dataset.items)?;
    if !together.is_empty() {
        output::note(format!(
            "note: {} files are there more than once; the copies stay together",
            together.len()
        ));
    }
    if let Some(path) = &args.pairs {
        let pairs = dataset.positions(&read_pairs(path)?);
        let pairs = pairs.map_err(|id| {
            anyhow::anyhow!(
                "{} names `{id}`, which is no item of the data",
                path.display()
            )
        })?;
        together.extend(pairs.into_iter().map(Vec::from));
    }
    if args.by == By::Time {
        return by_time(args, &mut dataset, &survey);
    }
    let at_once = overlapping_sources(&dataset, &survey);
    if !at_once.is_empty() {
        let items: usize = at_once.iter().map(Vec::len).sum();
        output::note(format!(
            "note: {items} items are of recordings that overlap in time; {} clusters of such recordings stay together",
            at_once.len()
        ));
        together.extend(at_once);
    }
    let is_named = dataset.items.iter().any(|item| item.group.is_some());
    if !is_named && !take_groups(args, &mut dataset)? {
        return Ok(Outcome::No);
    }
    let (classes, seed) = (dataset.classes.clone(), args.seed);
    let folds = args.folds.unwrap_or(5);
    let validation = args.validation.unwrap_or(0.0);
    let fail =
        |error| anyhow::Error::new(error).context(format!("cannot divide {}", args.data.display()));
    let found = match args.by {
        By::Group | By::Time => {
            let notes = split_by_group(&mut dataset.items, &classes, &shares(args), &together)
                .map_err(fail)?;
            notes
                .iter()
                .for_each(|note| output::note(format!("note: {note}")));
            return write(&dataset, &args.output);
        }
        By::Folds => k_folds(&dataset.items, &classes, folds, validation, seed, &together),
        By::LeaveOneOut => {
            leave_one_group_out(&dataset.items, &classes, validation, seed, &together)
        }
        By::Nested => nested_folds(
            &dataset.items,
            &classes,
            folds,
            args.inner_folds.unwrap_or(4),
            seed,
            &together,
        ),
    };
    write_folds(&mut dataset, &found.map_err(fail)?, &args.output)
}

fn shares(args: &Args) -> SplitShares {
    SplitShares {
        validation: args.validation.unwrap_or(0.2),
        test: args.test.unwrap_or(0.2),
        seed: args.seed,
    }
}

/// Options that change nothing beside `--by`.
fn refuse_without_effect(args: &Args) -> Result<()> {
    let is_folds = matches!(args.by, By::Folds | By::Nested);
    let has_shares = matches!(args.by, By::Group | By::Time);
    let is_time = args.by == By::Time;
    for (option, is_set, has_effect) in [
        ("--test", args.test.is_some(), has_shares),
        (
            "--validation",
            args.validation.is_some(),
            args.by != By::Nested,
        ),
        ("--folds", args.folds.is_some(), is_folds),
        (
            "--inner-folds",
            args.inner_folds.is_some(),
            args.by == By::Nested,
        ),
        ("--blocks", args.blocks.is_some(), is_time),
        ("--gap", args.gap.is_some(), is_time),
        ("--recipe", args.recipe.is_some(), is_time),
        ("--pairs", args.pairs.is_some(), !is_time),
        ("--group", args.group.is_some(), !is_time),
        ("--group-pattern", args.group_pattern.is_some(), !is_time),
        ("--group-by", args.group_by.is_some() || args.yes, !is_time),
    ] {
        if is_set && !has_effect {
            let by = args
                .by
                .to_possible_value()
                .map_or_else(String::new, |value| value.get_name().to_owned());
            bail!("{option} has no effect with --by {by}: remove it");
        }
    }
    Ok(())
}

/// Gives the items the groups that were discovered, if the person takes them; `false` when they were only shown.
fn take_groups(args: &Args, dataset: &mut Dataset) -> Result<bool> {
    if args.group_by == Some(GroupBy::Source) {
        return Ok(true);
    }
    let proposals = discover_groups(dataset);
    let Some(first) = proposals.first() else {
        ensure!(
            args.group_by.is_none() && !args.yes,
            "no group was discovered: columns and names of {} tell none; name one by --group or --group-pattern, or take each \
             file by itself by --group-by source",
            args.data.display()
        );
        output::note("note: no group was named and none discovered: each file is a group");
        return Ok(true);
    };
    show(&proposals)?;
    if args.group_by.is_none() && !args.yes {
        output::note(
            "no group was named, and nothing is written: take the first line by --group-by discovered, another by the option \
             in it, or each file by itself by --group-by source",
        );
        return Ok(false);
    }
    for (item, group) in dataset.items.iter_mut().zip(&first.groups) {
        item.group = Some(group.clone());
    }
    Ok(true)
}

fn show(proposals: &[Proposal]) -> Result<()> {
    output::line("groups  largest  from                                      option")?;
    for proposal in proposals {
        let option = match proposal.key {
            "data.group" => format!("--group {}", proposal.value),
            _ => format!("--group-pattern '{}'", proposal.value),
        };
        output::line(format!(
            "{:>6}  {:>7}  {:<40}  {option}",
            proposal.num_groups, proposal.largest, proposal.from
        ))?;
    }
    Ok(())
}

fn by_time(args: &Args, dataset: &mut Dataset, survey: &data::Survey) -> Result<Outcome> {
    let sampling: Option<Sampling> = match &args.recipe {
        Some(path) => Some(Recipe::read(path, &[])?.sampling),
        None => None,
    };
    let settings = TimeSplit {
        shares: shares(args),
        blocks: args.blocks.unwrap_or(5),
        gap: args.gap.unwrap_or(Gap::Frames(64)),
    };
    let notes = split_by_time(dataset, survey, sampling.as_ref(), &settings)
        .with_context(|| format!("cannot divide {}", args.data.display()))?;
    notes
        .iter()
        .for_each(|note| output::note(format!("note: {note}")));
    write(dataset, &args.output)
}

fn write(dataset: &Dataset, path: &Path) -> Result<Outcome> {
    write_manifest(dataset, path)?;
    output::line("split       items  groups  of each class")?;
    for split in Split::ALL {
        let counts = dataset.class_counts(split);
        let counts = dataset.classes.names().iter().zip(counts);
        let counts: Vec<String> = counts
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        output::line(format!(
            "{:<10} {:>6}  {:>6}  {}",
            split.name(),
            dataset.indices(split).len(),
            dataset.num_groups(split),
            counts.join(", ")
        ))?;
    }
    output::line(format!("wrote {}", path.display()))?;
    Ok(Outcome::Done)
}

/// Writes one manifest a fold, with the fold's name as the column `fold`.
fn write_folds(dataset: &mut Dataset, folds: &[Fold], path: &Path) -> Result<Outcome> {
    output::line("fold        train  validation  test  manifest")?;
    for fold in folds {
        for (item, split) in dataset.items.iter_mut().zip(&fold.splits) {
            item.split = Some(*split);
            item.metadata.insert("fold".to_owned(), fold.name.clone());
        }
        let name: String = fold
            .name
            .chars()
            .map(|letter| {
                if letter.is_alphanumeric() || "-_".contains(letter) {
                    letter
                } else {
                    '_'
                }
            })
            .collect();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let file = path.with_file_name(format!("{stem}-{name}.csv"));
        write_manifest(dataset, &file)?;
        let count = |split| dataset.indices(split).len();
        output::line(format!(
            "{:<10} {:>6} {:>11} {:>5}  {}",
            fold.name,
            count(Split::Train),
            count(Split::Validation),
            count(Split::Test),
            file.display()
        ))?;
    }
    Ok(Outcome::Done)
}
