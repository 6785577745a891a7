//! What stands beside figures: the baseline that copies the nearest label in time, and the ledger of the test split.

use std::{path::Path, time::SystemTime};

use anyhow::{Context, Result};
use marey::{
    data::{
        Dataset, Split, TestUse, bundle_fingerprint, ledger_path, nearest_labels, record_test_use,
        test_fingerprint,
    },
    eval::{Bootstrap, Comparison, Report, Scored, compare},
    model::utc,
    train::Recipe,
};

use crate::output;

/// The scored items beside a predictor that answers the label of the nearest training item of the same source. `None` where no
/// judged item has one.
pub(crate) fn nearest_in_time(
    dataset: &Dataset,
    split: Split,
    scored: &[Scored],
    bootstrap: &Bootstrap,
) -> Result<Option<Comparison>> {
    if split == Split::Train {
        return Ok(None);
    }
    let by_id: std::collections::HashMap<&str, Option<usize>> = dataset
        .indices(split)
        .into_iter()
        .map(|idx| dataset.items[idx].id.as_str())
        .zip(nearest_labels(dataset, split))
        .collect();
    let label_of = |item: &Scored| by_id.get(item.item.as_str()).copied().flatten();
    let known = scored
        .iter()
        .filter(|item| label_of(item).is_some())
        .count();
    if known == 0 {
        return Ok(None);
    }
    let counts = dataset.class_counts(Split::Train);
    let most = (0..counts.len())
        .rev()
        .max_by_key(|&class| counts[class])
        .unwrap_or(0);
    let copied: Vec<Scored> = scored
        .iter()
        .map(|item| {
            let mut scores = vec![0.0; item.scores.len()];
            scores[label_of(item).unwrap_or(most)] = 1.0;
            Scored {
                scores,
                ..item.clone()
            }
        })
        .collect();
    let name = match scored.len() - known {
        0 => "the label of the nearest training item in time".to_owned(),
        rest => format!(
            "the label of the nearest training item in time ({known} items), else the most frequent class ({rest} items)"
        ),
    };
    Ok(Some(compare(&name, scored, &copied, bootstrap)?))
}

/// Writes a use of the test split by the bundle that `run` made into the ledger beside the data, and into the report how often it was used.
///
/// A ledger that cannot be kept, such as beside data that nobody may write, withholds no figure: the report and a warning say
/// that this use was not written down.
pub(crate) fn note_test_use(
    report: &mut Report,
    recipe: &Recipe,
    dataset: &Dataset,
    bundle: &Path,
    run: &str,
) -> Result<()> {
    if report.split != Split::Test.name() {
        return Ok(());
    }
    let figure = report.headline_figure().context("a report has a figure")?;
    let interval = figure.widest_interval();
    let entry = TestUse {
        date: utc(SystemTime::now()),
        run: run.to_owned(),
        bundle: bundle_fingerprint(bundle)?,
        test: test_fingerprint(dataset),
        items: report.classification.num_items,
        figure: figure.name.clone(),
        value: figure.value,
        interval: [interval.low, interval.high],
        command: report.origin.command.clone(),
        version: report.origin.version.clone(),
    };
    let data = &recipe.data.path;
    let told = match record_test_use(data, &entry) {
        Ok(uses) => format!(
            "{uses}, this time included ({})",
            ledger_path(data).display()
        ),
        Err(error) => {
            let told = format!("this use is not in the ledger, so nobody will count it: {error}");
            output::note(format!("warning: test split: {told}"));
            told
        }
    };
    report.origin.facts.push(("test split".to_owned(), told));
    Ok(())
}
