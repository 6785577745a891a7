//! Writes a sample report: `cargo run --release -p marey-eval --example report -- target/sample-report [leak|constant|many|runs]`.

#[path = "../tests/it/sample.rs"]
mod sample;

use std::path::PathBuf;

use marey_eval::{Bootstrap, Report, Scored, ScoredRun, classify, compare_runs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap_or_else(|| "target/sample-report".into()));
    let mut report = sample::report();
    match args.next().as_deref() {
        Some("leak") => {
            report.accepted_leak = Some("the authors' split shares cameras".into());
            report.chosen_on_this_split = true;
        }
        // A model that never looks.
        Some("constant") => {
            let mut items = sample::scored(1, 1.0);
            for item in &mut items {
                item.scores = vec![0.1, 0.1, 0.2, 0.1, 0.1, 0.1, 0.3];
            }
            let classes = report.classification.classes.clone();
            report.classification = classify(&classes, &[], &items, &Bootstrap::default())?;
        }
        Some("many") => {
            let classes: Vec<String> = (0..30).map(|i| format!("activity number {i}")).collect();
            let items: Vec<Scored> = (0..900)
                .map(|i| {
                    let mut scores = vec![0.0; 30];
                    scores[if i % 7 == 0 { i * 13 % 30 } else { i % 30 }] = 1.0;
                    Scored {
                        item: format!("{i}"),
                        group: None,
                        target: i % 30,
                        scores,
                    }
                })
                .collect();
            report.classification = classify(&classes, &[10; 30], &items, &Bootstrap::default())?;
            report.data.splits.clear();
        }
        // Three runs beside each other.
        Some("runs") => {
            let runs = [("cctv-1", 2, 0.35), ("cctv-2", 1, 1.0), ("cctv-3", 3, 0.4)];
            let runs = runs.map(|(name, seed, skill)| ScoredRun {
                name: name.to_owned(),
                classes: report.classification.classes.clone(),
                items: sample::scored(seed, skill),
            });
            std::fs::create_dir_all(&dir)?;
            compare_runs(&runs, "macro_f1", &Bootstrap::default())?.save(&dir)?;
            return Ok(());
        }
        _ => {}
    }
    std::fs::create_dir_all(&dir)?;
    report.save(&dir)?;
    // The text table, as a terminal shows it.
    std::fs::write(dir.join("figures.txt"), report.classification.to_string())?;
    // The documented layout of report.json, to be copied beside this crate's README when it changes.
    let schema = serde_json::to_string_pretty(&Report::json_schema())?;
    std::fs::write(dir.join("report.schema.json"), schema + "\n")?;
    Ok(())
}
