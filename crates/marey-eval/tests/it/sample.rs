//! A report with everything in it, made from a seed.

use marey_clip::{Span, Timestamp, rng_for};
use marey_eval::{
    Aggregate, AlarmRules, Bootstrap, Calibration, Curve, CurvePanel, DataSection, Evaluation,
    EventRules, Finding, Heat, Origin, Recording, Report, Scored, ScoredWindow, Severity, Skipped,
    SplitCounts, SplitItems, Strip, TrueEvent, Validation, VerdictThreshold, Windowed, classify,
    compare, generalisation_gap, judge_anomalies, judge_answers, judge_calibration,
    judge_recordings, judge_verdicts, label_candidates, video_scores,
};
use rand::Rng;

/// Class names and how many items of each the training and the test set hold.
const CLASSES: [(&str, usize, usize); 7] = [
    ("bridge_down", 61, 25),
    ("bridge_up", 48, 22),
    ("train_passes", 120, 51),
    ("person_on_track", 33, 14),
    ("animal", 12, 5),
    ("flooded_underpass", 4, 0),
    ("nothing_happens", 210, 84),
];

/// Items whose true class a model of this `skill` (0..=1) often, but not always, finds.
pub(crate) fn scored(seed: u64, skill: f32) -> Vec<Scored> {
    let mut rng = rng_for(seed, 0, 0, 0);
    let mut items = Vec::new();
    for (target, (name, _, count)) in CLASSES.iter().enumerate() {
        for idx in 0..*count {
            let camera = (idx * 7 + target) % 23;
            // Some cameras are harder than others.
            let skill = if camera % 5 == 0 { 0.4 * skill } else { skill };
            let mut logits: Vec<f32> = CLASSES
                .iter()
                .map(|class| 0.6 * (class.1 as f32).ln() + rng.random::<f32>())
                .collect();
            logits[target] += 6.0 * skill * rng.random::<f32>();
            items.push(Scored {
                item: format!("clips/{name}/{idx:04}.mp4"),
                group: Some(format!("camera_{camera:02}")),
                target,
                scores: softmax(&logits),
            });
        }
    }
    items
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f32> = logits.iter().map(|logit| (logit - top).exp()).collect();
    let sum: f32 = exps.iter().sum();
    exps.iter().map(|exp| exp / sum).collect()
}

/// A report with every section and every plot.
pub(crate) fn report() -> Report {
    let classes: Vec<String> = CLASSES.iter().map(|class| class.0.to_owned()).collect();
    let train_counts = CLASSES.map(|class| class.1);
    let (items, single) = (scored(1, 1.0), scored(2, 0.35));
    let bootstrap = Bootstrap::default();
    let mut classification =
        classify(&classes, &train_counts, &items, &bootstrap).expect("sound items");
    classification.comparisons = vec![
        compare("single frame, same budget", &items, &single, &bootstrap).expect("same items"),
    ];
    let mut report = Report::new("cctv-3", "test", classification);
    report.headline = "macro_f1".into();
    report.break_down(&items);
    add_trust(&mut report, &items, &train_counts);
    add_recordings(&mut report);
    report.findings = findings();
    report.strips = strips(&report);
    report.curves = curves();
    report.chosen_epoch = Some(21.0);
    report.data = data(&train_counts);
    report.recipe = RECIPE.to_owned();
    report.origin = Origin {
        command: "marey train recipes/cctv.toml --device cpu".into(),
        seed: 7,
        version: "0.1.0 (14a7cba)".into(),
        device: "flex, 2 CPU cores".into(),
        kernels: "Burn flex 0.22.1".into(),
        wall_time_sec: Some(1694.0),
        peak_memory_bytes: Some(1_932_735_283),
        facts: vec![("Model".into(), "r3d_18, 33.17 M parameters".into())],
    };
    report
}

