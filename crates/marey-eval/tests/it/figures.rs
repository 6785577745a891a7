//! Properties of figures on any input, and the inputs that are refused.

use marey_eval::{
    Bootstrap, Classification, Error, ErrorKind, IntervalMethod, Scored, Standing, classify,
    compare,
};
use proptest::prelude::*;

use crate::sample;

const FEW_DRAWS: Bootstrap = Bootstrap { draws: 50, seed: 3 };

fn names(num_classes: usize) -> Vec<String> {
    (0..num_classes)
        .map(|class| format!("class {class}"))
        .collect()
}

/// `(target, predicted, group)`.
type Certain<'a> = (usize, usize, Option<&'a str>);

/// Items with certain predictions.
fn certain(num_classes: usize, items: &[Certain<'_>]) -> Vec<Scored> {
    items
        .iter()
        .enumerate()
        .map(|(idx, &(target, predicted, group))| {
            let mut scores = vec![0.0; num_classes];
            scores[predicted] = 1.0;
            Scored {
                item: format!("item {idx}"),
                group: group.map(str::to_owned),
                target,
                scores,
            }
        })
        .collect()
}

#[test]
fn the_thermal_reference_run_is_judged_as_by_hand() {
    // 52 of 73 right where the majority class has 37: by hand 71.2 %, Wilson 60 to 80 %, baseline 50.7 %.
    let items: Vec<_> = (0..73)
        .map(|i| {
            let target = if i < 37 { 0 } else { 1 + i % 6 };
            let is_right = i < 37 || (i - 37) < 15;
            (target, if is_right { target } else { 0 }, None)
        })
        .collect();
    let found =
        classify(&names(14), &[40; 14], &certain(14, &items), &FEW_DRAWS).expect("sound items");
    let top1 = found.figure("top1").expect("always given");
    assert_eq!(
        (top1.value, top1.baseline.value),
        (52.0 / 73.0, 37.0 / 73.0)
    );
    assert!((top1.interval.low - 0.60).abs() < 5e-3 && (top1.interval.high - 0.80).abs() < 5e-3);
    assert_eq!(top1.standing(), Standing::Above);
}

#[test]
fn a_constant_predictor_is_its_own_baseline_and_is_named() {
    let mut items = sample::scored(1, 1.0);
    for item in &mut items {
        item.scores = vec![0.15, 0.1, 0.12, 0.11, 0.12, 0.1, 0.3];
    }
    let train_counts = [50, 10, 40, 20, 30, 5, 60];
    // The constant ranking of the scores above, ties to the earlier class: 6 0 2 4 3 1 5.
    let found = classify(&names(7), &train_counts, &items, &FEW_DRAWS).expect("sound items");
    for figure in &found.figures {
        // Its scores are other constants than the class shares, so they may be better or worse ones.
        let is_of_probabilities = ["ece", "brier"].contains(&figure.name.as_str());
        assert!(
            is_of_probabilities || figure.standing() != Standing::Above,
            "{}",
            figure.name
        );
    }
    for name in [
        "top1",
        "top5",
        "mean_class_accuracy",
        "union_mean_recall",
        "mcc",
        "roc_auc",
    ] {
        let figure = found.figure(name).expect("always given");
        assert_eq!(figure.value, figure.baseline.value, "{name}");
    }
    let warnings = found.warnings.join("\n");
    assert!(
        warnings.contains("constant predictor") && warnings.contains("exactly the same scores"),
        "{warnings}"
    );
}

#[test]
fn warnings_say_what_is_wrong() {
    let cases: [(&str, Vec<usize>, Vec<Certain<'_>>); 9] = [
        (
            "constant predictor",
            vec![5, 5],
            vec![(0, 0, None), (1, 0, None)],
        ),
        (
            "top-5 accuracy is 1 by definition with 2 classes",
            vec![5, 5],
            vec![(0, 0, None), (1, 1, None)],
        ),
        (
            "no training item, so it cannot be recognised: class 1",
            vec![5, 0],
            vec![(0, 0, None), (1, 1, None)],
        ),
        (
            "no item in training or here: class 2",
            vec![5, 5, 0],
            vec![(0, 0, None), (1, 1, None)],
        ),
        (
            "the means leave it out: class 2",
            vec![5, 5, 5],
            vec![(0, 0, None), (1, 1, None)],
        ),
        (
            "training label counts are unknown",
            vec![],
            vec![(0, 0, None), (1, 1, None)],
        ),
        (
            "all items are of the group \"a\"",
            vec![5, 5],
            vec![(0, 0, Some("a")), (1, 1, Some("a"))],
        ),
        (
            "mean class accuracy is 1/2, exactly what a predictor gets that always answers one class",
            vec![5, 5],
            vec![(0, 0, None), (0, 1, None), (1, 0, None), (1, 1, None)],
        ),
        (
            "only 2 groups",
            vec![5, 5],
            vec![(0, 0, Some("a")), (1, 1, Some("b"))],
        ),
    ];
    for (expected, train_counts, items) in cases {
        let num_classes = train_counts.len().max(2);
        let found = classify(
            &names(num_classes),
            &train_counts,
            &certain(num_classes, &items),
            &FEW_DRAWS,
        )
        .expect("sound items");
        assert!(
            found.warnings.iter().any(|w| w.contains(expected)),
            "{expected}: {:?}",
            found.warnings
        );
    }
}

#[test]
fn clustered_scores_are_named() {
    let mut items = sample::scored(1, 1.0);
    for (idx, item) in items.iter_mut().enumerate() {
        // Pairs of neighbours share their scores, which is too few for the alarm of three.
        let share = 0.1 + 0.001 * (idx / 2) as f32;
        item.scores = vec![share, 0.9 - share, 0.1, 0.0, 0.0, 0.0, 0.0];
    }
    items.truncate(200);
    let found = classify(&names(7), &[], &items, &FEW_DRAWS).expect("sound items");
    let expected = "only 100 different scores among 200 items";
    assert!(
        found.warnings.iter().any(|w| w.contains(expected)),
        "{:?}",
        found.warnings
    );
}

#[test]
fn scores_that_are_no_probabilities_have_no_calibration() {
    let mut items = sample::scored(1, 1.0);
    let judge =
        |items: &[Scored]| classify(&names(7), &[], items, &FEW_DRAWS).expect("sound items");
    let found = judge(&items);
    assert!(found.figure("ece").is_some() && found.figure("brier").is_some());
    // The bars are what the calibration error is made of.
    let gap = |bar: &marey_eval::ReliabilityBin| {
        bar.support as f64 * (bar.accuracy - bar.confidence).abs()
    };
    let error = found.reliability.iter().map(gap).sum::<f64>() / items.len() as f64;
    let ece = found.figure("ece").expect("given").value;
    assert!(
        found.reliability.len() == 15 && (error - ece).abs() < 1e-12,
        "{error} {ece}"
    );
    items[7].scores[0] += 0.01;
    let found = judge(&items);
    assert!(found.figure("ece").is_none() && found.figure("brier").is_none());
    assert!(found.reliability.is_empty());
    assert!(
        found
            .warnings
            .iter()
            .any(|w| w.contains("no probabilities")),
        "{:?}",
        found.warnings
    );
}

#[test]
fn the_worst_group_comes_first() {
    let items: Vec<Certain<'_>> = (0..60)
        .map(|i| match i {
            // All 20 of "a" are right, 5 of 20 of "b", and neither of the two of "c".
            0..20 => (i % 2, i % 2, Some("a")),
            20..40 => (i % 2, if i < 25 { i % 2 } else { 1 - i % 2 }, Some("b")),
            40..42 => (0, 1, Some("c")),
            _ => (0, 0, None),
        })
        .collect();
    let found = classify(&names(2), &[1, 1], &certain(2, &items), &FEW_DRAWS).expect("sound items");
    let order: Vec<(&str, usize, f64, f64)> = found
        .groups
        .iter()
        .map(|group| {
            (
                group.group.as_str(),
                group.support,
                group.accuracy,
                group.baseline,
            )
        })
        .collect();
    // Two items say less against "c" than twenty against "b".
    let expected = [
        ("b", 20, 0.25, 0.5),
        ("c", 2, 0.0, 1.0),
        ("a", 20, 1.0, 0.5),
    ];
    assert_eq!(order, expected);
    assert!(found.to_string().contains("groups, the worst first"));
}

#[test]
fn a_sound_evaluation_warns_of_nothing() {
    let groups: Vec<String> = (0..20).map(|g| g.to_string()).collect();
    let items: Vec<_> = (0..600)
        .map(|i| {
            (
                i % 6,
                if i % 9 == 0 { (i + 1) % 6 } else { i % 6 },
                Some(groups[i % 20].as_str()),
            )
        })
        .collect();
    // The rarest training class occurs in the set, so the constant top-5 misses some.
    let train_counts = [60, 50, 40, 30, 20, 10];
    let found =
        classify(&names(6), &train_counts, &certain(6, &items), &FEW_DRAWS).expect("sound items");
    assert_eq!(found.warnings, Vec::<String>::new());
}

#[test]
fn unusable_input_is_refused_by_name() {
    let good = || certain(2, &[(0, 0, None), (1, 1, None)]);
    let with = |change: fn(&mut Vec<Scored>)| {
        let mut items = good();
        change(&mut items);
        classify(&names(2), &[1, 1], &items, &FEW_DRAWS)
    };
    let cases: [(&str, Result<Classification, Error>); 8] = [
        ("no items", with(|items| items.clear())),
        (
            "has class 2, but there are only 2 classes",
            with(|items| items[1].target = 2),
        ),
        (
            "has 3 scores, expected one for each of 2",
            with(|items| items[0].scores.push(0.0)),
        ),
        ("not finite", with(|items| items[0].scores[1] = f32::NAN)),
        (
            "appears twice",
            with(|items| items[1].item = items[0].item.clone()),
        ),
        (
            "3 training counts for 2 classes",
            classify(&names(2), &[1; 3], &good(), &FEW_DRAWS),
        ),
        (
            "1 class(es)",
            classify(&names(1), &[1], &good(), &FEW_DRAWS),
        ),
        (
            "0 bootstrap draws",
            classify(&names(2), &[], &good(), &Bootstrap { draws: 0, seed: 0 }),
        ),
    ];
    for (expected, result) in cases {
        let error = result.expect_err(expected);
        assert_eq!(error.to_string(), "cannot evaluate these scores");
        assert!(
            error.kind().to_string().contains(expected),
            "{expected}: {}",
            error.kind()
        );
    }
}

#[test]
fn a_model_does_not_differ_from_itself() {
    let mut items = sample::scored(1, 1.0);
    let same = compare("itself", &items, &sample::scored(1, 1.0), &FEW_DRAWS).expect("same items");
    for difference in &same.differences {
        let interval = difference.interval;
        assert_eq!(
            (difference.difference, interval.low, interval.high),
            (0.0, 0.0, 0.0)
        );
    }
    let mcnemar = same.mcnemar.expect("always given");
    assert_eq!(
        (mcnemar.only_first, mcnemar.only_second, mcnemar.p_value),
        (0, 0, 1.0)
    );
    // The order of the baseline's items does not matter.
    items.reverse();
    let other = sample::scored(2, 0.3);
    let compared = compare("x", &items, &other, &FEW_DRAWS).expect("same items");
    let top1 = &compared.differences[0];
    assert!(
        top1.difference > 0.0 && top1.interval.low <= top1.difference,
        "{top1:?}"
    );
}

#[test]
fn a_baseline_on_other_items_is_refused() {
    let items = sample::scored(1, 1.0);
    let cases: [fn(&mut Vec<Scored>); 3] = [
        |other| drop(other.pop()),
        |other| other[3].target = 5,
        |other| {
            other.push(Scored {
                item: "extra".into(),
                ..other[0].clone()
            })
        },
    ];
    for change in cases {
        let mut other = items.clone();
        change(&mut other);
        let error =
            compare("single frame", &items, &other, &FEW_DRAWS).expect_err("not the same items");
        assert!(
            matches!(error.kind(), ErrorKind::Unpaired { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn the_table_shows_interval_support_and_baseline_of_every_figure() {
    let report = sample::report();
    let text = report.classification.to_string();
    for figure in &report.classification.figures {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(&figure.title))
            .expect("a row");
        let scale = figure.scale;
        for part in [
            scale.text(figure.value),
            scale.range_text(&figure.interval),
            figure.support.to_string(),
            scale.text(figure.baseline.value),
        ] {
            assert!(line.contains(&part), "{part} in {line:?}");
        }
    }
    assert!(
        text.is_ascii() || !text.contains('\u{1b}'),
        "no colour codes"
    );
}

/// Any evaluation of up to 6 classes.
fn evaluation() -> impl Strategy<Value = (usize, Vec<usize>, Vec<Scored>)> {
    (2_usize..7).prop_flat_map(|num_classes| {
        let item = (
            0..num_classes,
            prop::collection::vec(0_u8..5, num_classes),
            prop::option::of(0_u8..5),
        );
        let items = prop::collection::vec(item, 1..40).prop_map(|items| {
            items
                .into_iter()
                .enumerate()
                .map(|(idx, (target, scores, group))| Scored {
                    item: format!("item {idx:02}"),
                    group: group.map(|group| group.to_string()),
                    target,
                    scores: scores.into_iter().map(f32::from).collect(),
                })
                .collect()
        });
        (
            Just(num_classes),
            prop::collection::vec(0_usize..9, num_classes),
            items,
        )
    })
}

proptest! {
    #[test]
    fn every_figure_is_in_order((num_classes, train_counts, items) in evaluation()) {
        let found = classify(&names(num_classes), &train_counts, &items, &FEW_DRAWS).expect("sound items");
        for figure in &found.figures {
            for interval in [Some(figure.interval), figure.group_interval].into_iter().flatten() {
                let [lowest, highest] = figure.scale.range();
                prop_assert!(lowest <= interval.low && interval.low <= interval.high && interval.high <= highest);
                prop_assert!(figure.value.is_finite() && interval.high.is_finite(), "{figure:?}");
                if interval.method == IntervalMethod::Wilson {
                    prop_assert!(interval.contains(figure.value), "{figure:?}");
                }
            }
            prop_assert_eq!(figure.support, items.len());
        }
        prop_assert_eq!(found.confusion.iter().flatten().sum::<u64>() as usize, items.len());
        let right: u64 = (0..num_classes).map(|class| found.confusion[class][class]).sum();
        prop_assert_eq!(found.num_mistakes, items.len() - right as usize);
        let share = found.per_class[found.majority_class].support as f64 / items.len() as f64;
        prop_assert!((found.figures[0].baseline.value - share).abs() < 1e-12);
        // No warning and no cell is ever NaN.
        prop_assert!(!found.to_string().contains("NaN"));
    }

    #[test]
    fn the_order_of_items_changes_nothing((num_classes, train_counts, items) in evaluation()) {
        let mut reversed = items.clone();
        reversed.reverse();
        let judge = |items: &[Scored]| classify(&names(num_classes), &train_counts, items, &FEW_DRAWS).expect("sound items");
        prop_assert_eq!(judge(&items), judge(&reversed));
    }

    #[test]
    fn a_perfect_model_gets_every_figure((num_classes, train_counts, mut items) in evaluation()) {
        for item in &mut items {
            item.scores = vec![0.0; num_classes];
            item.scores[item.target] = 1.0;
        }
        let found = classify(&names(num_classes), &train_counts, &items, &FEW_DRAWS).expect("sound items");
        let is_of_one_class = found.per_class.iter().filter(|class| class.support > 0).count() == 1;
        for figure in &found.figures {
            let [best, end] = match figure.scale.is_lower_better() {
                true => [0.0, figure.interval.low],
                // Nothing correlates with a constant.
                false if figure.name == "mcc" && is_of_one_class => continue,
                false => [1.0, figure.interval.high],
            };
            prop_assert_eq!((figure.value, end), (best, best), "{}", figure.name);
        }
        prop_assert!(found.mistakes.is_empty());
    }
}
