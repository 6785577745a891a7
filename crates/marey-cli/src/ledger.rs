//! The ledger of the test split.

use std::{path::PathBuf, time::SystemTime};

use anyhow::{Context, Result};
use marey::{
    data::{
        Dataset, Split, TestUse, bundle_fingerprint, ledger_path, record_test_use, test_fingerprint,
    },
    eval::Report,
    model::utc,
    train::Recipe,
};

use crate::output;

/// Writes a use of the test split by `bundles`, which `run` made, into the ledger beside the data, and into the report how often it was used.
///
/// A ledger that cannot be kept, such as beside data that nobody may write, withholds no figure: the report and a warning say
/// that this use was not written down.
pub(crate) fn note_test_use(
    report: &mut Report,
    recipe: &Recipe,
    dataset: &Dataset,
    bundles: &[PathBuf],
    run: &str,
) -> Result<()> {
    if report.split != Split::Test.name() {
        return Ok(());
    }
    let figure = report.headline_figure().context("a report has a figure")?;
    let interval = figure.widest_interval();
    let fingerprints: Result<Vec<String>, _> =
        bundles.iter().map(|dir| bundle_fingerprint(dir)).collect();
    let entry = TestUse {
        date: utc(SystemTime::now()),
        run: run.to_owned(),
        bundle: fingerprints?.join("+"),
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