/// What a calibration did, when the model is silent, what it knows by heart, and labels to look at.
fn add_trust(report: &mut Report, items: &[Scored], train_counts: &[usize]) {
    let bootstrap = Bootstrap {
        draws: 100,
        seed: 0,
    };
    let calibration = Calibration::Temperature { temperature: 0.6 };
    // The items are those after it: before, the model was less sure than it could be.
    let plain: Vec<Scored> = items
        .iter()
        .map(|item| {
            let logits: Vec<f32> = item.scores.iter().map(|score| 0.6 * score.ln()).collect();
            Scored {
                scores: softmax(&logits),
                ..item.clone()
            }
        })
        .collect();
    let evaluation = Evaluation {
        classes: &report.classification.classes.clone(),
        train_counts,
        bootstrap: &bootstrap,
    };
    report.calibration = Some(
        judge_calibration(&evaluation, &calibration, 114, &plain, items).expect("the same items"),
    );
    let rule = "so that 80.0 % of the validation items are answered: 91 of 114".to_owned();
    let threshold = Some((0.42, rule));
    report.selective =
        Some(judge_answers(items, None, threshold, &bootstrap).expect("sound items"));
    let on_train = scored(5, 1.6);
    let [first, second] = [("train", &on_train[..]), ("test", items)]
        .map(|(split, items)| SplitItems { split, items });
    report.gaps = generalisation_gap(first, second, &bootstrap).expect("sound items");
    // The surest answers under another label.
    let mut mislabelled = items.to_vec();
    mislabelled.sort_by(|a, b| {
        let best = |item: &Scored| item.scores.iter().copied().fold(0.0, f32::max);
        best(b).total_cmp(&best(a))
    });
    for item in &mut mislabelled[..6] {
        item.target = (item.target + 1) % item.scores.len();
    }
    report.label_candidates = label_candidates(&mislabelled).expect("sound items");
}

/// Eight hours before four cameras, with events that the windows find now and then.
fn add_recordings(report: &mut Report) {
    let classes = report.classification.classes.clone();
    let normal = classes.len() - 1;
    let mut rng = rng_for(3, 0, 0, 0);
    let at = |seconds: i64| Timestamp::from_nanos(seconds * 1_000_000_000);
    let span = |start: i64, end: i64| Span::new(at(start), at(end)).expect("a span");
    let recordings: Vec<Recording> = (0..12)
        .map(|idx| {
            let is_quiet = idx % 3 == 2;
            let truths: Vec<TrueEvent> = (0..4)
                .filter(|_| !is_quiet)
                .map(|event| TrueEvent {
                    class: (idx + event) % normal,
                    span: span(300 * event as i64 + 40, 300 * event as i64 + 80),
                })
                .collect();
            let windows = (0..119).map(|place| {
                let window = span(10 * place, 10 * place + 20);
                let truth = truths
                    .iter()
                    .find(|truth| truth.span.contains(window.midpoint()));
                let class = match truth {
                    Some(truth) if rng.random::<f32>() < 0.8 => truth.class,
                    None if rng.random::<f32>() < 0.02 => 0,
                    _ => normal,
                };
                let mut scores = vec![0.04; classes.len()];
                scores[class] += 1.0 - 0.04 * classes.len() as f32;
                ScoredWindow {
                    span: window,
                    scores,
                    anomaly: None,
                }
            });
            let windows = windows.collect();
            Recording {
                name: format!("recordings/{idx:02}.mp4"),
                group: Some(format!("camera_{:02}", idx % 4)),
                watched: span(0, 1200),
                frames: (0..1200).step_by(10).map(at).collect(),
                truths,
                windows,
            }
        })
        .collect();
    let windowed = Windowed {
        window_sec: 20.0,
        hop_sec: 10.0,
        left_out: vec!["recordings/12.mp4 holds items of other splits among those of test".into()],
    };
    let bootstrap = Bootstrap {
        draws: 100,
        seed: 0,
    };
    let is_event: Vec<bool> = (0..classes.len()).map(|class| class != normal).collect();
    let rules = (&AlarmRules::default(), &EventRules::default());
    report.events = Some(
        judge_recordings(
            &classes,
            &is_event,
            &recordings,
            &windowed,
            rules,
            &bootstrap,
        )
        .expect("sound recordings"),
    );
    let mut anomalies = judge_anomalies(
        &classes,
        normal,
        &recordings,
        &windowed,
        (3, 0.5),
        &bootstrap,
    )
    .expect("sound recordings");
    let aggregate = Aggregate::TopMean(3);
    let videos = video_scores(&recordings, normal, aggregate).expect("sound scores");
    let validation = Validation::of_split("validation", &videos[..6]).expect("validation");
    let threshold = VerdictThreshold::choose(&validation, None).expect("both kinds");
    let by = aggregate.to_string();
    let verdicts = judge_verdicts(&videos[6..], &by, threshold, &bootstrap);
    anomalies.verdicts = Some(verdicts.expect("both kinds"));
    report.anomalies = Some(anomalies);
}

