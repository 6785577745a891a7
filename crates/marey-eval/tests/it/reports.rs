//! The three forms of a report.

use std::fs;

use marey_eval::{
    Bootstrap, Curve, CurvePanel, ErrorKind, Finding, Heat, Report, SCHEMA_VERSION, Severity,
    Skipped, Strip, classify,
};

use crate::sample;

#[test]
fn json_is_read_back_as_it_was() {
    let report = sample::report();
    let read = Report::from_json(&report.to_json()).expect("its own JSON");
    let expected = Report {
        verdict: report.verdict(),
        // Pictures are for the page only.
        strips: Vec::new(),
        ..report
    };
    // f64 survives JSON to the bit; f32 scores do as well.
    assert_eq!(read, expected);
}

#[test]
fn a_loss_that_is_not_finite_does_not_break_the_file() {
    let mut report = sample::report();
    let points = vec![(1.0, 0.5), (2.0, f64::NAN), (3.0, f64::INFINITY)];
    report.curves = vec![Curve {
        name: "training".into(),
        panel: CurvePanel::Loss,
        points,
    }];
    let read = Report::from_json(&report.to_json()).expect("its own JSON");
    assert_eq!(read.curves[0].points, [(1.0, 0.5)]);
}

#[test]
fn another_version_is_refused() {
    let json = sample::report().to_json();
    let version = format!("\"schema_version\": {SCHEMA_VERSION}");
    assert!(json.contains(&version));
    let error = Report::from_json(&json.replace(&version, "\"schema_version\": 99"))
        .expect_err("version 99");
    assert!(
        matches!(error.kind(), ErrorKind::Schema { found: 99, .. }),
        "{error:?}"
    );
    let error = Report::from_json("{}").expect_err("not a report");
    assert!(matches!(error.kind(), ErrorKind::Json(_)), "{error:?}");
}

/// A change of the layout must be seen in review, and raise `SCHEMA_VERSION` if it breaks readers. The example `report` writes the
/// file anew.
#[test]
fn the_documented_schema_is_the_real_one() {
    let documented: serde_json::Value =
        serde_json::from_str(include_str!("../../report.schema.json")).expect("a JSON file");
    assert_eq!(documented, Report::json_schema());
}

#[test]
fn the_verdict_says_figure_interval_baseline_and_standing() {
    let mut report = sample::report();
    let figure = report.headline_figure().expect("always there").clone();
    let verdict = report.verdict();
    for part in [
        format!("macro F1 is {:.1} %", 100.0 * figure.value),
        format!(
            "{:.1}–{:.1} %",
            100.0 * figure.interval.low,
            100.0 * figure.interval.high
        ),
        format!("against {:.1} %", 100.0 * figure.baseline.value),
        "201 items of 23 groups".into(),
        "above the baseline".into(),
    ] {
        assert!(verdict.contains(&part), "{part:?} in {verdict:?}");
    }
    let idx = report
        .classification
        .figures
        .iter()
        .position(|f| f.name == "macro_f1")
        .expect("there");
    for (baseline, expected) in [
        (figure.value, "includes the baseline"),
        (1.0, "below the baseline"),
    ] {
        report.classification.figures[idx].baseline.value = baseline;
        assert!(
            report.verdict().contains(expected),
            "{baseline}: {}",
            report.verdict()
        );
    }
}

#[test]
fn an_accepted_leak_comes_first() {
    let mut report = sample::report();
    report.accepted_leak = Some("the authors' split shares cameras.".into());
    report.chosen_on_this_split = true;
    let verdict = report.verdict();
    assert!(
        verdict.starts_with("accepted leak: the authors' split shares cameras. On test"),
        "{verdict}"
    );
    assert!(verdict.ends_with("expect less on new data."), "{verdict}");
    let html = report.to_html();
    let leak = html.find("Accepted leak").expect("the leak is on the page");
    assert!(
        leak < html
            .find("macro F1 is")
            .expect("the sentence is on the page")
    );
}

#[test]
fn the_page_asks_for_nothing_and_runs_nothing() {
    let html = sample::report().to_html();
    let inline = "<img src=\"data:image/jpeg;base64,";
    assert!(html.matches(inline).count() > 20);
    let rest = html
        .replace("http://www.w3.org/2000/svg", "")
        .replace(inline, "");
    for forbidden in [
        "http:", "https:", "//cdn", "<script", "<link", "<img", "url(", "@import", "src=",
    ] {
        assert!(!rest.contains(forbidden), "{forbidden}");
    }
    for needed in [
        "prefers-color-scheme:dark",
        "@media print",
        "name=\"viewport\"",
        "<svg",
    ] {
        assert!(html.contains(needed), "{needed}");
    }
}

