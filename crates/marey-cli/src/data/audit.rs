//! `marey data audit`: what is wrong with a data set, before a model is trained on it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use marey::{
    data::{self, AuditConfig, CHECKS, DataConfig, Depth, Severity},
    train::Recipe,
};
use serde::Serialize;

use super::twins;
use crate::{Outcome, output, recognise::audit_config};

/// Arguments of `marey data audit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A manifest, a folder of class folders, or a thermal set (default: the recipe's data).
    #[arg(required_unless_present_any = ["recipe", "checks"])]
    data: Option<PathBuf>,
    /// The recipe whose `[data]`, `[sampling]` and `[preprocess]` say what the model will see.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// Change a key of the recipe.
    #[arg(long, value_name = "KEY=VALUE", requires = "recipe")]
    set: Vec<String>,
    /// The column (or several, joined by `+`) that splits must not share.
    #[arg(long)]
    group: Option<String>,
    /// A regular expression whose parentheses capture the group in an item's name, where no column says it.
    #[arg(long, value_name = "REGEX", conflicts_with = "group")]
    group_pattern: Option<String>,
    /// The column of the classes.
    #[arg(long)]
    label: Option<String>,
    /// Clips whose frames are looked at.
    #[arg(long, value_name = "CLIPS", default_value_t = 200)]
    frames: usize,
    /// A table of pairs of items that look alike: two columns of item names.
    #[arg(long, value_name = "CSV")]
    pairs: Option<PathBuf>,
    /// Also search for items that show the same footage, recoded, cropped, mirrored or cut: decodes all of it.
    #[arg(long)]
    twins: bool,
    /// Print JSON, with every item.
    #[arg(long)]
    json: bool,
    /// List the checks and where each is enforced, and do nothing else.
    #[arg(long)]
    checks: bool,
}

pub(crate) fn run(args: Args) -> Result<Outcome> {
    if args.checks {
        return list_checks(args.json);
    }
    let (mut config, mut settings) = match &args.recipe {
        Some(path) => {
            let recipe = Recipe::read(path, &args.set)?;
            let settings = audit_config(&recipe, &recipe.sampling, args.frames);
            (recipe.data, settings)
        }
        None => {
            let settings = AuditConfig {
                depth: Depth::Frames(args.frames),
                ..AuditConfig::default()
            };
            let Some(data) = args.data.clone() else {
                bail!("name the data, or a recipe by --recipe");
            };
            (DataConfig::new(data), settings)
        }
    };
    if let Some(data) = args.data {
        config.path = data;
    }
    if args.group.is_some() || args.group_pattern.is_some() {
        (config.group, config.group_pattern) = (args.group, args.group_pattern);
    }
    config.label = args.label.or(config.label);
    if let Some(path) = &args.pairs {
        settings.near_duplicates = read_pairs(path)?;
    }
    if args.twins {
        settings.near_duplicates.extend(twins::pairs(&config)?);
    }
    let audit = data::audit(&config, &settings)?.audit;
    if args.json {
        output::json(&audit)?;
    } else {
        output::line(&audit)?;
    }
    let is_accepted = config
        .allow_leak
        .as_deref()
        .is_some_and(|reason| !reason.trim().is_empty());
    if is_accepted && audit.of(Severity::Leak).next().is_some() {
        output::note(format!(
            "the leak is accepted by the recipe: {}",
            config.allow_leak.unwrap_or_default()
        ));
        return Ok(match audit.of(Severity::Error).next() {
            None => Outcome::Done,
            Some(_) => Outcome::No,
        });
    }
    Ok(if audit.stops() {
        Outcome::No
    } else {
        Outcome::Done
    })
}

#[derive(Serialize)]
struct Checks {
    checks: &'static [data::Check],
}

fn list_checks(json: bool) -> Result<Outcome> {
    if json {
        output::json(&Checks { checks: &CHECKS })?;
        return Ok(Outcome::Done);
    }
    for check in CHECKS {
        let place = format!("{:?}", check.enforced).to_lowercase();
        output::line(format!(
            "{:>2}  {place:<9} {}: {}",
            check.number, check.question, check.how
        ))?;
    }
    Ok(Outcome::Done)
}

/// The pairs of a table with two columns; a header is one that names `a` and `b`.
pub(super) fn read_pairs(path: &std::path::Path) -> Result<Vec<[String; 2]>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_path(path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut pairs = Vec::new();
    for record in reader.records() {
        let record = record.with_context(|| format!("{} is no table", path.display()))?;
        ensure!(
            record.len() == 2,
            "{} has a line of {} columns: expected two, the names of two items",
            path.display(),
            record.len()
        );
        let pair = [record[0].trim().to_owned(), record[1].trim().to_owned()];
        if pair != ["a", "b"] {
            pairs.push(pair);
        }
    }
    Ok(pairs)
}