/// A ball that crosses each clip, and heat that follows it.
fn strips(report: &Report) -> Vec<Strip> {
    let dims = [16, 60, 80];
    let ball = |t: usize| [30.0 + 18.0 * (t as f32 * 0.5).sin(), 5.0 * t as f32];
    let near = |t: usize, y: f32, x: f32, radius: f32| {
        let [y0, x0] = ball(t);
        (1.0 - ((y - y0).hypot(x - x0) / radius)).max(0.0)
    };
    let mut pixels = Vec::new();
    for t in 0..dims[0] {
        for y in 0..dims[1] {
            for x in 0..dims[2] {
                let ball = near(t, y as f32, x as f32, 9.0).sqrt();
                let sky = [90.0, 120.0 + y as f32, 170.0 - y as f32];
                pixels.extend(sky.map(|sky| (sky * (1.0 - ball) + 250.0 * ball) as u8));
            }
        }
    }
    let mut values = Vec::new();
    for t in 0..4 {
        for y in 0..6 {
            for x in 0..8 {
                values.push(near(
                    4 * t + 2,
                    10.0 * y as f32 + 5.0,
                    10.0 * x as f32 + 5.0,
                    30.0,
                ));
            }
        }
    }
    let worst: Vec<&str> = report
        .worst_mistakes()
        .iter()
        .map(|mistake| mistake.item.as_str())
        .collect();
    let strip = |item: &str| {
        let heat = Heat {
            class: "bridge_up".into(),
            dims: [4, 6, 8],
            values: values.clone(),
            over_time: vec![0.1, 0.5, 0.3, 0.1],
        };
        let heat = worst.contains(&item).then_some(&heat);
        Strip::new(item, dims, &pixels, heat).expect("a strip")
    };
    report.items_to_show().into_iter().map(strip).collect()
}

fn findings() -> Vec<Finding> {
    vec![
        Finding {
            severity: Severity::Stop,
            sentence:
                "3 groups have items in train and in test: a camera that was learned is asked again"
                    .into(),
            items: (0..12)
                .map(|i| format!("clips/animal/{i:04}.mp4"))
                .collect(),
            command: Some(
                "marey data split cctv/manifest.csv --group location --output split.csv".into(),
            ),
        },
        Finding {
            severity: Severity::Note,
            sentence: "every clip lasts 10 s".into(),
            items: Vec::new(),
            command: None,
        },
    ]
}

fn curves() -> Vec<Curve> {
    let curve = |name: &str, panel, value: &dyn Fn(f64) -> f64| Curve {
        name: name.into(),
        panel,
        points: (1..=30)
            .map(|epoch| (f64::from(epoch), value(f64::from(epoch))))
            .collect(),
    };
    let wobble = |epoch: f64| (epoch * 2.7).sin() * 0.02;
    vec![
        curve("training", CurvePanel::Loss, &|e| {
            0.35 + 1.6 * (-e / 7.0).exp() + wobble(e)
        }),
        curve("validation", CurvePanel::Loss, &|e| {
            0.62 + 1.3 * (-e / 6.0).exp() + 0.006 * e + 2.0 * wobble(e + 1.0)
        }),
        curve("learning rate", CurvePanel::LearningRate, &|e| {
            let warm = (e / 3.0).min(1.0);
            warm * 1e-4 * (0.5 + 0.5 * (std::f64::consts::PI * e / 30.0).cos())
        }),
        curve("macro F1", CurvePanel::Metric, &|e| {
            0.62 * (1.0 - (-e / 6.0).exp()) + wobble(e)
        }),
        curve("top-1 accuracy", CurvePanel::Metric, &|e| {
            0.35 + 0.42 * (1.0 - (-e / 5.0).exp()) + wobble(e + 0.5)
        }),
    ]
}

fn data(train_counts: &[usize]) -> DataSection {
    let split = |name: &str, groups, per_class: Vec<usize>| SplitCounts {
        split: name.into(),
        items: per_class.iter().sum(),
        groups: Some(groups),
        per_class,
    };
    DataSection {
        source: "manifest.csv, split by location, 80 / 20, seed 7".into(),
        splits: vec![
            split("train", 41, train_counts.to_vec()),
            split("validation", 11, vec![14, 11, 27, 8, 0, 1, 52]),
            split("test", 23, CLASSES.iter().map(|class| class.2).collect()),
        ],
        notes: vec!["3 rows without a label were left out".into()],
        skipped: vec![Skipped {
            item: "clips/animal/0031.mp4".into(),
            reason: "cannot decode the frame at 1.240 s: the file ends in the middle of it".into(),
        }],
    }
}

const RECIPE: &str = "[data]\npath = \"cctv/manifest.csv\"\ngroup = \"location\"\n\n[sampling]\nframes = 8\n\n\
[model]\narch = \"r3d_18\"\n\n[train]\nepochs = 30\nbatch = 8\nseed = 7\n";