#[test]
fn no_name_becomes_markup() {
    let evil = "<img src=x onerror='alert(1)'>\"";
    let mut items = sample::scored(1, 0.2);
    for item in &mut items {
        item.item = format!("{evil}{}", item.item);
        item.group = Some(format!("{evil}{}", item.group.as_deref().unwrap_or("")));
    }
    let classes: Vec<String> = (0..7).map(|class| format!("{evil}{class}")).collect();
    let mut report = sample::report();
    let comparisons = report.classification.comparisons.clone();
    report.classification = classify(
        &classes,
        &[9, 8, 0, 5, 4, 3, 2],
        &items,
        &Bootstrap::default(),
    )
    .expect("sound items");
    report.classification.comparisons = comparisons;
    report.classification.comparisons[0].name = evil.into();
    report.break_down(&items);
    let frame = [0; 4 * 4 * 3];
    let heat = Heat {
        class: evil.into(),
        dims: [1; 3],
        values: vec![1.0],
        over_time: vec![1.0],
    };
    report.strips = report
        .items_to_show()
        .into_iter()
        .map(|item| Strip::new(item, [1, 4, 4], &frame, Some(&heat)).expect("a strip"))
        .collect();
    report.findings = vec![Finding {
        severity: Severity::Stop,
        sentence: evil.into(),
        items: vec![evil.into()],
        command: Some(evil.into()),
    }];
    for text in [
        &mut report.name,
        &mut report.split,
        &mut report.recipe,
        &mut report.data.source,
        &mut report.data.notes[0],
        &mut report.data.splits[0].split,
        &mut report.curves[0].name,
        &mut report.origin.command,
        &mut report.origin.version,
        &mut report.origin.device,
        &mut report.origin.kernels,
    ] {
        *text = evil.into();
    }
    report.data.skipped[0] = Skipped {
        item: evil.into(),
        reason: evil.into(),
    };
    report.origin.facts[0] = (evil.into(), evil.into());
    report.accepted_leak = Some(evil.into());
    let html = report.to_html();
    assert!(!html.contains("<img src=x"), "markup came through");
    assert!(
        html.matches("&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&quot;")
            .count()
            > 100
    );
}

#[test]
fn files_are_written_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let report = sample::report();
    report.save(dir.path()).expect("a writable folder");
    let names = |path: &std::path::Path| -> Vec<String> {
        let entries = fs::read_dir(path).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(dir.path()), ["plots", "report.html", "report.json"]);
    let plots = names(&dir.path().join("plots"));
    assert_eq!(plots.len(), report.plots().len());
    assert!(plots.iter().all(|name| name.ends_with(".png")), "{plots:?}");

    // A file where a folder must be.
    let blocked = dir.path().join("report.json");
    let error = report.save(&blocked).expect_err("not a folder");
    assert_eq!(error.path(), Some(blocked.join("plots").as_path()));
    assert!(error.to_string().starts_with("cannot write "), "{error}");
}

#[test]
fn an_evaluation_without_training_is_a_report_too() {
    let full = sample::report();
    let report = Report::new("bundle", "test", full.classification);
    let html = report.to_html();
    for absent in [
        "<h2>Training",
        "<h2>Data",
        "<h2>Recipe",
        "<h2>How to get",
        "<h2>What it only knows",
        "<h2>Events in recordings",
        "<h2>Anomalies in recordings",
        "<h2>Labels to look at",
        "<h2>Findings",
        "<h2>What is taken",
        "class=\"film\"",
    ] {
        assert!(!html.contains(absent), "{absent}");
    }
    assert!(html.contains("top-1 accuracy is "));
    // Without clips every mistake is a row of the table.
    assert!(html.contains("<h2>Mistakes") && html.contains("words named"));
}

#[test]
fn a_page_is_balanced_and_small() {
    let report = sample::report();
    let html = report.to_html();
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
    check_balanced(&html);
    check_balanced(&Report::new("bundle", "test", report.classification).to_html());
}

/// Every element that is opened is closed, in order.
pub(crate) fn check_balanced(html: &str) {
    const VOID: [&str; 5] = ["meta", "img", "wbr", "br", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let (tag, after) = rest.split_once('>').expect("a tag ends");
        rest = after;
        let name = tag
            .trim_start_matches('/')
            .split(|c: char| c.is_whitespace() || c == '/')
            .next()
            .expect("split gives at least one part");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed before {:.80}", rest);
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        // A style sheet is not markup.
        if name == "style" && !tag.starts_with('/') {
            rest = &rest[rest.find("</style").expect("a style sheet ends")..];
        }
    }
    assert!(open.is_empty(), "{open:?} is never closed");
}

#[test]
fn links_of_the_page_lead_somewhere() {
    let html = sample::report().to_html();
    let mut num_links = 0;
    for link in html.split("href=\"#").skip(1) {
        let id = link
            .split('"')
            .next()
            .expect("split gives at least one part");
        assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
        num_links += 1;
    }
    assert!(num_links > 8, "{num_links}");
}

