//! Runs beside each other.

use marey_eval::{
    Bootstrap, Difference, ErrorKind, RunsCompared, Scored, ScoredRun, Standing, compare,
    compare_runs,
};

use crate::sample;

fn run(name: &str, seed: u64, skill: f32) -> ScoredRun {
    ScoredRun {
        name: name.to_owned(),
        classes: sample::report().classification.classes,
        items: sample::scored(seed, skill),
    }
}

fn compared(runs: &[ScoredRun]) -> RunsCompared {
    compare_runs(runs, "macro_f1", &Bootstrap::default()).expect("runs on the same items")
}

#[test]
fn each_run_is_compared_with_the_first_on_the_common_items() {
    let mut runs = [
        run("weak", 2, 0.35),
        run("strong", 1, 1.0),
        run("also weak", 3, 0.35),
    ];
    let whole = compared(&runs);
    assert_eq!((whole.num_items, whole.num_groups), (201, Some(23)));
    let standings: Vec<_> = whole
        .versus
        .iter()
        .map(|versus| versus.standing("macro_f1").expect("compared"))
        .collect();
    assert_eq!(standings, [Standing::Above, Standing::Undecided]);
    assert!(!whole.all_better());
    assert!(compared(&runs[..2]).all_better());
    // The paired bootstrap is that of `compare`, whose pairing does not depend on the order of the items.
    let [weak, strong] = [&runs[0].items, &runs[1].items];
    let alone = compare("weak", strong, weak, &Bootstrap::default()).expect("the same items");
    for (found, expected) in whole.versus[0]
        .comparison
        .differences
        .iter()
        .zip(&alone.differences)
    {
        assert_eq!(found.figure, expected.figure);
        // Sums of scores come in another order.
        let ends = |difference: &Difference| {
            [
                difference.difference,
                difference.interval.low,
                difference.interval.high,
            ]
        };
        for (found, expected) in ends(found).into_iter().zip(ends(expected)) {
            assert!(
                (found - expected).abs() < 1e-12,
                "{found} is not {expected}"
            );
        }
    }
    // Looking twice raises the smaller p value.
    let [strong, weak] = [&whole.versus[0], &whole.versus[1]];
    assert_eq!(strong.corrected_p_value, 2.0 * strong.mcnemar.p_value);
    assert!(weak.corrected_p_value >= weak.mcnemar.p_value);

    // Ten items of one run, and the order of another, change what is compared and say so.
    runs[1].items.drain(..10);
    runs[2].items.reverse();
    let part = compared(&runs);
    let unmatched: Vec<usize> = part.runs.iter().map(|run| run.num_unmatched).collect();
    assert_eq!((part.num_items, unmatched), (191, vec![10, 0, 10]));
    assert!(
        part.notes[0].starts_with("10 items of weak did not match"),
        "{:?}",
        part.notes
    );
}

#[test]
fn the_items_that_changed_are_those_of_mcnemar() {
    let runs = [run("weak", 2, 0.35), run("strong", 1, 1.0)];
    let compared = compared(&runs);
    let versus = &compared.versus[0];
    let test = versus.mcnemar;
    assert_eq!(
        versus.num_changed as u64,
        test.only_first + test.only_second
    );
    assert_eq!(versus.changed.len(), versus.num_changed.min(100));
    let fixed = versus
        .changed
        .iter()
        .filter(|changed| changed.other == changed.truth);
    let broken = versus
        .changed
        .iter()
        .filter(|changed| changed.first == changed.truth);
    assert_eq!(fixed.count() + broken.count(), versus.changed.len());
}

/// A bootstrap is too sure where few items differ; McNemar's test is not.
#[test]
fn four_items_out_of_forty_make_no_better_run() {
    let of = |name: &str, wrong: usize| {
        let items = (0..40).map(|idx| Scored {
            item: format!("{idx:02}"),
            group: None,
            target: idx % 2,
            scores: if (idx % 2 == 0) == (idx >= wrong) {
                vec![0.9, 0.1]
            } else {
                vec![0.1, 0.9]
            },
        });
        ScoredRun {
            name: name.to_owned(),
            classes: vec!["a".into(), "b".into()],
            items: items.collect(),
        }
    };
    let compared = compare_runs(&[of("old", 4), of("new", 0)], "top1", &Bootstrap::default())
        .expect("the same items");
    let versus = &compared.versus[0];
    assert!(versus.difference("top1").expect("compared").interval.low > 0.0);
    assert!((versus.mcnemar.p_value - 0.125).abs() < 1e-12);
    assert_eq!(versus.standing("top1"), Some(Standing::Undecided));
    assert!(
        compared.notes[0].starts_with("no groups are known"),
        "{:?}",
        compared.notes
    );
}

#[test]
fn runs_that_do_not_fit_are_refused() {
    let sound = run("a", 1, 1.0);
    let check = |other: ScoredRun, is_expected: &dyn Fn(&ErrorKind) -> bool| {
        let error = compare_runs(&[sound.clone(), other], "macro_f1", &Bootstrap::default())
            .expect_err("refused");
        assert!(is_expected(error.kind()), "{error:?}");
        assert_eq!(error.to_string(), "cannot compare these runs");
    };
    let mut other = run("b", 2, 1.0);
    other.classes.swap(0, 1);
    check(other, &|kind| {
        matches!(kind, ErrorKind::OtherClasses { .. })
    });
    let mut other = run("b", 2, 1.0);
    other.items[3].target = 6;
    check(other, &|kind| matches!(kind, ErrorKind::TwoTruths { .. }));
    let mut other = run("b", 2, 1.0);
    for item in &mut other.items {
        item.item += "?";
    }
    check(other, &|kind| matches!(kind, ErrorKind::NoCommonItem(_)));
    for (runs, num) in [(&[][..], 0), (&[sound.clone()][..], 1)] {
        let error = compare_runs(runs, "macro_f1", &Bootstrap::default()).expect_err("too few");
        assert!(matches!(error.kind(), ErrorKind::TooFewRuns(found) if *found == num));
    }
    let error = compare_runs(
        &[sound.clone(), run("b", 2, 1.0)],
        "f7",
        &Bootstrap::default(),
    );
    let error = error.expect_err("no such figure");
    assert!(
        matches!(error.kind(), ErrorKind::NoFigure { .. }),
        "{error:?}"
    );
}

#[test]
fn a_comparison_is_saved_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let compared = compared(&[run("<b>old</b>", 2, 0.35), run("new", 1, 1.0)]);
    compared.save(dir.path()).expect("a writable folder");
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).expect(name);
    let json: RunsCompared = serde_json::from_str(&read("compare.json")).expect("its own JSON");
    assert_eq!(json, compared);
    let page = read("compare.html");
    assert!(page.contains("&lt;b&gt;old&lt;/b&gt;") && !page.contains("<b>old</b>"));
    assert_eq!(page.matches("<svg").count(), 2);
    crate::reports::check_balanced(&page);
    for name in ["plots/runs.png", "plots/differences.png"] {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
}