#[test]
fn a_mistake_is_shown_once_with_its_clip_and_where_the_model_looked() {
    let report = sample::report();
    let html = report.to_html();
    let mistakes = &html[html.find("<h2>Mistakes").expect("mistakes")..];
    let mistakes = &mistakes[..mistakes.find("</section>").expect("an end")];
    let cards = report.worst_mistakes().len();
    assert_eq!(cards, 12);
    assert_eq!(mistakes.matches("class=\"card\"").count(), cards);
    // The clip, and the clip under its heat, with its bars.
    assert_eq!(mistakes.matches("class=\"film\"").count(), 2 * cards);
    assert_eq!(
        mistakes.matches("aria-label=\"weight over time\"").count(),
        cards
    );
    // A clip of 80 x 60 pixels is shown at 96 x 72, its eight frames beside each other.
    let size = "width:96px\"><img";
    assert_eq!(mistakes.matches(size).count(), 2 * cards);
    assert!(mistakes.contains("width=\"768\" height=\"72\""));
    // The others are in the table.
    let rows = mistakes.matches("<tr><td>").count();
    let all = report.classification.mistakes.len().min(40);
    assert_eq!(rows, all - cards);
    // The examples of the confusions are shown too.
    let confusions = &html[html.find("<h2>What is taken").expect("confusions")..];
    let confusions = &confusions[..confusions.find("</section>").expect("an end")];
    let examples: usize = report
        .confusions
        .iter()
        .map(|pair| pair.examples.len())
        .sum();
    assert!(examples > 5);
    assert_eq!(confusions.matches("class=\"film\"").count(), examples);
}

#[test]
fn the_plain_verdict_counts_items() {
    let report = sample::report();
    let html = report.to_html();
    let top1 = report.classification.figure("top1").expect("always there");
    let correct = (top1.value * 201.0).round();
    let plain = format!("of 201 items the model named {correct} rightly. Answering ");
    assert!(html.contains(&plain), "{plain}");
    assert!(
        html.contains("every time would have been right 84 times"),
        "the baseline"
    );
}

#[test]
fn groups_come_worst_first_and_findings_gravest_first() {
    let report = sample::report();
    assert_eq!(report.classification.groups.len(), 23);
    let ends: Vec<f64> = report
        .classification
        .groups
        .iter()
        .map(|group| group.interval.high)
        .collect();
    assert!(ends.is_sorted(), "{ends:?}");
    let html = report.to_html();
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text}"));
    let first = report.classification.groups[0].group.replace('_', "_<wbr>");
    let last = report.classification.groups[22]
        .group
        .replace('_', "_<wbr>");
    let rows = &html[at("<h2>Worst groups first")..at("<h2>Mistakes")];
    assert!(rows.contains(&first) && !rows.contains(&last));
    assert!(rows.contains("the 12 worst of 23") && rows.matches("<tr><td>").count() == 12);
    assert!(at("Figures flatter the model") < at("Worth knowing"));
    // What flatters the figures stands before them too, and nothing milder.
    assert!(at("3 groups have items in train and in test") < at("macro F1 is"));
    assert!(at("Every clip lasts") > at("<h2>Findings"));
    assert!(
        html.contains(" and 4 more"),
        "items beyond the eighth are counted"
    );
}

#[test]
fn what_was_judged_beside_the_items_has_its_place() {
    let mut report = sample::report();
    let html = report.to_html();
    for present in [
        "<h2>How far to trust a score",
        "Calibration: temperature 0.600",
        "says “uncertain” (so that 80.0&nbsp;% of the validation items are answered",
        "<h2>What it only knows by heart",
        "<h2>Events in recordings",
        "12 recordings watched in windows of 20 s, 10 s apart",
        "holds items of other splits",
        "<h2>Anomalies in recordings",
        "By recording: mean of the 3 highest windows",
        "Verdict by recording",
        "chosen on the validation split (6 recordings, 4 anomalous)",
        "<h2>Labels to look at",
        "Words on this page",
    ] {
        assert!(html.contains(present), "{present}");
    }
    // A calibration that was fitted on the judged split is no evidence, and the page says so.
    assert!(!html.contains("fitted on this very split"));
    report.split = "validation".into();
    assert!(report.to_html().contains("fitted on this very split"));
    report.label_candidates[0].item = "<b>.mp4".into();
    report.events.as_mut().expect("there").left_out[0] = "<i>".into();
    let html = report.to_html();
    assert!(html.contains("&lt;b&gt;.mp4") && html.contains("<li>&lt;i&gt;</li>"));
}

#[test]
fn candidates_of_models_that_may_be_guessing_are_doubted() {
    let mut report = sample::report();
    let with_baseline = |report: &mut marey_eval::Report, value: f64| {
        let headline = report.headline.clone();
        let figures = &mut report.classification.figures;
        let figure = figures.iter_mut().find(|figure| figure.name == headline);
        let figure = figure.expect("the headline is a figure");
        figure.over_baseline = None;
        figure.baseline.value = value;
    };
    with_baseline(&mut report, 0.0);
    assert_eq!(report.doubt_about_candidates(), None);
    assert!(!report.to_html().contains("not shown to be better than"));
    with_baseline(&mut report, 1.0);
    let doubt = report
        .doubt_about_candidates()
        .expect("worse than the baseline");
    assert!(doubt.contains("says little about labels"), "{doubt}");
    assert!(report.to_html().contains("says little about labels"));
    report.label_candidates.clear();
    assert_eq!(report.doubt_about_candidates(), None);
}
